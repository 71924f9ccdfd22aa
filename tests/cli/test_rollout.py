"""Waves, stops and selections on the command line: the catalogs afterwards, exit codes, and the two output streams."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from tenantkit.cli.options.fleet import PARAMETERS
from tenantkit.migrations import Options
from tests.cli.project import Project
from tests.cli.test_fleet import FAILS_FOR_INITECH, revisions

ALL = ("acme", "initech", "umbrella")


def statuses(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT DISTINCT status FROM tenantkit.tenants")))


def test_the_command_line_takes_every_option_of_a_run() -> None:
    assert {*PARAMETERS, "tenants", "phase", "progress"} == Options.__annotations__.keys()


def test_a_check_command_gets_the_progress_and_stops_the_run(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    check = (
        "echo checking; echo $TENANTKIT_RUN $TENANTKIT_WAVE/$TENANTKIT_WAVES $TENANTKIT_MIGRATED $TENANTKIT_FAILED >>told;"
        ' test "$TENANTKIT_WAVE" -lt 2'
    )
    done = fleet.run("migrate", "--canary", "umbrella", "--wave", "50%,100%", "--check", check, "--json")
    assert done.code == 1
    assert revisions(project_engine, *ALL) == ["t3", "t2", "t3"]
    number = done.json["run_id"]
    assert (fleet.folder / "told").read_text() == f"{number} 1/3 1 0\n{number} 2/3 1 0\n"
    assert done.json["stopped"].startswith("the check after wave 2 of 3 failed: 'echo checking;")
    assert done.json["stopped"].endswith("ended with exit code 1")
    assert (done.json["left"], done.json["migrated"], done.json["failed"]) == (1, 2, 0)
    assert done.err.splitlines().count("checking") == 2
    assert "Wave 1 of 3: 1 done, 0 failed." in done.err

    resumed = fleet.invoke("migrate", "--resume", str(number))
    assert resumed.code == 0, resumed.err
    assert revisions(project_engine, *ALL) == ["t3"] * 3


def test_a_stopped_run_reports_the_reason_and_how_to_continue(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", FAILS_FOR_INITECH)
    done = fleet.invoke("migrate", "--on-error", "stop", "--jobs", "0")
    assert done.code == 1
    assert revisions(project_engine, *ALL) == ["t3", "t2", "t2"]
    run = fleet.invoke("runs", "list", "--json", "--limit", "1").json[0]
    assert (run["done"], run["failed"], run["planned"]) == (1, 1, 1)
    assert done.err.splitlines()[-1] == (
        "error: Stopped because 1 of 3 tenants failed; 1 tenant was not begun. "
        f"'tenantkit migrate --resume {run['id']}' with the same options continues with those that are not done."
    )


def test_tenants_are_selected_and_kept_in_maintenance(fleet: Project, project_engine: Engine) -> None:
    fleet.invoke("update", "acme", "--attribute", "plan=pro", "--attribute", "seats=3")
    fleet.invoke("update", "initech", "--attribute", "plan=pro")
    seen = 'op.execute("CREATE TABLE seen AS SELECT status FROM tenantkit.tenants WHERE schema = current_schema()")'
    fleet.add_revision("t3", "t2", seen)
    done = fleet.invoke("migrate", "--where", "plan=pro", "--where", "seats=3", "--maintenance", "--order", "newest")
    assert done.code == 0, done.err
    assert revisions(project_engine, *ALL) == ["t3", "t2", "t2"]
    with project_engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM t_acme.seen")) == "maintenance"
    assert statuses(project_engine) == ["active"]
    assert fleet.invoke("migrate", "--exclude", "initech", "--max-failures", "10%").code == 0
    assert revisions(project_engine, *ALL) == ["t3", "t2", "t3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--wave", "50%,20%"), "rise to 100%: 20%,50%,100%"),
        (("--wave", "50%,120%"), "at most 100%"),
        (("--wave", "50,100"), "'50' is no share for --wave. Write shares that rise to 100%, such as 5%,25%,100%."),
        (("--wave", ""), "'' is no share for --wave"),
        (("--canary", "0"), "0 is no canary"),
        (("--canary", "-3"), "-3 is no canary"),
        (("--canary", " , "), "--canary names no tenant"),
        (("--exclude", ""), "--exclude names no tenant"),
        (("--tenants", "glo*"), "'glo*' is a pattern, and --tenants takes whole keys"),
        (("-t", "acme", "-t", "%"), "'%' is a pattern, and --tenants takes whole keys"),
        (("--exclude", "acme,[a-z]"), "'[a-z]' is a pattern, and --exclude takes whole keys"),
        (("--canary", "?"), "'?' is a pattern, and --canary takes whole keys"),
        (("--pause", "-1", "--canary", "1"), "A pause of -1 seconds"),
        (("--pause", "5"), "there is only one. Give waves"),
        (("--check", "true"), "there is only one. Give waves"),
        (("--check", " ", "--canary", "1"), "--check names no command"),
        (("--where", "plan"), "'plan' is no attribute. Write it as name=value"),
        (("--max-failures", "few"), "'few' is no number of failures"),
        (("--on-error", "stop", "--max-failures", "2"), "Give one of them"),
        (("--on-error", "panic"), "--on-error"),
        (("--order", "size"), "--order"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_contradictory_options_are_usage_errors(
    fleet: Project, project_engine: Engine, arguments: tuple[str, ...], message: str
) -> None:
    fleet.add_revision("t3", "t2", "pass")
    done = fleet.invoke("migrate", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert revisions(project_engine, *ALL) == ["t2"] * 3


def test_tenants_may_be_named_one_by_one(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    assert (
        fleet.invoke(
            "migrate", "-t", "acme", "-t", "initech,umbrella", "--exclude", "acme", "--exclude", "initech"
        ).code
        == 0
    )
    assert revisions(project_engine, "acme", "initech", "umbrella") == ["t2", "t2", "t3"]
    fleet.add_revision("t4", "t3", "pass")
    stopped = fleet.invoke("migrate", "--canary", "acme", "--canary", "initech", "--check", "false", "--json")
    assert sorted(each["key"] for each in stopped.json["outcomes"]) == ["acme", "initech"]


@pytest.mark.parametrize(
    "arguments", [("--canary", "nobody"), ("--exclude", "nobody"), ("--where", "plan=nobody")], ids=" ".join
)
@pytest.mark.parametrize("preview", [(), ("--dry-run",)], ids=" ".join)
def test_an_unknown_tenant_changes_nothing(
    fleet: Project, project_engine: Engine, arguments: tuple[str, ...], preview: tuple[str, ...]
) -> None:
    fleet.add_revision("t3", "t2", "pass")
    done = fleet.invoke("migrate", *arguments, *preview)
    assert (done.code, done.out) == (1, "")
    assert "nobody" in done.err
    assert "tenantkit list" in done.err
    assert revisions(project_engine, *ALL) == ["t2"] * 3


def test_a_run_is_reversed(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.invoke("migrate", "--tenants", "acme,initech")
    number = fleet.invoke("runs", "list", "--json", "--limit", "1").json[0]["id"]
    refused = fleet.invoke("downgrade", "--run", str(number))
    assert (refused.code, "Pass --yes" in refused.err) == (2, True)
    assert revisions(project_engine, *ALL) == ["t3", "t3", "t2"]
    done = fleet.invoke("downgrade", "--run", str(number), "--yes")
    assert done.code == 0, done.err
    assert f"Downgraded 2 tenants to before run {number} in " in done.out
    assert revisions(project_engine, *ALL) == ["t2"] * 3


def test_reversing_a_run_asks_first(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.invoke("migrate", "--tenants", "acme,initech")
    number = fleet.invoke("runs", "list", "--json", "--limit", "1").json[0]["id"]
    done = fleet.invoke("downgrade", "--run", str(number), typed="n")
    assert done.code == 1
    assert (
        "2 tenants go back: t3 -> t2 (acme, initech)\nNo table and no column is dropped.\nNo rows are lost. Continue? [y/N]: "
    ) in done.err
    assert revisions(project_engine, *ALL) == ["t3", "t3", "t2"]


@pytest.mark.parametrize(
    "arguments", [(), ("-1", "--run", "1"), ("--run", "1", "--shared"), ("--run", "x")], ids=" ".join
)
def test_a_downgrade_goes_to_a_target_or_undoes_a_run(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.invoke("downgrade", *arguments, "--yes")
    assert (done.code, done.out) == (2, "")
    assert "--run" in done.err


def test_a_tenant_that_was_migrated_since_is_reported(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.invoke("migrate")
    number = fleet.invoke("runs", "list", "--json", "--limit", "1").json[0]["id"]
    fleet.add_revision("t4", "t3", "pass")
    fleet.invoke("migrate", "--tenants", "acme")
    done = fleet.invoke("downgrade", "--run", str(number), "--yes")
    assert done.code == 1
    assert f"after run {number} brought it to t3, and is t4 now" in done.err
    assert revisions(project_engine, *ALL) == ["t4", "t2", "t2"]


def test_a_downgrade_goes_in_waves_too(fleet: Project, project_engine: Engine) -> None:
    stopped = fleet.invoke("downgrade", "t1", "--canary", "initech", "--check", "false", "--exclude", "acme", "--yes")
    assert stopped.code == 1, stopped.err
    assert "the check after wave 1 of 2 failed" in stopped.err
    assert revisions(project_engine, *ALL) == ["t2", "t1", "t2"]


def test_the_question_names_the_tenants_of_a_downgrade(fleet: Project, project_engine: Engine) -> None:
    done = fleet.invoke("downgrade", "t1", "--exclude", "acme", typed="y")
    assert done.code == 0
    assert (
        "2 tenants go back: t2 -> t1 (initech, umbrella)\nDropped: column invoices.note.\nNo rows are lost." in done.err
    )
    assert revisions(project_engine, *ALL) == ["t2", "t1", "t1"]


def test_a_preview_of_a_downgrade_has_the_selected_tenants(fleet: Project, project_engine: Engine) -> None:
    [group] = fleet.invoke("downgrade", "t1", "--exclude", "acme", "--dry-run", "--json").json["groups"]
    assert [each["key"] for each in group["placements"]] == ["initech", "umbrella"]
    assert revisions(project_engine, *ALL) == ["t2"] * 3
