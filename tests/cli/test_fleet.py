"""Commands for the fleet: the catalogs afterwards, exit codes, and the two output streams."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Engine, text

from tests.cli.project import Project

FAILS_FOR_INITECH = """op.execute(
        "DO $$ BEGIN IF current_schema() = 't_initech' THEN RAISE EXCEPTION 'no luck'; END IF; END $$"
    )"""


def revisions(engine: Engine, *keys: str) -> list[str | None]:
    with engine.connect() as connection:
        return [connection.scalar(text(f"SELECT version_num FROM t_{key}.alembic_version")) for key in keys]


def shared_revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT version_num FROM shared.alembic_version"))


def columns(engine: Engine, schema: str) -> list[str]:
    with engine.connect() as connection:
        query = "SELECT column_name FROM information_schema.columns WHERE table_schema = :s AND table_name = 'invoices'"
        return sorted(connection.scalars(text(query), {"s": schema}))


def test_migrate_brings_every_tenant_to_the_newest_revision(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", 'op.add_column("invoices", sa.Column("paid", sa.Date), schema="tenant")')
    done = fleet.run("migrate", "--jobs", "2")
    assert done.code == 0, done.err
    assert revisions(project_engine, "acme", "initech", "umbrella") == ["t3"] * 3
    assert columns(project_engine, "t_acme") == ["country", "id", "note", "paid"]
    assert done.out.startswith("Migrated 3 tenants to head in ")
    lines = [line for line in done.err.splitlines() if line.startswith("[")]
    assert [line.split()[0] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"]
    assert "acme t2 -> t3 in " in done.err


def test_a_second_migration_reports_that_nothing_changed(fleet: Project) -> None:
    done = fleet.invoke("migrate")
    assert (done.code, done.out) == (0, "Unchanged: 3 tenants at head already.\n")


def test_without_tenants_nothing_is_changed(fleet: Project) -> None:
    for key in ("acme", "initech", "umbrella"):
        fleet.invoke("drop", key, "--yes")
    text = "there are no tenants to change."
    assert fleet.invoke("migrate").out == f"Unchanged: {text}\n"
    assert fleet.invoke("migrate", "--dry-run").out == f"Unchanged: {text}\n"
    assert fleet.invoke("migrate", "--sql").out.splitlines()[-1] == f"-- Unchanged: {text}"


def test_migrate_of_some_tenants_leaves_the_others(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    assert fleet.invoke("migrate", "--tenants", "acme, umbrella", "--jobs", "0").code == 0
    assert revisions(project_engine, "acme", "initech", "umbrella") == ["t3", "t2", "t3"]


def test_a_failure_is_reported_does_not_stop_others_and_is_retried(fleet: Project, project_engine: Engine) -> None:
    file = fleet.add_revision("t3", "t2", FAILS_FOR_INITECH)
    failed = fleet.invoke("migrate", "--json")
    assert failed.code == 1
    assert revisions(project_engine, "acme", "initech", "umbrella") == ["t3", "t2", "t3"]
    assert (failed.json["migrated"], failed.json["failed"], failed.json["unchanged"]) == (2, 1, 0)
    assert [outcome["key"] for outcome in failed.json["outcomes"] if not outcome["ok"]] == ["initech"]
    assert "failed initech RaiseException: no luck" in failed.err
    status = fleet.invoke("status", "--json").json
    assert (status["failed"], status["behind"], status["is_current"]) == (["initech"], ["initech"], False)
    file.write_text(file.read_text().replace("no luck", "").replace("t_initech", "nobody"))
    resumed = fleet.invoke("migrate")
    assert resumed.code == 0, resumed.err
    assert "Migrated 1 tenant to head in " in resumed.out
    assert "Unchanged: 2 tenants at head already." in resumed.out
    assert revisions(project_engine, "initech") == ["t3"]


def test_the_summary_of_a_failure_has_a_remedy(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", FAILS_FOR_INITECH)
    done = fleet.invoke("migrate", "--jobs", "0")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(
        "error: 1 tenant failed. Fix the cause, then run the same command again"
    )
    assert "Migrated 2 tenants" in done.out


def test_a_failure_of_the_shared_tables_stops_before_the_tenants(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("s2", "s1", "op.execute('SELECT 1 / 0')", "shared")
    fleet.add_revision("t3", "t2", "pass")
    done = fleet.invoke("migrate", "--jobs", "0")
    assert (done.code, done.out) == (1, "")
    assert "error: The shared tables could not be migrated, so no tenant was: DivisionByZero" in done.err
    assert shared_revision(project_engine) == "s1"
    assert revisions(project_engine, "acme") == ["t2"]


def test_shared_only_leaves_the_tenants(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("s2", "s1", "pass", "shared")
    fleet.add_revision("t3", "t2", "pass")
    assert fleet.invoke("migrate", "--shared-only").out == "Shared tables: s1 -> s2\n"
    assert shared_revision(project_engine) == "s2"
    assert revisions(project_engine, "acme") == ["t2"]
    assert fleet.invoke("migrate", "--shared-only").out == "Unchanged: the shared tables were at the target already.\n"


def test_migrate_reports_the_outcome_of_the_shared_tables(fleet: Project) -> None:
    fleet.add_revision("s2", "s1", "pass", "shared")
    assert "Shared tables: s1 -> s2" in fleet.invoke("migrate").out.splitlines()


def test_a_downgrade_by_minus_one_goes_one_revision_back(fleet: Project, project_engine: Engine) -> None:
    done = fleet.invoke("downgrade", "-1", "--tenants", "acme", "--yes", "--jobs", "0")
    assert done.code == 0, done.err
    assert revisions(project_engine, "acme", "initech") == ["t1", "t2"]
    assert columns(project_engine, "t_acme") == ["country", "id"]


def test_downgrade_without_yes_needs_a_terminal(fleet: Project, project_engine: Engine) -> None:
    done = fleet.invoke("downgrade", "base")
    assert (done.code, done.out) == (2, "")
    assert "Pass --yes" in done.err
    assert revisions(project_engine, "acme") == ["t2"]


def test_downgrade_and_stamp_of_the_shared_tables(project: Project, project_engine: Engine) -> None:
    assert project.invoke("downgrade", "base", "--shared", "--yes").out == "Shared tables: s1 -> base\n"
    assert shared_revision(project_engine) is None
    refused = project.invoke("stamp", "head", "--shared")
    assert (refused.code, "Pass --yes" in refused.err) == (2, True)
    stamped = project.invoke("stamp", "head", "--shared", "--yes", "--json")
    assert (stamped.json["from_revision"], stamped.json["to_revision"]) == (None, "s1")
    assert shared_revision(project_engine) == "s1"
    assert project.invoke("stamp", "head", "--shared", "--json").json is None, "nothing to do, so nothing to ask"


def test_stamp_writes_the_revision_and_runs_nothing(fleet: Project, project_engine: Engine) -> None:
    done = fleet.invoke("stamp", "t1", "--tenants", "acme", "--jobs", "0", "--yes")
    assert done.code == 0, done.err
    assert revisions(project_engine, "acme", "initech") == ["t1", "t2"]
    assert "note" in columns(project_engine, "t_acme")


def test_status_counts_by_revision_and_names_tenants_that_are_behind(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", FAILS_FOR_INITECH)
    fleet.invoke("migrate", "--tenants", "acme,initech", "--jobs", "0")
    done = fleet.invoke("status")
    assert done.code == 0
    words = [line.split() for line in done.out.splitlines()]
    assert words[0] == ["Shared", "tables", "s1", "current"]
    assert ["t2", "2", "behind"] in words
    assert ["t3", "1", "current"] in words
    assert ["umbrella", "active", "t2", "behind"] in words
    assert any(line[:4] == ["initech", "active", "t2", "behind"] and "luck" in line for line in words)
    assert words.index(next(line for line in words if line[:1] == ["initech"])) < words.index(
        ["umbrella", "active", "t2", "behind"]
    ), "those that failed stand first"
    assert fleet.invoke("status", "--check").code == 1


def test_status_check_passes_when_everything_is_current(fleet: Project) -> None:
    done = fleet.invoke("status", "--check", "--json")
    assert done.code == 0
    assert done.json["counts"] == [{"revision": "t2", "tenants": 3}]


def test_status_check_of_a_phase(fleet: Project) -> None:
    path = fleet.add_revision("t3", "t2", "pass")
    path.write_text(f"{path.read_text()}\nphase = 'contract'\n")
    assert (fleet.invoke("status", "--check").code, fleet.invoke("status", "--check", "--phase", "expand").code) == (
        1,
        0,
    )
    assert fleet.invoke("status", "--phase", "expnad").code == 2


def test_status_reports_an_empty_fleet(project: Project) -> None:
    done = project.invoke("status")
    assert (done.code, done.out) == (0, "Shared tables  s1  current\n")
    assert done.err.endswith("There are no tenants yet.\n")


def test_status_summarizes_a_large_fleet(fleet: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantkit.cli.commands.status._SHOWN", 2)
    fleet.add_revision("t3", "t2", "pass")
    assert fleet.invoke("status").out.splitlines()[-1] == "and 1 more: --json has them all."


def test_a_revision_of_newer_code_is_distinguished(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("UPDATE t_acme.alembic_version SET version_num = 'from_the_future'"))
    assert "unknown" in fleet.invoke("status").out
    done = fleet.invoke("migrate", "--jobs", "0")
    assert done.code == 1
    assert "failed acme " in done.err
    assert "update the code" in done.err


@pytest.mark.parametrize("arguments", [("migrate", "nowhere"), ("migrate", "--tenants", "nobody")])
def test_an_unknown_target_or_tenant_changes_nothing(
    fleet: Project, project_engine: Engine, arguments: tuple[str, ...]
) -> None:
    fleet.add_revision("t3", "t2", "pass")
    done = fleet.invoke(*arguments, "--jobs", "0")
    assert (done.code, done.out) == (1, "")
    assert arguments[-1] in done.err.splitlines()[-1]
    assert revisions(project_engine, "acme") == ["t2"]


@pytest.mark.parametrize(
    "arguments",
    [("migrate", "--tenants", " , "), ("migrate", "--jobs", "-1"), ("migrate", "--jobs", "many"), ("stamp",)],
)
def test_a_usage_error_has_exit_code_2_and_one_line(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.invoke(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_two_heads_are_refused_with_a_remedy(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.add_revision("t3b", "t2", "pass")
    done = fleet.invoke("migrate", "--jobs", "0")
    assert (done.code, done.out) == (1, "")
    assert "Join them with 'alembic -n tenant merge heads'" in done.err
    assert revisions(project_engine, "acme") == ["t2"]


@pytest.mark.parametrize("damage", ["no folder", "no env.py", "no revisions", "broken revision"])
def test_an_unusable_migrations_folder_is_explained(fleet: Project, project_engine: Engine, damage: str) -> None:
    migrations = fleet.folder / "migrations"
    match damage:
        case "no folder":
            migrations.rename(fleet.folder / "elsewhere")
        case "no env.py":
            (migrations / "env.py").unlink()
        case "no revisions":
            for file in (migrations / "tenant").glob("*.py"):
                file.unlink()
        case _:
            fleet.write("migrations/tenant/t3.py", "def upgrade(:")
    done = fleet.invoke("migrate", "--jobs", "0")
    assert (done.code, done.out) == (1, "")
    assert str(migrations) in done.err
    assert done.err.count("\n") == 1
    assert revisions(project_engine, "acme") == ["t2"]


def test_runs_are_listed_and_shown_and_one_that_failed_is_resumed(fleet: Project, project_engine: Engine) -> None:
    fails = "op.execute(\"DO $$ BEGIN IF current_schema() = 't_initech' THEN RAISE 'no luck'; END IF; END $$\")"
    file = fleet.add_revision("t3", "t2", fails)
    assert fleet.invoke("migrate", "t3", "--jobs", "1").code == 1
    (run,) = fleet.invoke("runs", "list", "--json", "--limit", "1").json
    for moment in (run["started_at"], run["finished_at"], fleet.invoke("show", "acme", "--json").json["created_at"]):
        assert datetime.fromisoformat(moment).isoformat() == moment  # which every language reads
    assert (run["command"], run["target"], run["done"], run["failed"], run["planned"]) == ("migrate", "t3", 2, 1, 0)
    shown = fleet.invoke("runs", "show", str(run["id"])).out.splitlines()
    reason = "RaiseException: no luck (revision t3, migrations/tenant/t3.py, line 9)"
    assert [line.split() for line in shown if line.startswith("initech")] == [
        ["initech", "t2", "t2", "alembic", shown[-2].split()[4], "1", *reason.split()]
    ]
    file.write_text(file.read_text().replace("no luck", "").replace("t_initech", "nobody"))
    fleet.add_revision("t4", "t3", "pass")
    for how in (["--retry-failed", "--resume", "1"], ["--tenants", "acme", "--retry-failed"]):
        refused = fleet.invoke("migrate", *how)
        assert (refused.code, "Give one of them" in refused.err) == (2, True)
    assert "There is no run 99. 'tenantkit runs list' shows" in fleet.invoke("migrate", "--resume", "99").err
    done = fleet.invoke("migrate", "--resume", str(run["id"]), "--jobs", "1")
    assert (done.code, "Migrated 1 tenant to t3" in done.out) == (0, True)
    assert revisions(project_engine, "acme", "initech", "umbrella") == ["t3"] * 3


def test_retry_failed_migrates_only_tenants_that_failed(fleet: Project, project_engine: Engine) -> None:
    fails = "op.execute(\"DO $$ BEGIN IF current_schema() = 't_initech' THEN RAISE 'no luck'; END IF; END $$\")"
    file = fleet.add_revision("t3", "t2", fails)
    assert fleet.invoke("migrate", "--tenants", "acme,initech").code == 1
    file.write_text(file.read_text().replace("t_initech", "nobody"))
    assert fleet.invoke("migrate", "--retry-failed").code == 0
    assert revisions(project_engine, "acme", "initech", "umbrella") == ["t3", "t3", "t2"]


def test_a_revision_that_is_not_replayed_is_reported_with_the_reason(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", "op.get_bind().execute(sa.text('SELECT 1'))")
    done = fleet.invoke("migrate", "--jobs", "1")
    assert done.code == 0
    assert "Not replayed for 2 tenants: revision t3 uses the database itself (op.get_bind() and the like)." in done.err
    refused = fleet.invoke("migrate", "--engine", "nonsense")
    assert refused.code == 2
