"""Commands for single tenants: their effects in the database, and their output on each stream."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.cli.project import GREETING, Project
from tests.support.commands import SCRIPT


def registry(engine: Engine) -> dict[str, tuple[str, str, dict[str, object]]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT key, name, status, attributes FROM tenantkit.tenants"))
        return {key: (name, status, attributes) for key, name, status, attributes in rows}


def schemas(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.scalars(text(r"SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\_%'")))


def domains(engine: Engine) -> list[tuple[str, bool]]:
    with engine.connect() as connection:
        query = text("SELECT domain, is_primary FROM tenantkit.domains ORDER BY domain")
        return [(domain, primary) for domain, primary in connection.execute(query)]


def test_create_makes_a_tenant_at_the_newest_revision(project: Project, project_engine: Engine) -> None:
    done = project.invoke(
        "create", "acme", "--name", "Acme Inc.", "--domain", "a.example", "--domain", "b.example",
        "--attribute", "plan=pro", "--attribute", "seats=5", "--attribute", "x=NaN", "--json",
    )  # fmt: skip
    assert done.code == 0
    assert done.json["key"] == "acme"
    assert done.json["domains"] == ["a.example", "b.example"]
    assert registry(project_engine) == {"acme": ("Acme Inc.", "active", {"plan": "pro", "seats": 5, "x": "NaN"})}
    assert domains(project_engine) == [("a.example", True), ("b.example", False)]
    with project_engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM t_acme.alembic_version")) == "t2"


def test_the_output_of_the_application_is_not_on_stdout(project: Project) -> None:
    done = subprocess.run([SCRIPT, "list", "--json"], cwd=project.folder, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", GREETING)


def test_create_refuses_a_key_that_exists(fleet: Project) -> None:
    done = fleet.invoke("create", "acme")
    assert done.code == 1
    assert done.out == ""
    assert done.err == "error: Tenant 'acme' exists already. Choose another key.\n"


@pytest.mark.parametrize(
    "key", ["", "Acme", 'a"; DROP SCHEMA shared', "pg_x", "public", "information_schema", "\u0430cme", "a" * 64]
)
def test_create_refuses_a_hostile_key(project: Project, project_engine: Engine, key: str) -> None:
    done = project.invoke("create", key)
    assert done.code == 1
    assert "is no valid tenant key" in done.err
    assert registry(project_engine) == {}
    assert schemas(project_engine) == set()


@pytest.mark.parametrize("attribute", ["plan", "=pro"])
def test_an_attribute_must_be_name_and_value(project: Project, project_engine: Engine, attribute: str) -> None:
    done = project.invoke("create", "acme", "--attribute", attribute)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: {attribute!r} is no attribute. Write it as name=value.\n"
    assert registry(project_engine) == {}


def test_list_shows_tenants_in_the_order_of_keys(fleet: Project) -> None:
    fleet.invoke("domain", "add", "initech", "one.example")
    fleet.invoke("domain", "add", "initech", "two.example")
    done = fleet.invoke("list")
    assert [line.split() for line in done.out.splitlines()] == [
        ["Key", "Name", "Status", "Schema", "Domains"],
        ["acme", "acme", "active", "t_acme", "-"],
        ["initech", "initech", "active", "t_initech", "one.example", "+1"],
        ["umbrella", "umbrella", "active", "t_umbrella", "-"],
    ]


def test_an_attribute_that_is_nested_too_deeply_is_refused(project: Project, project_engine: Engine) -> None:
    done = project.invoke("create", "acme", "--attribute", f"tree={'[' * 5000}{']' * 5000}")
    assert done.code in {1, 2}  # the number of levels that JSON may have depends on the version of Python
    assert re.fullmatch(r"error: .* nested too deeply.*\n", done.err)
    assert registry(project_engine) == {}


@pytest.mark.parametrize(
    "name", ["Acme\nInc.", "\x1b[2J\x1b]0;title\x07", "a\rb\x08\x9bc", "\u202eemca", "a\u2028b\u2066c"]
)
def test_a_name_cannot_move_the_cursor_or_begin_a_line(project: Project, name: str) -> None:
    assert project.invoke("create", "acme", "--name", name, "--attribute", f"note={name}").code == 0
    for command in (("list",), ("show", "acme")):
        out = project.invoke(*command).out
        assert all(each.isprintable() for each in out.replace("\n", "")), out
        assert out.count("\n") == (2 if command == ("list",) else 21)
    assert project.invoke("show", "acme", "--json").json["name"] == name


@pytest.mark.all_cases
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_are_shown_in_every_encoding(project: Project, encoding: str) -> None:
    name = "Škoda 株式会社"
    project.invoke("create", "acme", "--name", name)
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    shown = project.run("list", environment=environment)
    assert (shown.code, shown.err) == (0, "")
    expected = name.encode(encoding, "backslashreplace").decode(encoding)
    assert expected in shown.out
    assert project.run("show", "acme", "--json", environment=environment).json["name"] == name


def test_list_does_not_truncate_piped_output(project: Project) -> None:
    name = "A very [bold]long name. " * 20
    project.invoke("create", "acme", "--name", name)
    assert name in project.invoke("list").out


@pytest.mark.all_cases
def test_a_narrow_terminal_breaks_no_word_of_a_table(fleet: Project) -> None:
    long = "customer-with-a-rather-long-name-for-a-tenant"
    fleet.invoke("update", "acme", "--name", "Acme Corporation for Explosives and Traps Limited")
    fleet.invoke("domain", "add", "acme", f"{long}.example.com")
    fleet.invoke("create", long, "--domain", f"notes.{long}.example.com", "--domain", "b.example")
    fleet.add_revision("t3", "t2", "op.execute(\"SELECT 1 / (current_schema() <> 't_acme')::int\")")
    assert fleet.invoke("migrate").code == 1
    terminal = {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "80"}
    for command in (("list",), ("status",), ("runs", "list"), ("runs", "show", "1")):
        wide = fleet.invoke(*command).out.split()
        narrow = re.sub(r"\x1b\[[0-9;]*m", "", fleet.run(*command, environment=terminal).out)
        assert sorted(narrow.split()) == sorted(wide), command
        assert narrow.splitlines()[0].split() == wide[: len(narrow.splitlines()[0].split())], command


def test_list_filters_and_pages(fleet: Project) -> None:
    fleet.invoke("suspend", "acme")
    fleet.invoke("update", "umbrella", "--attribute", "plan=pro")

    def keys(*arguments: str) -> list[str]:
        return [tenant["key"] for tenant in fleet.invoke("list", "--json", *arguments).json]

    assert keys("--status", "suspended") == ["acme"]
    assert keys("--status", "suspended", "--status", "active", "--limit", "2") == ["acme", "initech"]
    assert keys("--after", "acme", "--limit", "1") == ["initech"]
    assert keys("--attribute", "plan=pro") == ["umbrella"]
    assert keys("--search", "TECH") == ["initech"]


def test_an_empty_list_is_reported_on_stderr(project: Project) -> None:
    empty = project.invoke("list")
    assert (empty.code, empty.out) == (0, "")
    assert empty.err.endswith("There are no tenants yet.\n")
    assert project.invoke("list", "--status", "failed").err.endswith("There are no such tenants.\n")


def test_show_prints_all_fields_of_a_tenant(fleet: Project) -> None:
    fleet.invoke("update", "acme", "--attribute", "plan=[bold]pro")
    shown = fleet.invoke("show", "acme")
    assert {"key         acme", "schema      t_acme", 'attributes  {"plan": "[bold]pro"}'} <= set(
        shown.out.splitlines()
    )
    as_json = fleet.invoke("show", "acme", "--json").json
    assert (as_json["schema"], as_json["status"], as_json["attributes"]) == ("t_acme", "active", {"plan": "[bold]pro"})


def test_show_prints_the_revision_and_the_last_run(fleet: Project) -> None:
    shown = fleet.invoke("show", "acme")
    assert {"revision    t2", "last run    none"} <= set(shown.out.splitlines())
    fleet.add_revision("t3", "t2", "op.execute(\"SELECT 1 / (current_schema() <> 't_acme')::int\")")
    fleet.invoke("migrate")
    fleet.invoke("migrate", "--tenants", "initech")
    of_initech, of_acme = fleet.invoke("show", "initech", "--json").json, fleet.invoke("show", "acme", "--json").json
    assert (of_initech["revision"], of_acme["revision"]) == ("t3", "t2")
    names = ("run", "command", "target", "status", "to_revision")
    assert [of_initech["last_run"][name] for name in names] == [2, "migrate", "head", "done", "t3"]
    assert [of_acme["last_run"][name] for name in names] == [2, "migrate", "head", "failed", "t2"]
    [line] = [line for line in fleet.invoke("show", "acme").out.splitlines() if line.startswith("last run")]
    assert re.fullmatch(
        r"last run    2, migrate to head: failed at [\d-]+ [\d:]+ \S+: DivisionByZero: division by zero, "
        r"in revision t3, migrations/tenant/t3\.py, line 9",
        line,
    )


def test_show_reports_a_tenant_without_a_schema(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("DROP SCHEMA t_acme CASCADE"))
    assert "revision    none" in fleet.invoke("show", "acme").out.splitlines()


def test_update_changes_only_the_given_fields(fleet: Project, project_engine: Engine) -> None:
    fleet.invoke("update", "acme", "--attribute", "plan=pro", "--attribute", "trial=true")
    done = fleet.invoke("update", "acme", "--name", "Acme Corporation", "--attribute", "trial=null")
    assert done.out == "Updated acme (schema t_acme)\n"
    assert registry(project_engine)["acme"] == ("Acme Corporation", "active", {"plan": "pro"})
    assert registry(project_engine)["initech"] == ("initech", "active", {})


def test_update_needs_something_to_change(fleet: Project) -> None:
    done = fleet.invoke("update", "acme")
    assert (done.code, done.err) == (2, "error: There is nothing to change. Give --name or --attribute.\n")


def test_domains_are_added_made_primary_and_removed(fleet: Project, project_engine: Engine) -> None:
    fleet.invoke("domain", "add", "acme", "one.example")
    fleet.invoke("domain", "add", "acme", "Two.Example", "--primary")
    assert domains(project_engine) == [("one.example", False), ("two.example", True)]
    assert fleet.invoke("domain", "primary", "acme", "one.example").out == (
        "Changed the primary domain of acme to one.example. Its domains: one.example, two.example\n"
    )
    assert domains(project_engine) == [("one.example", True), ("two.example", False)]
    assert fleet.invoke("domain", "remove", "acme", "one.example", "--json").json["domains"] == ["two.example"]
    assert fleet.invoke("domain", "remove", "acme", "two.example").out == (
        "Removed two.example from acme. Its domains: none\n"
    )
    assert domains(project_engine) == []


def test_domains_are_listed_with_their_tenants(fleet: Project) -> None:
    assert fleet.invoke("domain", "list").err == "There are no domains yet.\n"
    for key, domain in (("acme", "one.example"), ("initech", "three.example"), ("acme", "two.example")):
        fleet.invoke("domain", "add", key, domain)
    rows = [["one.example", "acme", "yes"], ["two.example", "acme", "-"], ["three.example", "initech", "yes"]]
    assert [line.split() for line in fleet.invoke("domain", "list").out.splitlines()[1:]] == rows
    assert [line.split() for line in fleet.invoke("domain", "list", "initech").out.splitlines()[1:]] == rows[2:]
    assert fleet.invoke("domain", "list", "acme", "--json").json[1] == {
        "domain": "two.example", "tenant": "acme", "primary": False,
    }  # fmt: skip
    assert fleet.invoke("domain", "list", "umbrella").err == "Tenant 'umbrella' has no domains.\n"
    assert "There is no tenant 'nobody'" in fleet.invoke("domain", "list", "nobody").err


@pytest.mark.parametrize("command", ["remove", "primary"])
def test_a_domain_of_another_tenant_is_not_reported_as_missing(fleet: Project, command: str) -> None:
    fleet.invoke("domain", "add", "initech", "one.example")
    done = fleet.invoke("domain", command, "acme", "one.example")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "error: Tenant 'acme' does not have the domain 'one.example'. 'tenantkit domain list' shows the tenant of each domain.\n"
    )


def test_a_domain_belongs_to_one_tenant(fleet: Project, project_engine: Engine) -> None:
    fleet.invoke("domain", "add", "acme", "one.example")
    done = fleet.invoke("domain", "add", "initech", "one.example")
    assert done.code == 1
    assert done.err == "error: The domain 'one.example' is taken. Remove it from its tenant first.\n"
    assert domains(project_engine) == [("one.example", True)]


def test_suspend_maintenance_and_resume_change_the_status(fleet: Project, project_engine: Engine) -> None:
    for command, status in (("suspend", "suspended"), ("resume", "active"), ("maintenance", "maintenance")):
        assert fleet.invoke(command, "acme").code == 0
        assert registry(project_engine)["acme"][1] == status
    refused = fleet.invoke("suspend", "acme")
    assert refused.code == 1
    assert "is maintenance and cannot become suspended" in refused.err


@pytest.mark.parametrize(
    "command",
    [
        ("show",), ("suspend",), ("resume",), ("maintenance",), ("drop", "--yes"), ("update", "--name", "x"),
        ("domain", "add", "x.example"), ("domain", "remove", "x.example"), ("domain", "primary", "x.example"),
    ],
)  # fmt: skip
def test_an_unknown_tenant_is_named_with_the_command_that_lists_tenants(
    project: Project, command: tuple[str, ...]
) -> None:
    depth = 2 if command[0] == "domain" else 1
    done = project.invoke(*command[:depth], "nobody", *command[depth:])
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("error: There is no tenant 'nobody'. 'tenantkit list' shows those that exist.\n")


def test_drop_with_yes_removes_one_tenant_once(fleet: Project, project_engine: Engine) -> None:
    assert fleet.invoke("drop", "acme", "--yes").out == "Dropped acme (schema t_acme)\n"
    assert set(registry(project_engine)) == {"initech", "umbrella"}
    assert schemas(project_engine) == {"t_initech", "t_umbrella"}
    again = fleet.invoke("drop", "acme", "--yes")
    assert again.code == 1
    assert "There is no tenant 'acme'" in again.err


def test_drop_without_yes_needs_a_terminal(fleet: Project, project_engine: Engine) -> None:
    done = fleet.invoke("drop", "acme")
    assert (done.code, done.out) == (2, "")
    assert "Pass --yes" in done.err
    assert "t_acme" in schemas(project_engine)


def test_a_drop_is_scheduled_shown_kept_and_done(fleet: Project, project_engine: Engine) -> None:
    scheduled = fleet.invoke("drop", "acme", "--after", "30d", "--yes")
    assert re.fullmatch(r"To be dropped: acme \(after [\d-]+ [\d:]+ \S+\)\n", scheduled.out)
    date = fleet.invoke("show", "acme", "--json").json["drop_at"][:10]
    assert f"drop_scheduled {date}" in fleet.invoke("list").out
    assert f"drop at     {date}" in fleet.invoke("show", "acme").out
    assert f"To be dropped: 1, the next one after {date}" in fleet.invoke("status").out
    assert fleet.invoke("status", "--json").json["placements"][0]["drop_at"].startswith(date)
    resumed = fleet.invoke("resume", "acme")
    assert (resumed.code, "Cancel its drop first ('tenantkit drop acme --cancel')." in resumed.err) == (1, True)
    assert fleet.invoke("drop", "--due").out == "Nothing to drop: no tenant's time has come\n"
    assert fleet.invoke("drop", "acme", "--cancel").out == "Kept acme (active)\n"
    assert registry(project_engine)["acme"][1] == "active"


@pytest.mark.parametrize(("answer", "status"), [("no", "active"), ("acme", "drop_scheduled")])
def test_a_drop_is_scheduled_after_the_key_is_typed(
    fleet: Project, project_engine: Engine, answer: str, status: str
) -> None:
    asked = fleet.invoke("drop", "acme", "--after", "12h", typed=answer)
    assert "After 12h, 'tenantkit drop --due' deletes 'acme' with all of its data in the schema 't_acme'." in asked.err
    assert registry(project_engine)["acme"][1] == status


def test_a_dry_run_of_a_drop_shows_steps_and_obstacles(fleet: Project, project_engine: Engine) -> None:
    before = registry(project_engine)
    planned = fleet.invoke("drop", "acme", "--dry-run")
    assert planned.code == 0
    assert planned.out.splitlines() == [
        "set the status 'dropping', so that no session begins",
        *[line for line in planned.out.splitlines() if line.startswith("drop the foreign key")],
        "drop 2 tables of the schema 't_acme', 5 in a transaction",
        "drop the schema 't_acme' with all else in it",
        "remove the tenant from the registry",
    ]
    assert planned.out.count("drop the foreign key") == 1
    with project_engine.begin() as connection:
        connection.execute(text("CREATE VIEW shared.report AS SELECT id FROM t_acme.invoices"))
    refused = fleet.invoke("drop", "acme", "--dry-run", "--json")
    assert (refused.code, refused.json["tenant"]["key"]) == (1, "acme")
    assert "other schemas depend on it" in refused.json["obstacles"][0]
    assert (registry(project_engine), "t_acme" in schemas(project_engine)) == (before, True)
    fleet.invoke("drop", "initech", "--after", "1d", "--yes")
    assert fleet.invoke("drop", "--due", "--dry-run").out.startswith("Nothing to drop")
    with project_engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET drop_at = now() WHERE drop_at IS NOT NULL"))
    assert fleet.invoke("drop", "--due", "--dry-run").out.startswith("To be dropped: initech (after")
    assert registry(project_engine)["initech"][1] == "drop_scheduled"


def test_due_tenants_are_backed_up_and_dropped(fleet: Project, project_engine: Engine, tmp_path: Path) -> None:
    for key in ("acme", "initech"):
        fleet.invoke("drop", key, "--after", "1s", "--yes")
    with project_engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET drop_at = now() WHERE drop_at IS NOT NULL"))
        connection.execute(text("DROP TABLE t_initech.alembic_version"))  # so that it cannot be backed up
    done = fleet.invoke("drop", "--due", "--backup", str(tmp_path / "dropped"))
    assert done.code == 1
    assert "initech: its tables are at no revision" in done.err
    assert done.out == "Dropped acme (schema t_acme)\n"
    assert {key: status for key, (_, status, _) in registry(project_engine).items()} == {
        "initech": "drop_scheduled",
        "umbrella": "active",
    }
    [file] = (tmp_path / "dropped").iterdir()
    assert re.fullmatch(r"acme-\d+-\d{8}T\d{6}Z\.tenant", file.name)
    assert fleet.invoke("verify", str(file), "--json").json["key"] == "acme"
    shown = fleet.invoke("show", "acme")
    assert "no tenant has this key any more" in shown.out
    assert "dropped" in shown.out
    assert [entry["event"] for entry in fleet.invoke("show", "acme", "--json").json["history"]][-3:] == [
        *("backed_up", "dropping", "dropped"),
    ]
    again = fleet.invoke("drop", "--due", "--json")
    assert (again.code, [tenant["key"] for tenant in again.json["dropped"]]) == (0, ["initech"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "No tenant is named"),
        (("acme", "--after", "soon"), "--after 'soon' is no duration: give numbers with s, m, h, d or w"),
        (("acme", "--after", "0d"), "more than 0"),
        (("acme", "--after", "9" * 9 + "w"), "--after"),
        (("acme", "--after", "30d", "--cancel"), "exclude each other"),
        (("acme", "--due"), "Leave out the key"),
        (("acme", "--backup", "here"), "--backup is for --due"),
        (("--cancel",), "No tenant is named"),
        (("acme", "--after", "1d", "--dry-run"), "--dry-run is for a drop at once"),
    ],
)
def test_a_drop_with_a_senseless_option_changes_nothing(
    fleet: Project, project_engine: Engine, arguments: tuple[str, ...], said: str
) -> None:
    before = registry(project_engine)
    done = fleet.invoke("drop", *arguments, "--yes")
    assert (done.code in {1, 2}, said in done.err) == (True, True), done.err
    assert registry(project_engine) == before


def test_show_has_the_tables_and_the_history(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("INSERT INTO shared.countries VALUES ('FR') ON CONFLICT DO NOTHING"))
        connection.execute(text("INSERT INTO t_acme.invoices (country) SELECT 'FR' FROM generate_series(1, 1500)"))
    shown = fleet.invoke("show", "acme", "--count")
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["Table", "Rows", "Size"] in lines
    [invoices] = [line for line in lines if line[:1] == ["invoices"]]
    assert invoices[1] == "1,500"
    assert lines[lines.index(["Table", "Rows", "Size"]) + 1] == invoices, "the largest one is first"
    [total] = [line for line in lines if line[:1] == ["all"]]
    as_json = fleet.invoke("show", "acme", "--count", "--json").json
    assert total[1] == f"{as_json['rows']:,}"
    assert as_json["size"] == sum(each["size"] for each in as_json["tables"])
    assert (as_json["is_exact"], fleet.invoke("show", "acme", "--json").json["is_exact"]) == (True, False)
    assert "~" in fleet.invoke("show", "acme").out
    with project_engine.begin() as connection:
        for status in ("suspended", "active") * 12:
            connection.execute(text("UPDATE tenantkit.tenants SET status = :status"), {"status": status})
    assert "and 6 before: --json has them all." in fleet.invoke("show", "acme").out
    assert len(fleet.invoke("show", "acme", "--json").json["history"]) == 26


def test_doctor_finds_and_repairs_tenants_of_a_killed_process(fleet: Project, project_engine: Engine) -> None:
    healthy = fleet.invoke("doctor")
    assert (healthy.code, healthy.out) == (0, "Healthy: every tenant is as it should be.\n")
    with project_engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET status = 'provisioning' WHERE key = 'acme'"))
    found = fleet.invoke("doctor", "--json")
    assert found.code == 1
    assert [finding["subject"] for finding in found.json] == ["acme"]
    assert "t_acme" in schemas(project_engine)
    repaired = fleet.invoke("doctor", "--repair")
    assert repaired.code == 0
    assert "its creation never finished" in repaired.out
    assert schemas(project_engine) == {"t_initech", "t_umbrella"}
    assert fleet.invoke("doctor").code == 0


def test_doctor_exits_with_1_while_a_finding_needs_a_decision(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("DROP SCHEMA t_acme CASCADE"))
    done = fleet.invoke("doctor", "--repair")
    assert done.code == 1
    assert "decide by hand" in done.out


def test_a_tenant_of_a_newer_version_is_shown_as_the_registry_has_it(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("ALTER TABLE tenantkit.tenants DROP CONSTRAINT tenants_status_check"))
        connection.execute(text("UPDATE tenantkit.tenants SET status = 'archived', database = 'eu' WHERE key = 'acme'"))
    assert "archived" in fleet.invoke("list").out
    shown = fleet.invoke("show", "acme", "--json").json
    assert (shown["status"], shown["database"]) == ("archived", "eu")
    assert "archived" in fleet.invoke("show", "acme").out
    for command in (("drop", "acme", "--yes"), ("suspend", "acme"), ("update", "acme", "--name", "Acme")):
        done = fleet.invoke(*command)
        assert (done.code, "cannot be used here" in done.err) == (1, True)
    assert "acme" in fleet.invoke("doctor").out


def test_rename_gives_a_tenant_another_key(fleet: Project, project_engine: Engine) -> None:
    planned = fleet.invoke("rename", "acme", "hooli", "--schema", "--dry-run")
    assert planned.code == 0
    assert planned.out == (
        "set the key 'hooli' in the registry, in place of 'acme'\n"
        "rename the schema 't_acme' to 't_hooli' in the database 'main', and replace its name in the paths of functions\n"
    )
    assert schemas(project_engine) == {"t_acme", "t_initech", "t_umbrella"}
    assert fleet.invoke("rename", "acme", "hooli").out == "Renamed hooli (schema t_acme), which was acme\n"
    done = fleet.invoke("rename", "hooli", "acme", "--schema", "--json")
    assert (done.code, done.json["key"], done.json["tenant"]["schema"], done.json["outdated"]) == (
        0,
        "acme",
        "t_acme",
        [],
    )


def test_rename_names_obstacles_and_what_keeps_the_former_name(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("COMMENT ON TABLE t_acme.alembic_version IS 'of t_acme'"))
    planned = fleet.invoke("rename", "acme", "initech", "--dry-run")
    assert (planned.code, planned.err) == (1, "error: Tenant 'initech' exists already. Choose another key.\n")
    refused = fleet.invoke("rename", "acme", "initech")
    assert (refused.code, refused.err) == (1, planned.err)
    done = fleet.invoke("rename", "acme", "hooli", "--schema")
    assert (done.code, done.out) == (0, "Renamed hooli (schema t_hooli), which was acme\n")
    assert done.err == "The comment on table alembic_version names the former schema; it was left as it is.\n"


def test_adopt_registers_schemas_and_release_gives_them_back(project: Project, project_engine: Engine) -> None:
    project.invoke("create", "acme")
    assert project.invoke("release", "acme", "--yes").out == "Released acme (schema t_acme)\n"
    with project_engine.begin() as connection:
        connection.execute(text("ALTER SCHEMA t_acme RENAME TO org_acme"))
    planned = project.invoke("adopt", "--schemas", "org_%", "--dry-run", "--json")
    assert planned.code == 0
    [found] = planned.json["schemas"]
    assert (found["schema"], found["key"], found["revision"], found["differences"]) == ("org_acme", "acme", "t2", [])
    assert registry(project_engine) == {}
    done = project.invoke("adopt", "--schemas", "org_%")
    assert (done.code, done.out.splitlines()[-1]) == (0, "Adopted 1 schemas.")
    assert "Shared tables: " in done.err
    assert [key for key, (_, status, _) in registry(project_engine).items() if status == "active"] == ["acme"]
    assert "all of them are tenants' already" in project.invoke("adopt", "--schemas", "org_%").err


def test_adopt_names_each_obstacle(project: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA org_acme"))
    for options in ([], ["--dry-run"]):
        done = project.invoke("adopt", "--schemas", "org_%", *options)
        assert done.code == 1
        assert "org_acme: it lacks tables: " in done.err
    assert registry(project_engine) == {}
