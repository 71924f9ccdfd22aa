"""Commands that are interrupted at random moments, under load: each ends soon, with a report, and nothing half done.

With ``--cases=all`` these are 200 interruptions beside a busy process, with ``--cases=more`` 30. The moments follow from
pytest-randomly's seed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError

from tenantkit.migrations import migrate
from tests.migrations.commands import HANGS, Command
from tests.migrations.test_faults import HISTORY, KEYS, Fleet, alone, tenancy_of
from tests.support.processes import until

OUTSIDE = (
    'with op.get_context().autocommit_block():\n    op.create_index("iy", "a", ["x"], schema="tenant", postgresql_concurrently=True)',
    'op.drop_index("iy", "a", schema="tenant")',
)
PACE = "op.execute('SELECT pg_sleep(0.05)')"
SLOWEST = 2.0
"""Seconds that a command may take after its cancelled statements have ended, on an idle machine."""
NUMBERS = {"few": 1, "more": 6, "all": 20}
"""Number of interruptions in a test, by the value of ``--cases``."""
IMPORTS = 0.6
"""Seconds of the imports of the command line, on an idle machine."""


def make_command(fleet: Fleet, folder: Path, *, forward: bool) -> tuple[Command, str]:
    """Start a command of a random kind; return it, and the kind."""
    kind = random.choice(["fleet"] * 7 + ["create", "check"])
    if kind == "create":
        return Command(folder, fleet.url, "create", "new"), kind
    if kind == "check":
        return Command(folder, fleet.url, "check"), kind
    arguments = ["migrate"] if forward else ["downgrade", "r1", "--yes"]
    arguments += ["--engine", random.choice(["auto", "auto", "alembic"]), "--jobs", str(random.choice([0, 1, 2, 4, 8]))]
    arguments += random.choice([[], ["--maintenance"]]) + random.choice([[], ["--canary", "2", "--pause", "0.2"]])
    return Command(folder, fleet.url, *arguments), kind


@contextmanager
def busy_process() -> Generator[None]:
    """Keep a processor busy for the duration of a block."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def locks(fleet: Fleet) -> Generator[None]:
    """Keep locks on tenants' tables for the duration of a block."""
    ended = Event()

    def keep_locks() -> None:
        while not ended.is_set():
            table = f"t_{random.choice(KEYS)}.{random.choice(['a', 'alembic_version'])}"
            with suppress(DBAPIError), fleet.engine.begin() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '1s'; LOCK {table} IN EXCLUSIVE MODE")
                sleep(random.uniform(0, 0.3))

    thread = Thread(target=keep_locks)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def slowdown() -> float:
    """Return the current slowdown, relative to an idle machine."""
    start = monotonic()
    subprocess.run([sys.executable, "-c", "import tenantkit.cli, tenantkit.migrations"], check=True)
    return max(1.0, (monotonic() - start) / IMPORTS)


class Clock:
    """Measures the time of a command after the end of its last statement."""

    def __init__(self, fleet: Fleet, command: Command) -> None:
        self._fleet, self._command = fleet, command
        self._cancelled_at = monotonic()

    def wait(self) -> float:
        """Wait for the end of the command; return the seconds."""
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'victim' AND state <> 'idle'"
        )
        deadline = monotonic() + HANGS
        with self._fleet.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not self._command.has_ended:
                now = monotonic()
                assert now < deadline, f"it hangs: {self._command.arguments}\n{self._command.err}"
                if connection.execute(query).scalar_one():
                    self._cancelled_at = now
                sleep(0.01)
        return monotonic() - self._cancelled_at


def check_end(command: Command, number: int, kind: str, done: int) -> None:
    """Check the exit code and the report of an interrupted command; *done* tenants are at its target."""
    about = f"{command.arguments} after {signal.Signals(number).name}, {done} done:\n{command.out}{command.err}"
    code = command.process.returncode
    assert "Traceback" not in command.err or "Interrupted" not in command.err, about  # while it still imports
    if kind == "fleet":
        assert code in {0, 128 + number, -number}, about
        # The signal may also arrive after the report, while connections are closed, or at the end of the interpreter.
        had_ended = code == 0 or (command.out and "Interrupted" not in command.err)
        assert had_ended or (command.done or (0, 0)) == (done, 0), about
    else:
        assert code in {0, 1, 128 + number, -number}, about


def revisions(fleet: Fleet) -> dict[str, str]:
    query = "SELECT version_num FROM t_{}.alembic_version"
    with fleet.engine.connect() as connection:
        return {key: connection.exec_driver_sql(query.format(key)).scalar_one() for key in KEYS}


def statuses(fleet: Fleet) -> dict[str, str]:
    with fleet.engine.connect() as connection:
        return {row.key: row.status for row in connection.execute(text("SELECT key, status FROM tenantkit.tenants"))}


def finish_creation(fleet: Fleet) -> None:
    """Check that an interrupted creation can be finished, and drop the tenant."""
    with closing(tenancy_of(fleet.url, fleet.folder)) as tenancy:
        if statuses(fleet).get("new", "failed") == "failed":
            tenancy.create("new")
        assert statuses(fleet)["new"] == "active"
        tenancy.drop("new")


@pytest.mark.all_cases
@pytest.mark.parametrize("part", [1, *(pytest.param(number, marks=pytest.mark.all_cases) for number in (2, 3, 4, 5))])
@pytest.mark.parametrize("outside", [False, True], ids=["", "outside"])
def test_commands_interrupted_at_any_moment_leave_nothing_half_done(
    outside: bool, part: int, tmp_path: Path, empty_database: URL, all_cases: bool, pytestconfig: pytest.Config
) -> None:
    """The parts differ in the random moments only: one test of all would take almost ten minutes."""
    random.seed(random.random() + part)  # pytest-randomly gives each test the same seed
    history = [(f"{PACE}\n{up}", f"{PACE}\n{down}") for up, down in (*HISTORY, *([OUTSIDE] if outside else []))]
    fleet = Fleet(empty_database, tmp_path / "migrations", history)
    forward = True
    size = pytestconfig.getoption("cases")
    with locks(fleet), busy_process() if size == "all" else nullcontext():
        for _ in range(NUMBERS[size]):
            target = f"r{len(history)}" if forward else "r1"
            before = revisions(fleet)
            number = random.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
            # Five times as much as on an idle machine: the load changes between this measurement and the end.
            limit = 5 * SLOWEST * slowdown() if all_cases else HANGS
            command, kind = make_command(fleet, tmp_path, forward=forward)
            with command:
                sleep(random.uniform(0.5, 4))
                clock = Clock(fleet, command)
                command.send(number, to_group=random.random() < 0.5)
                took = clock.wait()
                assert took < limit, f"{took:.1f} s of {limit:.1f}: {command.arguments}\n{command.err}"
            after = revisions(fleet)
            check_end(command, number, kind, sum(after[key] == target != before[key] for key in KEYS))
            until(lambda: alone(fleet.engine))
            assert {key: status for key, status in statuses(fleet).items() if status != "active" and key != "new"} == {}
            if kind == "create":
                finish_creation(fleet)
            if not outside:  # a part may be done, and the next run continues
                fleet.check()
            if set(after.values()) == {target}:
                forward = not forward
    fleet.migrate(migrate)
    assert fleet.check()
