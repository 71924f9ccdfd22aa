"""The display of a run: live at a terminal, lines elsewhere, and a summary by reason at the end."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from sqlalchemy import URL, create_engine, text

from tenantkit.cli.display.events import Events
from tenantkit.cli.display.progress import FleetProgress
from tenantkit.cli.display.tally import Tally
from tenantkit.migrations import Outcome
from tests.cli.project import Project
from tests.cli.test_events import BACKFILLS

KEYS = [f"tenant-{number:02}" for number in range(64)]
SLOW_AND_SOMETIMES_FAILS = """op.execute(
        "DO $$ BEGIN PERFORM pg_sleep(0.04); IF current_schema() IN ('t_tenant-07', 't_tenant-33', 't_tenant-50') THEN "
        "RAISE 'no luck in %, with a message that is longer than each line of a narrow terminal', current_schema(); "
        "END IF; END $$"
    )"""
FEW = ("--jobs", "1", "--tenants", ",".join(KEYS[:12]))
WELL = ("--jobs", "1", "--tenants", ",".join(KEYS[8:20]))
"""None of these tenants fails; of `FEW`, one does."""
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[1-6]m|38;)")
MOVEMENT = re.compile(r"\x1b\[[0-9;?]*[A-Zhl]")


@pytest.fixture(scope="module")
def large_template(make_template: Callable[..., URL], templates: dict[str, URL]) -> str:
    """A database with 64 tenants, which have no tables: only their revision."""
    url = make_template(templates["migrated"].database or "")
    engine = create_engine(url)
    with engine.begin() as connection:
        for key in KEYS:
            connection.execute(text(f'CREATE SCHEMA "t_{key}"'))
            connection.execute(text(f'CREATE TABLE "t_{key}".alembic_version (version_num varchar(32) PRIMARY KEY)'))
            connection.execute(text(f"INSERT INTO \"t_{key}\".alembic_version VALUES ('t2')"))
            connection.execute(
                text(
                    "INSERT INTO tenantkit.tenants (key, name, status, schema) VALUES (:key, :key, 'active', :schema)"
                ),
                {"key": key, "schema": f"t_{key}"},
            )
    engine.dispose()
    return url.database or ""


@pytest.fixture
def large(
    bare_project: Project, make_database: Callable[..., URL], large_template: str, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A project with 64 tenants and a slow revision, which fails for three of them."""
    url = make_database(large_template)
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    bare_project.add_revision("t3", "t2", SLOW_AND_SOMETIMES_FAILS)
    return bare_project


def outcome(number: int, **values: object) -> Outcome:
    shown = {"from_revision": "a", "to_revision": "b", "engine": "replay", "duration_ms": number % 97, **values}
    return Outcome(key=f"k{number}", schema=f"t_k{number}", **shown)


def test_a_terminal_shows_progress_rate_and_failures_and_keeps_a_summary(large: Project) -> None:
    began = time.monotonic()
    terminal = large.at_terminal("migrate", "--jobs", "2")
    done = terminal.result()
    assert done.code == 1
    for words in (
        r"Migrating ━+\S* +\d+/64, \d+(\.\d)?/s, 0:\d\d left",
        r"2 by alembic, \d+ by replay",
        r"slowest: tenant-\d\d \d+ ms, tenant-\d\d \d+ ms, tenant-\d\d \d+ ms",
    ):
        assert re.search(words, done.err), words
    failures = [line for line in re.split(r"[\r\n]+", done.err) if line.startswith("failed ")]
    assert sorted({line.split()[1] for line in failures}) == ["tenant-07", "tenant-33", "tenant-50"]
    assert all(len(line) <= 100 and line.endswith("…") for line in failures)
    assert "[1/64]" not in done.err
    assert terminal.seen.count("Migrating") <= 10 * (time.monotonic() - began) + len(failures) + 2, "drawn too often"
    # The display is erased, and a summary remains.
    *_, after = MOVEMENT.split(terminal.seen)
    assert "Migrating" not in after
    summary = done.err[done.err.rindex("3 tenants: ") :].splitlines()
    assert summary[0].startswith("3 tenants: RaiseException: no luck in {schema}, with a message")
    assert summary[0].endswith("narrow terminal (P0001)")
    assert summary[1] == "  tenant-07, tenant-33, tenant-50"
    assert summary[2] == "  in revision t3, migrations/tenant/t3.py, line 9"
    assert re.fullmatch(r"error: 3 tenants failed\. .* 'tenantkit runs show \d+' has each\.", summary[3])
    assert re.fullmatch(r"Migrated 61 tenants to head in \d+\.\d s\.\n", done.out)
    assert re.search(r"2 by alembic, 59 by replay; \d+ tenants/s; slowest: tenant-", done.err)


@pytest.mark.all_cases
def test_no_line_is_longer_than_a_narrow_terminal(large: Project) -> None:
    done = large.at_terminal("migrate", *FEW, COLUMNS="40").result()
    drawn = [line for line in re.split(r"[\r\n]+", done.err) if line.startswith(("Migrating", "  slowest", "failed"))]
    assert max(map(len, drawn)) <= 40
    assert any(re.fullmatch(r"Migrating \d+/12, \d+(\.\d)?/s, 0:\d\d left", line) for line in drawn)


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_means_no_colour(large: Project, environment: dict[str, str], coloured: bool) -> None:
    terminal = large.at_terminal("migrate", *WELL, **environment)
    terminal.result()
    assert (COLOUR.search(terminal.seen) is not None) is coloured


def test_a_terminal_without_cursor_movements_gets_lines(large: Project) -> None:
    terminal = large.at_terminal("migrate", *WELL, TERM="dumb")
    done = terminal.result()
    assert "\x1b" not in terminal.seen
    assert len([line for line in done.err.splitlines() if line.startswith("[")]) == 12


@pytest.mark.all_cases
def test_colours_that_are_forced_on_a_file_do_not_make_it_a_terminal(large: Project) -> None:
    done = large.run("migrate", *WELL, environment={"FORCE_COLOR": "1"})
    assert not MOVEMENT.search(done.err)
    assert "[12/12]" in done.err


def test_an_interrupted_run_prints_its_progress(large: Project) -> None:
    large.add_revision("t4", "t3", "op.execute(\"SELECT pg_sleep(60) WHERE current_schema() > 't_tenant-20'\")")
    terminal = large.at_terminal("migrate", "--jobs", "1", is_measured=False)
    terminal.wait_for("by replay")
    terminal.interrupt()
    done = terminal.result()
    assert done.code == 130
    assert re.search(r"\d+ of 64 tenants were done, \d of them failed\.\n", done.err)


@pytest.mark.all_cases
def test_a_terminal_shows_the_progress_of_a_long_step(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", BACKFILLS)
    terminal = fleet.at_terminal("migrate", "--tenants", "umbrella")
    assert terminal.result().code == 0
    assert "umbrella: backfill of big, 1,000 rows set, " in terminal.seen
    assert "backfill" not in MOVEMENT.split(terminal.seen)[-1], "what is done is not left on the screen"


@pytest.mark.all_cases
def test_without_a_terminal_the_progress_of_a_long_step_is_printed_in_lines(
    fleet: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.add_revision("t3", "t2", BACKFILLS)
    monkeypatch.setattr("tenantkit.cli.display.progress._PAUSE", 3600)
    assert "backfill" not in fleet.invoke("migrate", "--tenants", "acme").err
    monkeypatch.setattr("tenantkit.cli.display.progress._PAUSE", 0)
    told = [line for line in fleet.invoke("migrate", "--tenants", "umbrella").err.splitlines() if "backfill" in line]
    assert re.fullmatch(r"umbrella: backfill of big, 3,000 rows set, \d+ % done", told[-1])


def test_without_a_terminal_a_large_fleet_has_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with FleetProgress("Migrating") as progress:
        progress.started(2000)
        for number in range(2000):
            progress.finished(outcome(number))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 5
    assert lines[-1].startswith("2000/2000")
    assert lines[-1].endswith(": 2000 by replay")


def test_failures_of_all_tenants_are_summarized(capsys: pytest.CaptureFixture[str]) -> None:
    with FleetProgress("Migrating") as progress:
        progress.started(500)
        for number in range(500):
            progress.finished(outcome(number, error="X: y"))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("failed")] == [f"failed k{number} X: y" for number in range(20)]
    assert lines[20] == "Further failures are only counted; the summary has them."


def test_a_lost_migration_is_reported_and_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    done = [outcome(number, attempts=2) for number in range(4)]
    with FleetProgress("Migrating", Events()) as progress:
        progress.started(4)
        for each in done:
            progress.finished(each)
        progress.lost(done[1:])
        assert (progress.tally.done, progress.tally.retried, progress.tally.engines) == (1, 1, {"replay": 1})
        for each in done[1:]:
            progress.finished(each)
    told = capsys.readouterr()
    assert "The server crashed and lost the last migrations: 3 tenants to migrate again.\n" in told.err
    assert told.err.splitlines()[-1].startswith("[4/4] k3 ")
    events = [json.loads(line) for line in told.out.splitlines()]
    assert [each["key"] for each in events if each["event"] == "lost"] == ["k1", "k2", "k3"]
    assert len([each for each in events if each["event"] == "outcome"]) == 7


def test_an_error_cannot_move_the_cursor_or_begin_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with FleetProgress("Migrating") as progress:
        progress.started(1)
        progress.finished(outcome(1, error="X: a\nb\x1b[2Jc\rd\x07" + "e" * 5000, sqlstate="22P02"))
    told = capsys.readouterr().err
    assert told == f"failed k1 X: a b [2Jc d {'e' * 5000} (22P02)\n"


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_last_seconds_and_initially_unknown() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start(1000)
    assert tally.rate() is None
    assert tally.seconds_left(None) is None
    rate = None
    for second in range(1, 101):
        clock.now = second
        for _ in range(1 if second <= 50 else 10):
            tally.add(outcome(second))
        rate = tally.rate()
    assert rate == pytest.approx(10)
    assert tally.seconds_left(rate) == pytest.approx((1000 - 550) / 10)


def test_without_progress_the_remaining_time_is_unknown() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.start(10)
    rate = None
    for _ in range(5):
        clock.now += 1
        tally.add(outcome(1))
        rate = tally.rate()
    assert tally.seconds_left(rate) == pytest.approx(5)
    clock.now += 4
    assert tally.seconds_left(tally.rate()) is None


def test_the_slowest_and_waiting_tenants_are_counted() -> None:
    tally = Tally()
    tally.start(100)
    for number in range(97):
        tally.add(outcome(number, attempts=1 + (number < 4)))
    tally.add(outcome(500, error="X", duration_ms=999_999))
    assert tally.slowest == [("k96", 96), ("k95", 95), ("k94", 94)]
    assert (tally.done, tally.failed, tally.retried, tally.engines) == (98, 1, 4, {"replay": 97})
