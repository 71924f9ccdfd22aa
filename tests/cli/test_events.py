"""The option --events: a line of JSON for each event, and the report as the last one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.cli.project import Project
from tests.cli.test_fleet import FAILS_FOR_INITECH, revisions
from tests.support.processes import until_asleep

TELLS_SECRETS = """raise ValueError(
        "cannot connect(host='x', password='s3cret') nor postgresql://me:s3cret@host/db nor {'password': \\"s3cret\\"} "
        "nor host=x PASSWORD=s3cret"
    )"""

BACKFILLS = """op.execute("CREATE TABLE big AS SELECT n AS id, NULL::int AS x FROM generate_series(1, 3000) AS n")
    op.backfill("big", {"x": 1}, "x IS NULL", pause=0.6)"""


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_every_line_is_an_event_and_the_last_is_the_report(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", FAILS_FOR_INITECH)
    done = fleet.invoke("migrate", "--events")
    assert done.code == 1
    first, *outcomes, last = events(done.out)
    assert (first["event"], first["tenants"]) == ("started", 3)
    assert {each["event"] for each in outcomes} == {"outcome"}
    assert {each["key"]: (each["ok"], each["to_revision"], each["sqlstate"]) for each in outcomes} == {
        "acme": (True, "t3", None),
        "initech": (False, "t2", "P0001"),
        "umbrella": (True, "t3", None),
    }
    assert last["event"] == "report"
    assert [each["time"] for each in (first, *outcomes, last)] == sorted(
        each["time"] for each in (first, *outcomes, last)
    )
    assert last["outcomes"] == [
        {name: value for name, value in each.items() if name not in {"event", "time"}} for each in outcomes
    ]


@pytest.mark.all_cases
def test_the_report_is_the_one_of_json_and_has_failures_by_reason(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", "op.execute(\"DO $$ BEGIN RAISE 'no luck in %', current_schema(); END $$\")")
    report = fleet.invoke("migrate", "--json").json
    last = events(fleet.invoke("migrate", "--events").out)[-1]
    assert set(last) - {"event", "time"} == set(report)
    assert {
        "run_id",
        "command",
        "target",
        "migrated",
        "unchanged",
        "failed",
        "not_replayed",
        "shared",
        "outcomes",
    } <= set(report)
    (group,), (again,) = report["failure_groups"], last["failure_groups"]
    assert {**group, "traceback": None} == {
        **again,
        "traceback": None,
    }  # the first run of a revision in a process is observed
    assert (group["error"], group["tenants"], sorted(group["keys"])) == (
        "RaiseException: no luck in {schema}",
        3,
        ["acme", "initech", "umbrella"],
    )
    assert (group["sqlstate"], group["hint"]) == ("P0001", None)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_events_are_json_in_every_encoding(fleet: Project, encoding: str) -> None:
    fleet.add_revision("t3", "t2", "op.execute(\"DO $$ BEGIN RAISE 'Müller \U0001f600'; END $$\")")
    done = fleet.run("migrate", "--events", environment={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    outcomes = [event for event in events(done.out) if event["event"] == "outcome"]
    assert {"Müller \U0001f600" in event["error"] for event in outcomes} == {True}


def test_events_are_printed_as_they_occur(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "op.execute('SELECT 1 FROM pg_sleep(60)')")
    process = fleet.start("migrate", "--events")
    try:
        assert process.stdout
        assert json.loads(process.stdout.readline())["event"] == "started"
        assert revisions(project_engine, "acme") == ["t2"], "told when all was over"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.all_cases
def test_a_closed_pipe_does_not_stop_the_migration(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "op.execute('SELECT 1 FROM pg_sleep(0.3)')")
    process = fleet.start("migrate", "--events", "--jobs", "1")
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr
    with process.stderr:
        said = process.stderr.read()
    assert process.wait(60) == 0, said
    assert "Error" not in said
    assert revisions(project_engine, "acme", "initech", "umbrella") == ["t3"] * 3


def test_a_run_without_a_report_ends_with_an_error_event(fleet: Project) -> None:
    fleet.add_revision("s2", "s1", "op.execute('SELECT 1 / 0')", "shared")
    done = fleet.invoke("migrate", "--events", "--jobs", "0")
    assert done.code == 1
    (event,) = events(done.out)
    assert event["event"] == "error"
    assert event["error"].startswith("The shared tables could not be migrated")


def test_an_interrupted_run_ends_with_its_progress(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "op.execute('SELECT pg_sleep(60)')")
    terminal = fleet.at_terminal("migrate", "--events", "--jobs", "1", is_measured=False)
    until_asleep(project_engine)
    terminal.interrupt()
    done = terminal.result()
    assert done.code == 130
    last = events(done.out)[-1]
    assert (last["event"], last["done"], last["tenants"]) == ("interrupted", 0, 3)


def test_downgrades_stamps_and_shared_tables_have_events_too(fleet: Project) -> None:
    assert events(fleet.invoke("downgrade", "t1", "--yes", "--events").out)[-1]["command"] == "downgrade"
    assert events(fleet.invoke("stamp", "t2", "--yes", "--events").out)[-1]["migrated"] == 3
    (event,) = events(fleet.invoke("migrate", "--shared-only", "--events").out)
    assert (event["event"], event["outcome"]) == ("shared", None)


@pytest.mark.parametrize("form", ["--events", "--json", "--sql", "--dry-run", None])
def test_no_event_has_a_password(fleet: Project, form: str | None) -> None:
    fleet.add_revision("t3", "t2", TELLS_SECRETS)
    done = fleet.invoke("migrate", *([form] if form else []), "--jobs", "1")
    assert done.code == (0 if form == "--dry-run" else 1)
    assert "s3cret" not in done.out + done.err
    if form != "--dry-run":
        assert "cannot connect(host='x', password=***)" in done.out + done.err


def test_each_wave_is_an_event(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", "pass")
    told = events(fleet.invoke("migrate", "--canary", "acme", "--events").out)
    assert [event["event"] for event in told] == ["started", "outcome", "wave", "outcome", "outcome", "report"]
    wave = told[2]
    assert (wave["number"], wave["count"], wave["done"], wave["failed"]) == (1, 2, 1, 0)


@pytest.mark.all_cases
def test_the_progress_of_long_steps_is_an_event_in_each_process(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", BACKFILLS)
    steps = [event for event in events(fleet.invoke("migrate", "--events").out) if event["event"] == "step"]
    for key in ("acme", "initech", "umbrella"):
        told = [(each["step"], each["rows"]) for each in steps if each["key"] == key]
        assert told == [("backfill of big", rows) for rows in (1000, 2000, 3000)]
    assert all(0 < each["percent"] <= 100 for each in steps)


def test_the_sessions_that_a_tenant_waits_for_are_an_event(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", 'op.execute("SELECT 1")')
    with project_engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'a report'")
        other.exec_driver_sql("LOCK TABLE t_acme.alembic_version IN SHARE MODE")
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with fleet.start("migrate", "--events", "-t", "acme", "--lock-timeout", "1min") as running:
            assert running.stdout
            waiting = json.loads(next(line for line in running.stdout if '"waiting"' in line))
            other.rollback()
            _, err = running.communicate()
    assert (waiting["event"], waiting["key"]) == ("waiting", "acme")
    assert [(each["pid"], each["application"]) for each in waiting["blockers"]] == [(pid, "a report")]
    assert f"acme waits for process {pid} (a report, user " in err
