"""A fleet's migration: parallel, one transaction for each tenant, with a correct report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, text

from tenantkit import (
    ConfigurationError,
    MigrationError,
    ProvisioningError,
    Tenancy,
    TenantExistsError,
    TenantNotFoundError,
)
from tenantkit.isolation.target import MigrationTarget
from tenantkit.lifecycle.tenant_lock import tenant_lock
from tenantkit.migrations import Progress, downgrade, migrate, stamp, status
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.runs import migrator
from tenantkit.migrations.tasks.connections import limit_jobs, read_room
from tenantkit.migrations.tasks.queue import run_tasks
from tenantkit.migrations.tasks.task import Task
from tenantkit.tenant import Placement
from tests.migrations.environments import Environment
from tests.support.processes import until

ONE = 'op.create_table("a", sa.Column("x", sa.Integer), schema="tenant")'
TWO = 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")'
THREE = 'op.create_index("ix", "a", ["y"], schema="tenant")'

Make = Callable[..., Tenancy]


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(ONE, tuple(f"k{number}" for number in range(6)))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Make:
    """Make tenancies of a fleet of six tenants at revision one; the head is two."""
    environment.add("one", ONE, 'op.drop_table("a", schema="tenant")')
    environment.add("two", TWO, 'op.drop_column("a", "y", schema="tenant")')
    return migrated_tenancy


def columns(engine: Engine) -> dict[str, list[str]]:
    """Return the columns of table a in each schema that has it."""
    query = (
        "SELECT table_schema, array_agg(column_name::text ORDER BY column_name::text) AS names FROM information_schema.columns "
        "WHERE table_name = 'a' GROUP BY 1 ORDER BY 1"
    )
    with engine.connect() as connection:
        return {row.table_schema: row.names for row in connection.execute(text(query))}


def revisions(engine: Engine, key: str = "k0") -> list[str]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(f"SELECT version_num FROM t_{key}.alembic_version").scalars())


def everywhere(*names: str) -> dict[str, list[str]]:
    return {f"t_k{number}": list(names) for number in range(6)}


class Witness(Progress):
    """Records the progress of a run."""

    def __init__(self) -> None:
        self.total = -1
        self.keys: list[str] = []

    def started(self, total: int) -> None:
        self.total = total

    def finished(self, outcome: Outcome) -> None:
        self.keys.append(outcome.key)


@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_every_tenant_is_migrated_and_reported(fleet: Make, engine: Engine, jobs: int) -> None:
    witness = Witness()
    report = migrate(fleet(), jobs=jobs, progress=witness)
    assert columns(engine) == everywhere("x", "y")
    assert {(o.key, o.from_revision, o.to_revision) for o in report.migrated} == {
        (f"k{n}", "one", "two") for n in range(6)
    }
    assert witness.total == 6
    assert sorted(witness.keys) == [f"k{n}" for n in range(6)]
    with engine.connect() as connection:
        ledger = connection.exec_driver_sql(
            "SELECT key, o.status, from_revision, to_revision "
            "FROM tenantkit.outcomes o JOIN tenantkit.tenants ON id = tenant_id"
        ).all()
        assert sorted(ledger) == [(f"k{n}", "done", "one", "two") for n in range(6)]
        assert connection.exec_driver_sql("SELECT count(*) FROM tenantkit.runs WHERE finished_at IS NULL").scalar() == 0


def test_a_second_run_finds_nothing_to_do(fleet: Make) -> None:
    migrate(fleet(), jobs=2)
    report = migrate(fleet(), jobs=2)
    assert (report.outcomes, report.unchanged) == ((), 6)


def test_one_failure_neither_stops_the_rest_nor_hides(fleet: Make, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE t_k3.a ADD COLUMN y text")
    with pytest.raises(
        MigrationError, match="5 migrated, 0 unchanged, 1 failed; the first: k3: DuplicateColumn"
    ) as caught:
        migrate(fleet(), jobs=2)
    (failure,) = caught.value.report.failures
    assert (failure.key, failure.sqlstate, failure.from_revision, failure.to_revision) == ("k3", "42701", "one", "one")
    assert columns(engine) == everywhere("x", "y")
    assert revisions(engine, "k3") == ["one"]
    assert revisions(engine, "k4") == ["two"]
    found = status(fleet())
    assert [(p.key, p.state) for p in found.behind] == [("k3", "behind")]
    assert [p.error for p in found.failed] == [failure.reason]
    assert found.counts == {"two": 5, "one": 1}

    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE t_k3.a DROP COLUMN y")
    report = migrate(fleet(), jobs=2)
    assert [o.key for o in report.migrated] == ["k3"]
    assert report.unchanged == 5
    assert status(fleet()).is_current
    assert not status(fleet()).failed


def test_a_revision_that_raises_is_rolled_back_completely(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("three", THREE + '\nop.execute("INSERT INTO a VALUES (1, 2)")\nraise RuntimeError("half way")')
    with pytest.raises(MigrationError, match="RuntimeError: half way"):
        migrate(fleet(), jobs=2)
    # All missing revisions are one transaction: two was not committed before three.
    assert columns(engine) == everywhere("x")
    assert revisions(engine) == ["one"]


@pytest.mark.usefixtures("new_workers")
def test_a_worker_that_dies_fails_one_tenant(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add(
        "three",
        THREE
        + '\nimport os\nif op.get_bind().exec_driver_sql("SELECT current_schema()").scalar() == "t_k2": os.kill(os.getpid(), 9)',
    )
    with pytest.raises(
        MigrationError, match=r"5 migrated, 0 unchanged, 1 failed; the first: k2: .*exit code -9.*revision three"
    ) as caught:
        migrate(fleet(), jobs=2)
    assert [o.key for o in caught.value.report.failures] == ["k2"]
    assert revisions(engine, "k2") == ["one"]
    assert {key: revisions(engine, key) for key in ("k0", "k5")} == {"k0": ["three"], "k5": ["three"]}


@pytest.mark.all_cases
@pytest.mark.usefixtures("new_workers")
def test_a_killed_worker_leaves_its_tenant_as_it_was(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add(
        "three",
        'import os, signal\nop.execute("CREATE TABLE half ()")\n'
        'if op.get_bind().exec_driver_sql("SELECT current_schema()").scalar() == "t_k1":\n'
        "    os.kill(os.getpid(), signal.SIGKILL)",
    )
    with pytest.raises(MigrationError, match=f"exit code {-signal.SIGKILL}"):
        migrate(fleet(), jobs=2)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('t_k1.half')").scalar() is None
        assert connection.exec_driver_sql("SELECT to_regclass('t_k0.half')").scalar() is not None


def test_a_killed_run_is_resumed_by_the_next(
    fleet: Make, environment: Environment, engine: Engine, database: Any
) -> None:
    environment.add("three", THREE + '\nop.execute("SELECT pg_sleep(0.2)")')
    script = (
        "import sys, json; from tenantkit import Tenancy; from tenantkit.migrations import Progress, migrate\n"
        "from tests.support.models import APPLICATION\n"
        "class P(Progress):\n"
        "    def finished(self, outcome): print(outcome.key, flush=True)\n"
        "url, folder = json.load(sys.stdin)\n"
        "migrate(Tenancy(url, migrations=folder, listen=False, **APPLICATION), jobs=2, progress=P())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdin
    assert process.stdout
    with process:
        process.stdin.write(json.dumps([database.render_as_string(hide_password=False), str(environment.folder)]))
        process.stdin.close()
        first = process.stdout.readline().strip()
        process.kill()
    assert revisions(engine, first) == ["three"]
    report = migrate(fleet(), jobs=2)
    assert first not in {outcome.key for outcome in report.outcomes}
    assert status(fleet()).is_current
    assert columns(engine) == everywhere("x", "y")


def test_two_runs_at_once_migrate_nothing_twice(fleet: Make, environment: Environment, engine: Engine) -> None:
    from concurrent.futures import ThreadPoolExecutor

    environment.add("three", 'op.execute("INSERT INTO a VALUES (1, 1)")\nop.execute("SELECT pg_sleep(0.05)")')
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda tenancy: migrate(tenancy, jobs=2), [fleet(), fleet()]))
    assert {o.key for report in reports for o in report.migrated} == {f"k{n}" for n in range(6)}
    with engine.connect() as connection:
        counts = [connection.exec_driver_sql(f"SELECT count(*) FROM t_k{n}.a").scalar() for n in range(6)]
    assert counts == [1] * 6


def test_a_suspended_tenant_is_migrated_too(fleet: Make, engine: Engine) -> None:
    tenancy = fleet()
    tenancy.suspend("k1")
    tenancy.start_maintenance("k2")
    migrate(tenancy, jobs=2)
    assert columns(engine) == everywhere("x", "y")


def test_only_the_chosen_tenants_are_migrated(fleet: Make, engine: Engine) -> None:
    report = migrate(fleet(), tenants=["k1", "k4"], jobs=2)
    assert sorted(o.key for o in report.migrated) == ["k1", "k4"]
    assert columns(engine) == {**everywhere("x"), "t_k1": ["x", "y"], "t_k4": ["x", "y"]}
    with pytest.raises(TenantNotFoundError, match="'nobody'"):
        migrate(fleet(), tenants=["k1", "nobody"])


def test_a_downgrade_is_followed_by_a_migration(fleet: Make, engine: Engine) -> None:
    migrate(fleet(), jobs=2)
    report = downgrade(fleet(), "-1", jobs=2)
    assert {(o.from_revision, o.to_revision) for o in report.migrated} == {("two", "one")}
    assert columns(engine) == everywhere("x")
    downgrade(fleet(), "base", jobs=2)
    assert columns(engine) == {}
    assert status(fleet()).counts == {None: 6}
    migrate(fleet(), "+1", jobs=2)
    assert columns(engine) == everywhere("x")


def test_stamp_records_the_revision_and_runs_nothing(fleet: Make, engine: Engine) -> None:
    report = stamp(fleet(), "two", jobs=1)
    assert len(report.migrated) == 6
    assert revisions(engine) == ["two"]
    assert columns(engine) == everywhere("x")
    assert stamp(fleet(), "head", jobs=1).unchanged == 6
    stamp(fleet(), "base", tenants=["k0"], jobs=1)
    assert revisions(engine) == []


def test_a_tenant_at_a_revision_of_newer_code_is_named_and_unchanged(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("three", THREE)
    migrate(fleet(), tenants=["k0"], jobs=1)
    environment.remove("three")
    with pytest.raises(MigrationError, match="newer than this checkout") as caught:
        migrate(fleet(), jobs=1)
    assert [o.key for o in caught.value.report.failures] == ["k0"]
    assert revisions(engine) == ["three"]
    assert revisions(engine, "k1") == ["two"]
    assert [(p.key, p.state) for p in status(fleet()).behind] == [("k0", "unknown")]


def test_two_heads_are_refused_before_anything_runs(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("three", THREE, after="two")
    environment.add("other", 'op.create_index("ix2", "a", ["x"], schema="tenant")', after="two")
    with pytest.raises(ConfigurationError, match="alembic -n tenant merge heads"):
        migrate(fleet())
    assert columns(engine) == everywhere("x")
    report = migrate(fleet(), "heads", jobs=2)
    assert {o.to_revision for o in report.migrated} == {"other,three"}
    assert status(fleet()).is_current


def test_an_unknown_target_is_refused(fleet: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"'nonsense'.*mistyped"):
        migrate(fleet(), "nonsense")


def test_a_side_without_revisions_is_refused(environment: Environment, migrated_tenancy: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"no revisions in .*tenantkit revision"):
        migrate(migrated_tenancy())


def test_a_broken_revision_is_named(environment: Environment, migrated_tenancy: Make) -> None:
    (environment.folder / "tenant" / "broken.py").write_text(
        "revision = 'x'\ndown_revision = None\nimport nothing_such"
    )
    with pytest.raises(ConfigurationError, match="nothing_such"):
        migrate(migrated_tenancy())


def test_a_missing_environment_is_named(make_tenancy: Make, tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"env.py is missing"):
        migrate(make_tenancy(migrations=tmp_path))
    with pytest.raises(ConfigurationError, match="pass Tenancy"):
        migrate(make_tenancy())


def test_a_tenant_without_its_schema_fails_alone(fleet: Make, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA t_k5 CASCADE")
    with pytest.raises(MigrationError, match="k5: the schema 't_k5' does not exist"):
        migrate(fleet(), jobs=2)
    assert columns(engine) == {f"t_k{n}": ["x", "y"] for n in range(5)}
    assert [(p.key, p.state) for p in status(fleet()).behind] == [("k5", "missing")]


@pytest.mark.usefixtures("new_workers")
def test_a_worker_that_cannot_start_is_an_error_at_once(fleet: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigurationError, match=r"could not start \(exit code 1\)"):
        migrate(fleet(), jobs=2, engine="alembic")


def test_options_that_workers_cannot_get_are_an_error_at_once(fleet: Make) -> None:
    with pytest.raises(ConfigurationError, match="jobs=0"):
        migrate(fleet(engine_options={"json_serializer": lambda value: value}), jobs=2)


@pytest.mark.usefixtures("new_workers")
def test_the_output_of_a_revision_is_not_on_stdout(fleet: Make, environment: Environment, capfd: Any) -> None:
    environment.add("three", 'print("hello from a revision")')
    migrate(fleet(), jobs=1)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "hello from a revision" in captured.err


@pytest.mark.usefixtures("new_workers")
def test_a_worker_excludes_modules_from_garbage_collection(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add(
        "three",
        "import gc\nratio = gc.get_freeze_count() / len(gc.get_objects())\n"
        'op.execute(f"CREATE TABLE collector AS SELECT {ratio} AS ratio, {gc.isenabled()} AS is_on")',
    )
    migrate(fleet(), tenants=["k0", "k1", "k2"], engine="alembic", jobs=1)
    with engine.connect() as connection:
        ratio, is_on = connection.exec_driver_sql("SELECT * FROM t_k2.collector").one()
    assert ratio > 2
    assert is_on


def test_shared_tables_come_first_and_stop_everything_if_they_fail(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add(
        "s1", 'op.create_table("plan", sa.Column("id", sa.Integer, primary_key=True), schema="shared")', line="shared"
    )
    environment.add(
        "three", 'op.add_column("a", sa.Column("plan", sa.Integer, sa.ForeignKey("shared.plan.id")), schema="tenant")'
    )
    report = migrate(fleet(), jobs=3)
    assert report.shared is not None
    assert report.shared.to_revision == "s1"
    assert len(report.migrated) == 6
    environment.add("s2", 'op.execute("SELECT 1/0")', line="shared")
    environment.add("four", 'op.drop_column("a", "plan", schema="tenant")')
    with pytest.raises(MigrationError, match="DivisionByZero"):
        migrate(fleet())
    assert revisions(engine) == ["three"]
    assert not status(fleet()).shared_is_current


def test_keys_to_a_shared_table_do_not_deadlock_parallel_tenants(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE shared.p (id int PRIMARY KEY); CREATE TABLE shared.q (id int PRIMARY KEY)"
        )
    environment.add(
        "three",
        """
        names = ["p", "q"]
        if op.get_bind().exec_driver_sql("SELECT current_schema()").scalar()[-1] in "024":
            names.reverse()
        for name in names:
            op.add_column("a", sa.Column(name, sa.Integer, sa.ForeignKey(f"shared.{name}.id")), schema="tenant")
            op.execute("SELECT pg_sleep(0.05)")
        """,
    )
    migrate(fleet(), jobs=4)
    assert {tuple(sorted(names)) for names in columns(engine).values()} == {("p", "q", "x", "y")}


def test_a_concurrent_index_is_built_outside_of_the_transaction(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add(
        "three",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix", "a", ["x"], schema="tenant", postgresql_concurrently=True)
            op.execute("CREATE INDEX CONCURRENTLY iy ON a (y)")
        op.execute("CREATE TABLE behind_the_block ()")
        """,
    )
    migrate(fleet(), jobs=2)
    query = "SELECT schemaname, count(*) AS indexes FROM pg_indexes WHERE indexname IN ('ix', 'iy') GROUP BY 1"
    with engine.connect() as connection:
        counts = {row.schemaname: row.indexes for row in connection.exec_driver_sql(query)}
        assert counts == dict.fromkeys(everywhere(), 2)
        assert connection.exec_driver_sql("SELECT to_regclass('t_k5.behind_the_block')").scalar() is not None


def test_a_broken_connection_is_that_tenants_failure(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add(
        "three",
        'if op.get_bind().exec_driver_sql("SELECT current_schema()").scalar() == "t_k1":\n'
        '    op.execute("SELECT pg_terminate_backend(pg_backend_pid())")',
    )
    with pytest.raises(MigrationError, match="5 migrated, 0 unchanged, 1 failed; the first: k1") as caught:
        migrate(fleet(), jobs=1)
    assert [o.key for o in caught.value.report.failures] == ["k1"]
    assert revisions(engine, "k1") == ["one"]


def test_a_connection_is_replaced_after_a_number_of_tenants(
    environment: Environment, migrated_tenancy: Make, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    for number in range(12):
        tenancy.create(f"k{number}")
    environment.add("two", 'op.execute("CREATE TABLE pid AS SELECT pg_backend_pid() AS pid")')
    monkeypatch.setattr(migrator, "PLACEMENTS_PER_CONNECTION", 5)
    monkeypatch.setattr(migrator, "RELATIONS_PER_CONNECTION", 7)
    migrate(migrated_tenancy(), jobs=1)
    query = " UNION ALL ".join(f"SELECT pid FROM t_k{number}.pid" for number in range(12))
    with engine.connect() as connection:
        pids = list(connection.exec_driver_sql(query).scalars())
    assert sorted(pids.count(pid) for pid in set(pids)) == [5, 7]  # two were rehearsed on one of them


def test_tables_without_any_schema_are_migrated_too(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE.replace('"tenant"', "None"))
    tenant = MetaData()
    Table("a", tenant, Column("x", Integer, primary_key=True))
    migrated_tenancy(tenant=tenant, placeholder=None).create("k0")
    environment.add(
        "two", TWO.replace('"tenant"', "None") + '\nop.execute(sa.table("a", sa.column("y")).insert().values(y=1))'
    )
    migrate(migrated_tenancy(tenant=tenant, placeholder=None), jobs=1)
    assert columns(engine) == {"t_k0": ["x", "y"]}
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT y FROM t_k0.a").scalar() == 1


def test_a_tenant_is_created_with_a_value_that_a_later_revision_adds_to_an_enum(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    # Before PostgreSQL 17 this cannot be one transaction; the next creation finishes one that died in between.
    environment.add("one", "op.execute(\"CREATE TYPE mood AS ENUM ('a'); CREATE TABLE m (x mood)\")")
    environment.add(
        "two",
        "with op.get_context().autocommit_block():\n    op.execute(\"ALTER TYPE mood ADD VALUE IF NOT EXISTS 'b'\")\n"
        "op.execute(\"INSERT INTO m VALUES ('b')\")",
    )
    tenancy = migrated_tenancy()

    def fail(_session: object) -> None:
        message = "not yet"
        raise RuntimeError(message)

    with pytest.raises(ProvisioningError, match="seeding failed"):
        tenancy.create("acme", seed=fail)
    assert tenancy.diagnose()[0].subject == "acme"
    tenancy.create("acme")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT x::text FROM t_acme.m").scalars().all() == ["b"]
        held = (
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        )
        assert connection.exec_driver_sql(held).scalar() == 0
    assert revisions(engine, "acme") == ["two"]


def test_a_creation_in_steps_is_left_to_the_process_that_runs_it(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tenantkit.tenants (key, name, status, schema, claim) VALUES ('acme', 'a', 'provisioning', 't_acme', 'x')"
        )
        number = connection.exec_driver_sql("SELECT id FROM tenantkit.tenants").scalar_one()
    with engine.connect() as connection, tenant_lock(connection, number):
        assert tenancy.repair() == []
        with pytest.raises(TenantExistsError):
            tenancy.create("acme")
    assert tenancy.create("acme").id == number


def test_a_runs_own_connection_does_not_count_as_in_use(engine: Engine) -> None:
    free = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0) - count(*) FILTER (WHERE pid <> pg_backend_pid())
    FROM pg_stat_activity WHERE backend_type = 'client backend'
    """
    with engine.begin() as connection:  # the transaction reads the same sessions until its end
        left: int = connection.exec_driver_sql(free).scalar_one()
        room = read_room(connection)
        assert limit_jobs(room, jobs=None, max_connections=None, others=1) == left - 3
        assert limit_jobs(room, jobs=left - 3, max_connections=None, others=1) == left - 3
        with pytest.raises(
            ConfigurationError, match=rf"of the server's \d+ only {left} are free. Use at most {left - 3}"
        ):
            limit_jobs(room, jobs=left - 2, max_connections=None, others=1)


def test_a_run_takes_no_more_connections_than_it_may(fleet: Make, engine: Engine, environment: Environment) -> None:
    environment.add(
        "three", 'op.execute("CREATE TABLE seen AS SELECT 1 AS x")\nop.execute("SELECT pg_sleep(0.2)")', after="two"
    )
    tenancy = fleet()
    with pytest.raises(ConfigurationError, match=r"4 jobs need 6 connections, more than the 5 that it may take"):
        migrate(tenancy, jobs=4, max_connections=5)
    with pytest.raises(ConfigurationError, match=r"1 job needs 4 connections, more than the 3 that it may take"):
        migrate(tenancy, max_connections=3, maintenance=True)
    with pytest.raises(ConfigurationError, match=r"5000 jobs need 5002 connections, but of the server's \d+ only"):
        migrate(tenancy, jobs=5000)
    tenancy.close()
    assert revisions(engine) == ["one"]

    counts: list[int] = []
    done = Event()

    def watch() -> None:
        query = text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            before = set(connection.scalars(query))  # some connections are closed, but have not ended yet
            while not done.wait(0.01):
                counts.append(len(set(connection.scalars(query)) - before))

    watcher = Thread(target=watch)
    watcher.start()
    until(lambda: counts)
    migrate(fleet(), max_connections=4)
    done.set()
    watcher.join()
    assert revisions(engine, "k5") == ["three"]
    assert 2 <= max(counts) <= 4


class Exits:
    """Runs tasks in a thread of its own, in which code exits, for example after a print to a closed pipe."""

    def __call__(self, task: Task) -> Outcome:
        raise SystemExit(task.key)

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("executors", [1, 3])
def test_an_exit_in_a_thread_does_not_count_as_the_end_of_the_tasks(executors: int) -> None:
    tasks = [
        Task(
            key=f"k{number}",
            target=MigrationTarget(placement=Placement("main", "s")),
            command="migrate",
            revision="head",
        )
        for number in range(5)
    ]
    with pytest.raises(SystemExit):
        list(run_tasks(tasks, [Exits] * executors))
