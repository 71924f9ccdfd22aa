"""Time limits hold for all statements of a revision, and waits are reported."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, create_engine

from tenantkit import MigrationError, Tenancy
from tenantkit.migrations import Progress, Waiting, migrate
from tenantkit.migrations.runs.waiting import Watch
from tests.migrations.environments import Environment
from tests.migrations.plain import operating
from tests.support.processes import until

Make = Callable[..., Tenancy]

ONE = 'op.create_table("a", sa.Column("x", sa.Integer), schema="tenant")\nop.execute("INSERT INTO a VALUES (1)")'

BLOCK = "with op.get_context().autocommit_block():\n    "
STEPS = {
    "in a transaction": 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")',
    "outside of one": BLOCK + 'op.execute("ALTER TABLE a ADD COLUMN y int")',
    "outside, by an operation": BLOCK + 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")',
    "concurrent index": 'op.create_index_concurrently("ix", "a", ["x"], schema="tenant")',
    "concurrent index as text": BLOCK + 'op.execute("CREATE INDEX CONCURRENTLY ix ON a (x)")',
    "backfill": 'op.backfill("a", {"x": 2}, "x = 1", schema="tenant")',
    "required column": 'op.add_required_column("a", sa.Column("y", sa.Integer, nullable=False), 1, schema="tenant")',
    "check": 'op.create_check_constraint_concurrently("ck", "a", "x > 0", schema="tenant")',
}
LIKE_OTHERS = {"outside, by an operation", "concurrent index as text", "required column"}
"""Steps that others represent by default."""


class Told(Progress):
    """A progress object that records waits."""

    def __init__(self) -> None:
        self.waits: list[Waiting] = []

    def waiting(self, waiting: Waiting) -> None:
        self.waits.append(waiting)


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow one attempt for each tenant instead of eight, which take longer."""
    from tenantkit.postgres import retry

    monkeypatch.setattr(retry, "ATTEMPTS", 1)


@pytest.mark.some_values(step=5)
@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(step, id=name, marks=[pytest.mark.all_cases] * (name in LIKE_OTHERS))
        for name, step in STEPS.items()
    ],
)
def test_a_statement_waits_for_a_lock_up_to_the_limit(
    step: str, jobs: int, environment: Environment, migrated_tenancy: Make, engine: Engine, once: None
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    environment.add("two", step)
    told = Told()
    with engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'a report'")
        other.exec_driver_sql("SET idle_in_transaction_session_timeout = '30s'")  # ends a wait without a limit
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        other.exec_driver_sql("UPDATE t_acme.a SET x = x")
        with pytest.raises(MigrationError, match="lock timeout"):
            migrate(migrated_tenancy(), jobs=jobs, lock_timeout="1500ms", progress=told)
        other.rollback()
    assert {(wait.key, *(blocker.pid for blocker in wait.blockers)) for wait in told.waits} == {("acme", pid)}
    assert f"waits for process {pid} (a report, user " in str(told.waits[0])
    migrate(migrated_tenancy(), jobs=jobs)


@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize("step", ['op.execute("SELECT pg_sleep(60)")', BLOCK + 'op.execute("SELECT pg_sleep(60)")'])
def test_a_statement_runs_up_to_the_limit(
    step: str, jobs: int, environment: Environment, migrated_tenancy: Make
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    environment.add("two", step)
    with pytest.raises(MigrationError, match="statement timeout"):
        migrate(migrated_tenancy(), jobs=jobs, statement_timeout="300ms")


def test_limits_of_a_block_end_with_it(environment: Environment, migrated_tenancy: Make, engine: Engine) -> None:
    show = "op.execute(\"INSERT INTO seen VALUES (current_setting('lock_timeout'), current_setting('statement_timeout'))\")"
    environment.add("one", 'op.execute("CREATE TABLE seen (l text, s text)")')
    migrated_tenancy().create("acme")
    environment.add("two", f"{show}\n{BLOCK}{show}\n{show}")
    migrate(migrated_tenancy(), jobs=0, lock_timeout="7s", statement_timeout="9s")
    with engine.connect() as connection:
        seen = connection.exec_driver_sql("SELECT * FROM t_acme.seen").all()
    assert [tuple(row) for row in seen] == [("7s", "9s")] * 3


def test_limits_hold_in_each_step_of_a_long_change(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", 'op.execute("CREATE TABLE a (l text, s text); INSERT INTO a DEFAULT VALUES")')
    migrated_tenancy().create("acme")
    shown = ", ".join(
        f'"{name[0]}": sa.func.current_setting("{name}")' for name in ("lock_timeout", "statement_timeout")
    )
    environment.add("two", f'op.backfill("a", {{{shown}}}, "l IS NULL", schema="tenant")')
    migrate(migrated_tenancy(), jobs=0, lock_timeout="7s", statement_timeout="9s")
    with engine.connect() as connection:
        assert tuple(connection.exec_driver_sql("SELECT * FROM t_acme.a").one()) == ("7s", "9s")


def test_limits_hold_in_a_concurrent_build_and_end_with_it(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add(
        "one",
        'op.execute("CREATE TABLE a (x int); INSERT INTO a VALUES (1); "\n'
        '"CREATE FUNCTION shown(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "\n'
        "\"RAISE '% %', current_setting('lock_timeout'), current_setting('statement_timeout'); END $$\")",
    )
    migrated_tenancy().create("acme")
    environment.add("two", 'op.create_index_concurrently("ix", "a", [sa.text("shown(x)")], schema="tenant")')
    tenancy = migrated_tenancy()
    with pytest.raises(MigrationError, match="7s 9s"):
        migrate(tenancy, jobs=0, lock_timeout="7s", statement_timeout="9s")
    with tenancy.engine.connect() as connection, engine.connect() as other:
        show = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
        assert connection.exec_driver_sql(show).one() == other.exec_driver_sql(show).one()


def test_a_revision_may_let_a_concurrent_build_wait_longer(
    environment: Environment, migrated_tenancy: Make, engine: Engine, once: None
) -> None:
    environment.add("one", ONE)
    migrated_tenancy().create("acme")
    longer = BLOCK + "op.execute(\"SET lock_timeout = '1min'\")\n    "
    environment.add("two", longer + 'op.create_index_concurrently("ix", "a", ["x"], schema="tenant")')
    told = Told()
    with engine.connect() as other, ThreadPoolExecutor() as threads:
        other.exec_driver_sql("UPDATE t_acme.a SET x = x")
        done = threads.submit(migrate, migrated_tenancy(), jobs=0, lock_timeout="100ms", progress=told)
        try:
            until(lambda: bool(told.waits))
        finally:
            other.rollback()
        done.result()
    with engine.connect() as connection:
        assert connection.exec_driver_sql(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_acme.ix'::regclass"
        ).scalar()


@pytest.mark.all_cases
def test_outside_of_a_run_limits_hold_too(empty_database: Any) -> None:
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x int)")
    with engine.connect() as other:
        other.exec_driver_sql("SET idle_in_transaction_session_timeout = '30s'")
        other.exec_driver_sql("INSERT INTO t VALUES (1)")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"), operating(engine) as op:
            op.create_index_concurrently("ix", "t", ["x"])
    with operating(engine) as op:
        op.create_index_concurrently("ix", "t", ["x"])
        assert op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"
    engine.dispose()


def test_a_search_for_blockers_that_cannot_connect_is_not_waited_for() -> None:
    opening, released, opened = Event(), Event(), Event()

    def connect() -> None:
        opening.set()
        released.wait(60)
        opened.set()
        raise psycopg.OperationalError

    with Watch(create_engine("postgresql+psycopg://", creator=connect), {}, print).watching():
        assert opening.wait(60)
    assert not opened.is_set()
    released.set()
    until(lambda: all(thread.name != "tenantkit-waiting" for thread in enumerate_threads()))


def test_alembic_migrates_if_the_driver_prepares_every_statement(
    environment: Environment, migrated_tenancy: Make
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy(engine_options={"connect_args": {"prepare_threshold": 0}})
    for key in ("k0", "k1"):
        tenancy.create(key)
    environment.add("two", STEPS["in a transaction"], after="one")
    report = migrate(tenancy, engine="alembic", jobs=1, statement_timeout="1min")
    assert len(report.migrated) == 2
