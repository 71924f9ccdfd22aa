"""Tenants in maintenance during their migration: the registry during and after it, in every case."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from time import sleep
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, text
from typing_extensions import override

from tenantkit import MigrationError, Tenancy, TenantUnavailableError
from tenantkit.cancellation import Cancellation
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations import Outcome, Progress, downgrade, migrate
from tenantkit.migrations.executors.maintenance import _StatusWriter, release_abandoned
from tenantkit.migrations.tasks.task import Task
from tenantkit.postgres.advisory_locks import RUN
from tenantkit.runs import maintenance
from tenantkit.runs.claims import claim, share
from tenantkit.runs.maintenance import show_alive
from tenantkit.tenant import Placement
from tests.migrations.environments import Environment
from tests.migrations.test_fleet import ONE, TWO, revisions
from tests.support import commands
from tests.support.processes import closed_gate, unmeasured, until, until_asleep, waiting

Make = Callable[..., Tenancy]
KEYS = [f"k{number}" for number in range(6)]
ACTIVE = dict.fromkeys(KEYS, ("active", None))

WITNESS = 'op.execute("CREATE TABLE seen AS SELECT status FROM tenantkit.tenants WHERE schema = current_schema()")'
SLOW = 'for _ in range(600):\n    op.execute("SELECT pg_sleep(0.1)")'  # a server detects a closed connection between statements
GATE = 4711
WAITS = waiting(GATE)
FAILS = "op.execute(\"DO $$ BEGIN IF current_schema() = 't_k3' THEN RAISE 'no luck'; END IF; END $$\")"


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(ONE, tuple(KEYS))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Make:
    """Make tenancies of a fleet of six tenants at revision one."""
    environment.add("one", ONE, 'op.drop_table("a", schema="tenant")')
    return migrated_tenancy


def states(engine: Engine) -> dict[str, tuple[str, str | None]]:
    """Return each tenant's status, and the run that keeps it in maintenance, from the registry."""
    with engine.connect() as connection:
        query = "SELECT key, status, claim FROM tenantkit.tenants ORDER BY key"
        return {row.key: (row.status, row.claim) for row in connection.exec_driver_sql(query)}


def seen(engine: Engine) -> dict[str, str]:
    """Return the status of each tenant during its migration, as its revision read it."""
    with engine.connect() as connection:
        return {key: connection.exec_driver_sql(f"SELECT status FROM t_{key}.seen").scalar_one() for key in KEYS}


@contextmanager
def running(
    database: URL, environment: Environment, *, key: str, engine: Engine, options: str = "", before: str = ""
) -> Generator[Any]:
    """Yield a process that migrates with maintenance, after *key* is in maintenance or the run has ended."""
    script = (
        f"{before}\n"
        "import sys; from tenantkit import Tenancy; from tenantkit.migrations import migrate\n"
        "from tests.support.models import APPLICATION\n"
        "tenancy = Tenancy(sys.argv[1], migrations=sys.argv[2], listen=False, **APPLICATION)\n"
        f"migrate(tenancy, maintenance=True, {options})\n"
    )
    url = database.render_as_string(hide_password=False)
    with Path(os.devnull).open("r+") as nothing:
        command = ["-c", script, url, str(environment.folder)]
        process = commands.start(command, cwd=Path.cwd(), environment=unmeasured(), streams=(nothing.fileno(),) * 3)
    try:
        until(lambda: states(engine)[key][0] == "maintenance" or process.poll() is not None)
        yield process
    finally:
        kill(process)


def kill(process: Any) -> None:
    """Kill a process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def alone(engine: Engine) -> bool:
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE locktype = 'advisory' AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql(query).scalar_one() == 0)


@pytest.mark.parametrize(
    "how",
    [{"jobs": 0}, {"jobs": 1}, {"jobs": 3}, {"jobs": 2, "engine": "alembic"}],
    ids=["here", "one", "replay", "workers"],
)
def test_each_tenant_is_in_maintenance_while_it_is_migrated_and_only_then(
    fleet: Make, environment: Environment, engine: Engine, how: Any
) -> None:
    environment.add("two", WITNESS)
    during: list[Any] = []
    migrate(fleet(), maintenance=True, canary=1, check=lambda _: during.append(states(engine)), **how)
    assert seen(engine) == dict.fromkeys(KEYS, "maintenance")
    assert during == [ACTIVE]
    assert states(engine) == ACTIVE


def test_without_the_option_no_tenant_is_in_maintenance(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", WITNESS)
    migrate(fleet(), jobs=2)
    assert seen(engine) == dict.fromkeys(KEYS, "active")


def test_steps_outside_of_a_transaction_are_in_maintenance_too(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", TWO)
    outside = "with op.get_context().autocommit_block():\n    " + WITNESS
    environment.add("three", outside + '\n    op.execute("CREATE INDEX CONCURRENTLY ix ON a (y)")')
    migrate(fleet(), maintenance=True, jobs=2)
    assert seen(engine) == dict.fromkeys(KEYS, "maintenance")
    assert states(engine) == ACTIVE


def test_a_status_that_an_operator_has_set_is_kept(fleet: Make, environment: Environment, engine: Engine) -> None:
    tenancy = fleet()
    tenancy.suspend("k1")
    tenancy.start_maintenance("k2")
    environment.add("two", WITNESS)
    migrate(tenancy, maintenance=True, jobs=2)
    assert seen(engine) == {**dict.fromkeys(KEYS, "maintenance"), "k1": "suspended"}
    assert states(engine) == {**ACTIVE, "k1": ("suspended", None), "k2": ("maintenance", None)}
    assert tenancy.repair() == []
    assert states(engine)["k2"] == ("maintenance", None)


def test_other_processes_are_notified_of_maintenance(
    fleet: Make, environment: Environment, database: URL, engine: Engine
) -> None:
    environment.add("two", WAITS)
    other = fleet(listen=True, cache_ttl=3600)
    other.get("k0")
    assert other.lookups.listener
    assert other.lookups.listener.listening.wait(30)
    url = database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("LISTEN tenantkit")
        with closed_gate(engine, GATE):
            run = pool.submit(migrate, fleet(), maintenance=True, jobs=1)
            until(lambda: other.get("k0").status == "maintenance")
            with pytest.raises(TenantUnavailableError, match="'k0' is maintenance"):
                other.session("k0")
        run.result()
        until(lambda: other.get("k0").status == "active")
        told = [notification.payload for notification in connection.notifies(timeout=1)]
    assert sorted(told) == sorted(KEYS * 2)


def test_the_process_itself_sees_maintenance_at_once(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", WAITS)
    tenancy = fleet(cache_ttl=3600)
    assert tenancy.get("k0").status == "active"
    with ThreadPoolExecutor(1) as pool:
        with closed_gate(engine, GATE):
            run = pool.submit(migrate, tenancy, maintenance=True, jobs=1)
            until(lambda: tenancy.get("k0").status == "maintenance")
        run.result()
    assert tenancy.get("k0").status == "active"


@pytest.mark.parametrize("engine_name", ["auto", "alembic"])
def test_a_tenant_that_fails_is_active_again(
    fleet: Make, environment: Environment, engine: Engine, engine_name: Any
) -> None:
    environment.add("two", FAILS)
    with pytest.raises(MigrationError, match="no luck"):
        migrate(fleet(), maintenance=True, engine=engine_name, jobs=2)
    assert states(engine) == ACTIVE


def test_a_tenant_whose_worker_dies_is_active_again(fleet: Make, environment: Environment, engine: Engine) -> None:
    dies = "import os\nif op.get_bind().exec_driver_sql('SELECT current_schema()').scalar() == 't_k3':"
    dies += " os.kill(os.getpid(), 9)"
    environment.add("two", dies)
    with pytest.raises(MigrationError, match="exit code -9"):
        migrate(fleet(), maintenance=True, jobs=2)
    assert states(engine) == ACTIVE


def test_a_pool_of_one_connection_is_sufficient(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", WITNESS)
    tenancy = fleet(engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 60})
    migrate(tenancy, maintenance=True, jobs=3)
    assert seen(engine) == dict.fromkeys(KEYS, "maintenance")
    assert states(engine) == ACTIVE
    until(lambda: alone(engine))


SHOWS_RUN = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory'
        AND classid::bigint = (hashtext('tenantkit run')::bigint & 4294967295)
"""
CUTS = """
    import sqlalchemy
    url = {url!r}
    with sqlalchemy.create_engine(url).connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND classid::bigint = (hashtext('tenantkit run')::bigint & 4294967295)"
        )
"""


def test_a_lost_connection_leaves_no_tenant_in_maintenance(
    fleet: Make, environment: Environment, engine: Engine, database: URL
) -> None:
    cuts = CUTS.format(url=database.render_as_string(hide_password=False))
    environment.add("two", cuts + "    connection.close()\n    connection.engine.dispose()\n" + f"    {WITNESS}")
    during: list[Any] = []
    migrate(fleet(), maintenance=True, jobs=0, canary=1, check=lambda _: during.append(states(engine)))
    assert seen(engine) == dict.fromkeys(KEYS, "maintenance")
    assert during == [ACTIVE]
    assert states(engine) == ACTIVE


def test_doctor_ends_the_maintenance_of_a_killed_run(
    fleet: Make, environment: Environment, engine: Engine, database: URL
) -> None:
    environment.add("two", SLOW)
    tenancy = fleet()
    tenancy.start_maintenance("k5")
    with running(database, environment, key="k0", engine=engine) as process:
        assert tenancy.diagnose() == []  # a run is alive
        assert tenancy.repair() == []
        assert states(engine)["k0"][0] == "maintenance"
        kill(process)
        until(lambda: alone(engine))
        assert states(engine)["k0"][0] == "maintenance"
        (finding,) = tenancy.diagnose()
        assert (finding.subject, finding.repair) == ("k0", "make it active again")
        assert states(engine)["k0"][0] == "maintenance"
        assert tenancy.repair() == [finding]
    assert states(engine) == {**ACTIVE, "k5": ("maintenance", None)}
    assert revisions(engine) == ["one"]
    assert tenancy.diagnose() == []


@pytest.mark.all_cases
def test_while_a_statement_of_a_killed_run_runs_maintenance_continues(
    fleet: Make, environment: Environment, engine: Engine, database: URL
) -> None:
    environment.add("two", 'op.execute("SELECT pg_sleep(120)")')
    tenancy = fleet()
    at_work = "FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT pg_sleep(120)'"

    def ask(query: str) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql(query).scalars())

    with running(database, environment, key="k0", engine=engine) as process:
        until(lambda: bool(ask(f"SELECT pid {at_work}")))
        kill(process)
    environment.add("two", WITNESS, after="one")
    assert (tenancy.diagnose(), tenancy.repair()) == ([], [])
    migrate(tenancy, tenants=["k4"])
    assert states(engine)["k0"][0] == "maintenance"
    assert ask(f"SELECT pg_terminate_backend(pid) {at_work}") == [True]
    until(lambda: alone(engine))
    assert [finding.subject for finding in tenancy.repair()] == ["k0"]
    assert states(engine) == ACTIVE


def test_while_a_statement_of_a_lost_connection_runs_maintenance_continues(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    databases = fleet().databases
    with engine.connect() as other, engine.connect() as connection:
        number = connection.exec_driver_sql("SELECT id FROM tenantkit.tenants WHERE key = 'k0'").scalar_one()
        assert maintenance.enter(connection, number, 77) is maintenance.Entry.ENTERED
        assert claim(other, "t_k0")
        maintenance.leave(connection, number, 77, databases=databases)
        connection.commit()
        assert states(engine)["k0"] == ("maintenance", "run 77")
        other.rollback()
        maintenance.leave(connection, number, 77, databases=databases)
        connection.commit()
    assert states(engine) == ACTIVE


def test_the_end_of_a_dead_runs_last_statement_is_waited_for(fleet: Make, engine: Engine) -> None:
    tenancy = fleet()
    with engine.begin() as connection:
        assert maintenance.enter(connection, tenancy.get("k0").id, 77) is maintenance.Entry.ENTERED
    with engine.connect() as other:
        assert claim(other, "t_k0")
        timer = Timer(0.3, other.rollback)
        timer.start()
        release_abandoned(tenancy)
        timer.join()
    assert states(engine) == ACTIVE


def test_a_dead_runs_maintenance_ends_before_others_are_migrated(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    tenancy = fleet()
    with engine.begin() as connection:
        maintenance.enter(connection, tenancy.get("k0").id, 77)
    environment.add("two", "op.execute(\"CREATE TABLE seen AS SELECT status FROM tenantkit.tenants WHERE key = 'k0'\")")
    migrate(tenancy, tenants=["k4"])
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT status FROM t_k4.seen").scalar_one() == "active"


def test_a_tenant_that_waits_for_a_backup_stays_active(
    fleet: Make, environment: Environment, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.PATIENCE", 0.3)
    environment.add("two", WITNESS)
    tenancy = fleet()
    before = tenancy.get("k0").updated_at
    with engine.connect() as backup:
        assert share(backup, "t_k0")
        with pytest.raises(MigrationError, match="another run"):
            migrate(tenancy, tenants=["k0"], maintenance=True)
        tenancy.cache.clear()
        assert tenancy.get("k0").updated_at == before  # it never was in maintenance
    migrate(tenancy, maintenance=True)
    assert set(seen(engine).values()) == {"maintenance"}
    assert states(engine) == ACTIVE


def test_a_tenant_that_a_run_leaves_in_maintenance_when_it_dies_is_migrated(
    fleet: Make, environment: Environment, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.PATIENCE", 0.3)
    environment.add("two", WITNESS)
    tenancy = fleet()

    class Leaves(Progress):
        @override
        def started(self, total: int) -> None:
            with engine.begin() as connection:
                maintenance.enter(connection, tenancy.get("k3").id, 999)

    migrate(tenancy, jobs=0, maintenance=True, progress=Leaves())
    assert states(engine) == ACTIVE


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_tenant_whose_row_is_locked_enters_maintenance_later(
    jobs: int, fleet: Make, environment: Environment, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = lambda connection: connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")  # noqa: E731
    monkeypatch.setattr("tenantkit.migrations.executors.maintenance.limit_lock_waits", limit)
    environment.add("two", WITNESS)

    class Locks(Progress):
        @override
        def started(self, total: int) -> None:
            other.exec_driver_sql("SELECT FROM tenantkit.tenants WHERE key = 'k3' FOR NO KEY UPDATE")

        @override
        def finished(self, outcome: Outcome) -> None:
            find_connection()

    shown_by: set[int] = set()

    def find_connection() -> None:
        with engine.connect() as connection:
            shown_by.update(connection.exec_driver_sql(SHOWS_RUN).scalars())

    def pause(_attempt: int) -> float:
        find_connection()
        other.rollback()
        return 0

    monkeypatch.setattr("tenantkit.postgres.retry.pause", pause)
    with engine.connect() as other:
        migrate(fleet(), jobs=jobs, maintenance=True, progress=Locks())
    assert len(shown_by) == 1  # another connection would show the run as dead meanwhile
    assert seen(engine) == dict.fromkeys(KEYS, "maintenance")
    assert states(engine) == ACTIVE


@pytest.mark.parametrize("again", [True, False])
def test_the_next_run_ends_the_maintenance_of_a_killed_run(
    fleet: Make, environment: Environment, engine: Engine, database: URL, again: bool
) -> None:
    environment.add("two", SLOW)
    with running(database, environment, key="k0", engine=engine) as process:
        kill(process)
    until(lambda: alone(engine))
    assert states(engine)["k0"][0] == "maintenance"
    environment.add("two", WITNESS, after="one")
    migrate(fleet(), maintenance=again, tenants=KEYS if again else ["k4"], jobs=2)
    assert states(engine) == ACTIVE
    if again:
        assert seen(engine) == dict.fromkeys(KEYS, "maintenance")


def test_an_interrupted_run_leaves_no_tenant_in_maintenance(
    fleet: Make, environment: Environment, engine: Engine, database: URL
) -> None:
    environment.add("two", SLOW)
    with running(database, environment, key="k0", engine=engine) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    assert states(engine) == ACTIVE


@pytest.mark.all_cases
def test_the_workers_of_a_run_that_ignores_interrupts_ignore_them_too(
    fleet: Make, environment: Environment, engine: Engine, database: URL
) -> None:
    environment.add("two", waiting(GATE, condition="current_schema() = 't_k3'"))
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # as in the background of a shell script
    options = "jobs=2, engine='alembic'"
    with (
        closed_gate(engine, GATE) as open_gate,
        running(database, environment, key="k3", engine=engine, options=options, before=ignore) as process,
    ):
        until_asleep(engine)  # by then a worker waits for the lock
        os.killpg(process.pid, signal.SIGINT)
        open_gate()
        assert process.wait(60) == 0
    assert states(engine) == ACTIVE
    assert {key: revisions(engine, key) for key in KEYS} == {key: ["two"] for key in KEYS}


def test_a_status_that_an_operator_sets_meanwhile_is_kept(
    fleet: Make, environment: Environment, engine: Engine, database: URL
) -> None:
    environment.add("two", WAITS)
    tenancy = fleet()
    with closed_gate(engine, GATE) as open_gate, running(database, environment, key="k0", engine=engine) as process:
        tenancy.resume("k0")
        tenancy.start_maintenance("k0")
        open_gate()
        assert process.wait(60) == 0
    assert states(engine) == {**ACTIVE, "k0": ("maintenance", None)}
    assert revisions(engine, "k5") == ["two"]
    assert tenancy.repair() == []
    assert states(engine)["k0"] == ("maintenance", None)


def test_concurrent_runs_keep_tenants_in_maintenance_and_leave_none_there(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", WITNESS + '\nop.execute("SELECT pg_sleep(0.1)")')
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda tenancy: migrate(tenancy, maintenance=True, jobs=2), [fleet(), fleet()]))
    assert sorted(outcome.key for report in reports for outcome in report.migrated) == KEYS
    assert seen(engine) == dict.fromkeys(KEYS, "maintenance")
    assert states(engine) == ACTIVE


def test_a_tenant_in_maintenance_by_another_run_waits_for_it(
    fleet: Make, environment: Environment, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.PATIENCE", 0.3)
    environment.add("two", WITNESS)
    with engine.connect() as connection:
        show_alive(connection, 999)
        connection.exec_driver_sql(
            "UPDATE tenantkit.tenants SET status = 'maintenance', claim = 'run 999' WHERE key = 'k0'"
        )
        connection.commit()
        with pytest.raises(MigrationError, match="k0: another run keeps it in maintenance. Run the same command again"):
            migrate(fleet(), maintenance=True, jobs=2)
        assert states(engine) == {**ACTIVE, "k0": ("maintenance", "run 999")}
        assert revisions(engine) == ["one"]
        connection.detach()
    migrate(fleet(), maintenance=True, jobs=2)  # because the other run is dead
    assert seen(engine) == dict.fromkeys(KEYS, "maintenance")
    assert states(engine) == ACTIVE


def test_after_a_kill_at_any_moment_the_next_run_ends_maintenance(
    fleet: Make, environment: Environment, engine: Engine, database: URL, all_cases: bool
) -> None:
    environment.add("two", TWO, 'op.drop_column("a", "y", schema="tenant")')
    environment.add("three", 'op.execute("SELECT pg_sleep(0.03)")')
    for _ in range(6 if all_cases else 2):
        with running(database, environment, key=random.choice(KEYS), engine=engine, options="jobs=2"):
            sleep(random.uniform(0, 0.2))
        until(lambda: alone(engine))
        downgrade(fleet(), "one", maintenance=True)
        assert states(engine) == ACTIVE
        assert {key: revisions(engine, key) for key in KEYS} == {key: ["one"] for key in KEYS}


def test_the_end_of_a_run_is_seen_at_once(fleet: Make, engine: Engine) -> None:
    tenancy = fleet()
    target = MigrationTarget(placement=Placement("main", "t_k0"))
    task = Task(key="k0", target=target, command="migrate", revision="head", tenant_id=tenancy.get("k0").id)
    alive = text(f"SELECT NOT pg_try_advisory_xact_lock({RUN})")

    def is_alive(run_id: int) -> bool:
        with engine.begin() as connection:
            return bool(connection.execute(alive, {"run": run_id}).scalar_one())

    for run_id in range(7000, 7030):
        writer = _StatusWriter(tenancy, run_id, Cancellation())
        writer.do(task, maintenance.enter)
        assert is_alive(run_id)
        writer.close()
        assert not is_alive(run_id)
    assert states(engine)["k0"] == ("maintenance", "run 7000")
