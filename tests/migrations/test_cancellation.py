"""Commands that are interrupted at a chosen moment end, report the tenants that are done, and leave none half done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine

from tenantkit import Tenancy
from tenantkit.migrations import init, migrate
from tests.migrations.commands import Command
from tests.migrations.environments import Environment
from tests.migrations.test_faults import tenancy_of
from tests.support.commands import SCRIPT
from tests.support.processes import closed_gate, until, waiting

KEYS = [f"k{number}" for number in range(8)]
GATE = 4712
INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
HOW = {
    "here": ["--jobs", "0"],
    "replay": ["--jobs", "2"],
    "one worker": ["--jobs", "1", "--engine", "alembic"],
    "workers": ["--jobs", "2", "--engine", "alembic"],
}
ONE = """
op.create_table("a", sa.Column("x", sa.Integer), schema="tenant")
op.execute("INSERT INTO a VALUES (1)")
"""
BUILD = """
with op.get_context().autocommit_block():
    op.create_index("ix", "a", ["x"], schema="tenant", postgresql_concurrently=True)
"""

with_each_signal = pytest.mark.parametrize("number", INTERRUPTED, ids=lambda number: signal.Signals(number).name)
"""For tests in which the signals may differ; in other tests one represents both by default."""
with_a_signal = pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.all_cases),
        pytest.param(signal.SIGHUP, id="SIGHUP", marks=pytest.mark.all_cases),
        pytest.param(signal.SIGTERM, id="SIGTERM"),
    ],
)


def with_engines(*few: str) -> pytest.MarkDecorator:
    """Parametrize a test with each engine, by default with only *few* cases."""
    return pytest.mark.parametrize(
        "how",
        [pytest.param(how, id=name, marks=[pytest.mark.all_cases] * (name not in few)) for name, how in HOW.items()],
    )


class Fleet:
    """Eight tenants at their first revision, and commands about them."""

    def __init__(self, folder: Path, url: URL) -> None:
        self.folder, self.url = folder, url
        self.engine = create_engine(url)
        self.environment = Environment(folder / "migrations", {"tenant": "one"})

    def tenancy(self) -> Tenancy:
        return tenancy_of(self.url, self.environment.folder)

    def run(self, *arguments: str, program: tuple[str, ...] = (), terminal: int | None = None) -> Command:
        return Command(self.folder, self.url, *arguments, program=program, terminal=terminal)

    def migrate(self, target: str) -> None:
        """Migrate all tenants in this process, without an interruption."""
        with closing(self.tenancy()) as tenancy:
            migrate(tenancy, target, jobs=0)

    def ask(self, query: str, *values: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.exec_driver_sql(query, values).scalars())

    @property
    def statuses(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT key, status FROM tenantkit.tenants ORDER BY key")
            return {row.key: row.status for row in rows}

    def at(self, revision: str) -> list[str]:
        """Return the tenants that are at a revision."""
        query = "SELECT count(*) FROM t_{}.alembic_version WHERE version_num = '{}'"
        return [key for key in KEYS if self.ask(query.format(key, revision)) == [1]]

    def is_running(self, what: str) -> bool:
        """Return whether a command's statement with this text runs, and sleeps if it contains a sleep."""
        return bool(
            self.ask(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
                "AND application_name = 'victim' AND strpos(query, %s) > 0 "
                "AND (%s <> 'pg_sleep' OR wait_event = 'PgSleep')",  # elsewhere, the same text only reads its schema
                what,
                what,
            )
        )

    def is_alone(self) -> bool:
        return not self.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'victim'"
        )

    def check(self, command: Command, number: int, *, revision: str = "two") -> None:
        """Check that *command* ends with the signal's exit code and a report, and keeps no other change."""
        assert command.wait() == INTERRUPTED[signal.Signals(number)], command.err
        assert set(self.statuses.values()) == {"active"}
        assert not self.is_running("")
        assert "Traceback" not in command.err
        assert "failed k" not in command.err
        assert "stays in maintenance" not in command.err
        assert "Interrupted." in command.err
        assert (command.done or (0, 0)) == (len(self.at(revision)), 0)  # without a report if nothing was begun
        until(self.is_alone)


@pytest.fixture(scope="module")
def template(make_template: Callable[..., URL], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A database with the tenants, and their migration environment."""
    folder = tmp_path_factory.mktemp("cancellation") / "migrations"
    init(folder)
    Environment(folder).add("one", ONE, 'op.drop_table("a", schema="tenant")')
    url = make_template()
    with closing(tenancy_of(url, folder)) as tenancy:
        tenancy.install()
        for key in KEYS:
            tenancy.create(key)
    assert url.database
    return url.database, folder


@pytest.fixture
def fleet(tmp_path: Path, template: tuple[str, Path], make_database: Callable[..., URL]) -> Generator[Fleet]:
    database, folder = template
    shutil.copytree(folder, tmp_path / "migrations")
    fleet = Fleet(tmp_path, make_database(database))
    yield fleet
    fleet.engine.dispose()


@contextmanager
def locked(fleet: Fleet, statement: str) -> Generator[Any]:
    """Hold the locks of a statement; yield the connection."""
    with fleet.engine.connect() as connection:
        connection.exec_driver_sql(statement)
        yield connection
        connection.rollback()


@with_each_signal
@with_engines("here", "replay", "workers")
@pytest.mark.parametrize(
    "options", [pytest.param([], marks=pytest.mark.all_cases), ["--maintenance"]], ids=["", "maintenance"]
)
def test_a_running_statement_is_cancelled(fleet: Fleet, how: list[str], options: list[str], number: int) -> None:
    fleet.environment.add("two", waiting(GATE, condition="current_schema() >= 't_k4'"))
    with closed_gate(fleet.engine, GATE), fleet.run("migrate", *how, *options) as command:
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(number, to_group=number == signal.SIGINT)
        fleet.check(command, number)


@with_a_signal
@pytest.mark.parametrize("to", [["downgrade", "one", "--yes"], ["stamp", "three", "--yes"]], ids=["downgrade", "stamp"])
@pytest.mark.parametrize(
    "statement",
    [
        "LOCK t_k5.alembic_version",
        "LOCK t_k5.alembic_version IN ROW SHARE MODE; SELECT FROM t_k5.alembic_version FOR SHARE",
    ],
    ids=["planning", "writing"],
)
def test_every_command_for_the_fleet_can_be_interrupted(
    fleet: Fleet, to: list[str], statement: str, number: int
) -> None:
    fleet.environment.add("two", "pass", "pass")
    fleet.environment.add("three", "pass", "pass")
    fleet.migrate("two")
    with locked(fleet, statement) as connection, fleet.run(*to, "--jobs", "2") as command:
        until(lambda: fleet.is_running("t_k5") or command.has_ended)
        command.send(number)
        command.wait()
        connection.rollback()
        fleet.check(command, number, revision=to[1])


@pytest.mark.all_cases
@with_engines("here", "replay", "workers")
def test_a_run_whose_terminal_is_closed_is_interrupted(fleet: Fleet, how: list[str]) -> None:
    fleet.environment.add("two", waiting(GATE, condition="current_schema() >= 't_k4'"))
    ours, theirs = os.openpty()
    with (
        closed_gate(fleet.engine, GATE),
        fleet.run("migrate", *how, "--maintenance", terminal=theirs) as command,
    ):
        os.close(theirs)
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        os.close(ours)
        assert command.wait() > 0  # what it says cannot be written any more
        assert set(fleet.statuses.values()) == {"active"}
        until(fleet.is_alone)


@with_a_signal
@with_engines("replay", "workers")
def test_a_run_that_waits_for_a_lock_is_interrupted(fleet: Fleet, how: list[str], number: int) -> None:
    fleet.environment.add("two", 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")')
    everywhere = ", ".join(f"t_{key}.a" for key in KEYS[3:])
    with (
        locked(fleet, f"LOCK {everywhere}"),
        fleet.run("migrate", *how, "--maintenance", "--lock-timeout", "0") as command,
    ):
        until(lambda: fleet.is_running("ALTER TABLE") or command.has_ended)
        command.send(number)
        fleet.check(command, number)


@pytest.mark.all_cases
@with_each_signal
@with_engines("here", "workers")
def test_an_index_that_is_built_concurrently_is_interrupted(fleet: Fleet, how: list[str], number: int) -> None:
    fleet.environment.add("two", BUILD)
    with locked(fleet, "INSERT INTO t_k3.a VALUES (2)"), fleet.run("migrate", *how, "--maintenance") as command:
        until(lambda: fleet.is_running("CREATE INDEX CONCURRENTLY") or command.has_ended)
        command.send(number)
        fleet.check(command, number)
    fleet.migrate("two")
    assert fleet.ask("SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname = 'ix'") == [True] * 8  # fmt: skip


@pytest.mark.all_cases
@with_a_signal
def test_connections_that_do_not_open_are_not_waited_for(fleet: Fleet, number: int) -> None:
    fleet.environment.add("two", "op.execute('SELECT 1')")
    (fleet.folder / "hangs").touch()
    with fleet.run("migrate", "--jobs", "4", "--maintenance") as command:
        until(lambda: (fleet.folder / "hangs").read_text() or command.has_ended)
        command.send(number)
        fleet.check(command, number)


@with_a_signal
@pytest.mark.parametrize("jobs", [pytest.param("0", marks=pytest.mark.all_cases), "3"])
def test_a_run_that_waits_to_enter_maintenance_is_interrupted(fleet: Fleet, jobs: str, number: int) -> None:
    fleet.environment.add("two", waiting(GATE, condition="current_schema() = 't_k0'"))
    with fleet.engine.connect() as connection, fleet.run("migrate", "--jobs", jobs, "--maintenance") as command:
        with closed_gate(fleet.engine, GATE):
            until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
            connection.exec_driver_sql("SELECT FROM tenantkit.tenants WHERE key = 'k3' FOR NO KEY UPDATE")
        until(lambda: fleet.is_running("SET status = 'maintenance'") or command.has_ended)
        command.send(number)
        assert command.wait() == INTERRUPTED[signal.Signals(number)], command.err
        connection.rollback()
        fleet.check(command, number)


@with_a_signal
@pytest.mark.parametrize("jobs", [pytest.param("0", marks=pytest.mark.all_cases), "3"])
def test_leaving_maintenance_is_not_interrupted(fleet: Fleet, jobs: str, number: int) -> None:
    fleet.environment.add("two", waiting(GATE, condition="current_schema() = 't_k3'"))
    with fleet.engine.connect() as connection, fleet.run("migrate", "--jobs", jobs, "--maintenance") as command:
        with closed_gate(fleet.engine, GATE):
            until(lambda: (fleet.is_running("pg_sleep") and fleet.statuses["k3"] == "maintenance") or command.has_ended)
            connection.exec_driver_sql("SELECT FROM tenantkit.tenants WHERE key = 'k3' FOR NO KEY UPDATE")
        until(lambda: fleet.is_running("SET status = 'active'") or command.has_ended)
        command.send(number)
        until(lambda: not fleet.is_running("pg_sleep"))
        connection.rollback()
        fleet.check(command, number)


@pytest.mark.all_cases
@with_a_signal
@pytest.mark.parametrize("to_group", [False, True], ids=["parent", "group"])
def test_a_worker_that_is_starting_is_ended(fleet: Fleet, number: int, to_group: bool) -> None:
    loading = "import pathlib, sys, time\nif sys.argv[0] == '-c':\n    pathlib.Path('loading').touch()\n    while True: time.sleep(0.01)\n"
    fleet.environment.add("two", "op.execute('SELECT 1')")
    file = fleet.environment.folder / "env.py"
    environment = next(path for path in (file, fleet.environment.folder / "tenant" / "env.py") if path.exists())
    environment.write_text(loading + environment.read_text())
    with fleet.run("migrate", "--jobs", "2", "--engine", "alembic", "--maintenance") as command:
        until(lambda: (fleet.folder / "loading").exists() or command.has_ended)
        command.send(number, to_group=to_group)
        fleet.check(command, number)


@with_a_signal
@pytest.mark.parametrize("how", [HOW["here"], HOW["workers"]], ids=["here", "workers"])
def test_python_code_of_a_revision_is_interrupted(fleet: Fleet, how: list[str], number: int) -> None:
    fleet.environment.add(
        "two",
        "import pathlib, time\nif op.get_bind().exec_driver_sql('SELECT current_schema()').scalar() == 't_k3':\n"
        "    pathlib.Path('asleep').touch()\n    while True: time.sleep(0.01)",
    )
    with fleet.run("migrate", *how, "--maintenance") as command:
        until(lambda: (fleet.folder / "asleep").exists() or command.has_ended)
        command.send(number)
        fleet.check(command, number)


@with_a_signal
@pytest.mark.parametrize(
    "how", [HOW["here"], pytest.param(HOW["workers"], marks=pytest.mark.all_cases)], ids=["here", "workers"]
)
def test_a_revision_that_catches_all_exceptions_does_not_prevent_the_end(
    fleet: Fleet, how: list[str], number: int
) -> None:
    catches = "try:\n    {}\nexcept BaseException:\n    op.execute('ROLLBACK TO SAVEPOINT s')"
    wait = waiting(GATE, condition="current_schema() >= 't_k3'")
    fleet.environment.add("two", "op.execute('SAVEPOINT s')\n" + catches.format(wait))
    with closed_gate(fleet.engine, GATE), fleet.run("migrate", *how, "--maintenance") as command:
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(number)
        fleet.check(command, number)


@with_a_signal
@pytest.mark.parametrize(
    "option", [["--pause", "300"], ["--check", "touch checking; sleep 300"]], ids=["pause", "check"]
)
def test_a_pause_and_a_check_between_waves_are_interrupted(fleet: Fleet, option: list[str], number: int) -> None:
    fleet.environment.add("two", "op.execute('SELECT 1')")
    with fleet.run("migrate", "--canary", "1", *option) as command:
        until(lambda: "Wave 1 of 2" in command.err or command.has_ended)
        command.send(number, to_group=True)
        fleet.check(command, number)


@with_each_signal
def test_a_second_signal_ends_the_process_at_once(fleet: Fleet, number: int) -> None:
    endless = (
        "import pathlib, time\nwhile True:\n    try:\n        pathlib.Path('asleep').touch()\n"
        "        while True: time.sleep(0.01)\n    except KeyboardInterrupt:\n        pathlib.Path('caught').touch()"
    )
    fleet.environment.add("two", endless)
    with fleet.run("migrate", "--jobs", "0", "--maintenance") as command:
        until(lambda: (fleet.folder / "asleep").exists() or command.has_ended)
        command.send(number)
        until(lambda: (fleet.folder / "caught").exists() or command.has_ended)
        while not command.has_ended:
            command.send(number)
        assert command.wait() == -number
    until(fleet.is_alone)
    fleet.migrate("one")
    assert set(fleet.statuses.values()) == {"active"}


@with_a_signal
def test_two_signals_at_once_count_as_one(fleet: Fleet, number: int) -> None:
    fleet.environment.add("two", waiting(GATE))
    with closed_gate(fleet.engine, GATE), fleet.run("migrate", "--jobs", "2", "--maintenance") as command:
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(number)  # as the command `timeout` does
        command.send(number, to_group=True)
        fleet.check(command, number)


@pytest.mark.all_cases
@with_engines("here", "workers")
def test_a_run_in_the_background_of_a_script_ignores_ctrl_c_but_not_sigterm(fleet: Fleet, how: list[str]) -> None:
    fleet.environment.add("two", waiting(GATE, condition="current_schema() >= 't_k3'"))
    background = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh", str(SCRIPT))
    with (
        closed_gate(fleet.engine, GATE) as open_gate,
        fleet.run("migrate", *how, "--maintenance", program=background) as command,
    ):
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(signal.SIGINT, to_group=True)
        open_gate()
        assert command.wait() == 0, command.err
    assert fleet.at("two") == KEYS
    fleet.environment.add("three", waiting(GATE, condition="current_schema() >= 't_k3'"))
    with closed_gate(fleet.engine, GATE), fleet.run("migrate", *how, "--maintenance", program=background) as command:
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(signal.SIGTERM, to_group=True)
        fleet.check(command, signal.SIGTERM, revision="three")


@pytest.mark.all_cases
def test_statements_of_a_killed_run_end_and_the_next_run_ends_maintenance(fleet: Fleet) -> None:
    fleet.environment.add("two", waiting(GATE, condition="current_schema() = 't_k3'"))
    with fleet.run("migrate", "--jobs", "2", "--engine", "alembic", "--maintenance") as command:
        with closed_gate(fleet.engine, GATE):
            until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
            command.send(signal.SIGKILL)
            command.wait()
            until(fleet.is_alone)
        assert fleet.statuses["k3"] == "maintenance"
        fleet.migrate("two")
    assert set(fleet.statuses.values()) == {"active"}
    assert fleet.at("two") == KEYS


@pytest.mark.all_cases
def test_a_run_after_a_killed_one_waits_for_its_running_statements(fleet: Fleet) -> None:
    fleet.environment.add("two", waiting(GATE, condition="current_schema() = 't_k3'"))
    with (
        ThreadPoolExecutor() as threads,
        closing(fleet.tenancy()) as tenancy,
        closed_gate(fleet.engine, GATE) as open_gate,
        fleet.run(
            *("migrate", "-t", "k0,k1,k3", "--jobs", "1", "--engine", "alembic", "--maintenance"),
            program=(sys.executable, "-m", "tenantkit"),
        ) as command,
        # Without another process of this one's in its group, the kernel would wake the worker when the run is killed.
        subprocess.Popen(["sleep", "600"], process_group=command.process.pid),
    ):
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(signal.SIGSTOP, to_group=True)  # so that the worker cannot cancel anything
        command.send(signal.SIGKILL)
        command.wait()
        following = threads.submit(migrate, tenancy, jobs=2)
        until(lambda: fleet.at("two") == [key for key in KEYS if key != "k3"])
        assert fleet.statuses["k3"] == "maintenance"
        open_gate()
        command.send(signal.SIGKILL, to_group=True)
        assert following.result().failures == ()
    assert set(fleet.statuses.values()) == {"active"}
    assert fleet.at("two") == KEYS


@with_a_signal
def test_a_creation_is_interrupted_and_finished_by_the_next(fleet: Fleet, number: int) -> None:
    fleet.environment.add("two", waiting(GATE))
    with closed_gate(fleet.engine, GATE), fleet.run("create", "new") as command:
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(number)
        assert command.wait() == INTERRUPTED[signal.Signals(number)]
        assert "Traceback" not in command.err
        assert "Interrupted." in command.err
    assert fleet.statuses["new"] == "failed"
    assert fleet.ask("SELECT count(*) FROM pg_namespace WHERE nspname = 't_new'") == [0]
    with closing(fleet.tenancy()) as tenancy:
        tenancy.create("new")
    assert fleet.statuses["new"] == "active"


@with_a_signal
@pytest.mark.parametrize(
    "command", [["check", "--models"], ["migrate", "--dry-run", "--sql"], ["migrate", "--shared-only"]]
)
def test_commands_that_read_or_rehearse_are_interrupted(fleet: Fleet, command: list[str], number: int) -> None:
    fleet.environment.add("two", waiting(GATE))
    if "--models" not in command:
        fleet.environment.add("s1", waiting(GATE), line="shared")
    with closed_gate(fleet.engine, GATE), fleet.run(*command) as running:
        until(lambda: fleet.is_running("pg_sleep") or running.has_ended)
        running.send(number)
        assert running.wait() == INTERRUPTED[signal.Signals(number)], running.err
        assert "Traceback" not in running.err
    assert fleet.at("one") == KEYS
    until(fleet.is_alone)


def test_the_library_raises_keyboard_interrupt_and_can_be_used_again(fleet: Fleet) -> None:
    script = fleet.folder / "script.py"
    script.write_text(
        "from tenantkit.migrations import migrate\nfrom victim import make_tenancy\ntenancy = make_tenancy()\n"
        "try:\n    migrate(tenancy, jobs=2, maintenance=True)\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
        "    print(len(migrate(tenancy, 'one', jobs=2).outcomes))\ntenancy.close()"
    )
    fleet.environment.add("two", waiting(GATE, condition="current_schema() >= 't_k3'"))
    with closed_gate(fleet.engine, GATE), fleet.run(program=(sys.executable, "script.py")) as command:
        until(lambda: fleet.is_running("pg_sleep") or command.has_ended)
        command.send(signal.SIGINT)
        assert command.wait() == 0, command.err
    assert command.out == "interrupted\n0\n"
    assert set(fleet.statuses.values()) == {"active"}
