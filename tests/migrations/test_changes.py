"""Operations for large tables: their locks, their state after a kill, and refusals."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, MetaData, NullPool, create_engine, event, make_url

from tenantkit import Tenancy
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations import init, migrate
from tests.migrations.environments import Environment
from tests.migrations.plain import operating
from tests.migrations.shapes import rows, shape
from tests.support.processes import until

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.processes", "tests.migrations.test_changes"])

_LOCKS = """
    SELECT mode FROM pg_locks WHERE pid = %s AND relation = to_regclass(%s) AND granted
"""


@pytest.fixture
def plain(empty_database: URL) -> Generator[Engine]:
    """A database with a table and its rows, for Alembic without tenantkit."""
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE parent (id int PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE t (id int PRIMARY KEY, x int, p int)")
        connection.exec_driver_sql("INSERT INTO parent SELECT generate_series(1, 10)")
        connection.exec_driver_sql("INSERT INTO t SELECT n, NULL, 1 + n %% 10 FROM generate_series(1, 1000) n")
    yield engine
    engine.dispose()


@contextmanager
def watching(connection: Connection, observer: Connection, *tables: str) -> Generator[list[tuple[str, set[str]]]]:
    """Record, after each statement, the locks of its transaction on any of *tables*."""
    pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    seen: list[tuple[str, set[str]]] = []

    def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        held = {
            f"{table} {mode.removesuffix('Lock')}"
            for table in tables
            for mode in observer.exec_driver_sql(_LOCKS, (pid, table)).scalars()
        }
        seen.append((statement.strip(), held))

    event.listen(connection, "after_cursor_execute", look)
    yield seen
    event.remove(connection, "after_cursor_execute", look)


def held(seen: list[tuple[str, set[str]]], statement: str) -> list[set[str]]:
    return [locks for sent, locks in seen if statement in sent]


def test_each_step_takes_only_the_necessary_locks(plain: Engine) -> None:
    with plain.connect() as observer, operating(plain) as op:
        with watching(op.get_bind(), observer, "t", "parent") as seen:
            column = sa.Column("y", sa.Integer, nullable=False)
            op.add_required_column("t", column, sa.column("id") + 1, batch_size=100)
            op.create_foreign_key_concurrently("fk", "t", "parent", ["p"], ["id"])
        observer.rollback()

    batches = [locks for sent, locks in seen if sent.startswith("UPDATE t SET")]
    assert len(batches) == 10
    assert all(locks <= {"t RowShare", "t RowExclusive", "t AccessShare"} for locks in batches)
    check, key = held(seen, "VALIDATE CONSTRAINT")
    assert check == {"t ShareUpdateExclusive"}
    assert key == {"t ShareUpdateExclusive", "t AccessShare", "parent RowShare", "parent AccessShare"}
    [added] = held(seen, "FOREIGN KEY")
    assert "AccessExclusive" not in " ".join(added)
    # A strong lock has a transaction of its own, without other work and without reading rows.
    strong = [sent for sent, locks in seen if "t AccessExclusive" in locks]
    assert [sent.split(" t ")[-1].split(" CHECK")[0] for sent in strong] == [
        "ADD COLUMN y INTEGER",
        "ADD CONSTRAINT required_y",
        "ALTER COLUMN y SET NOT NULL",
        "DROP CONSTRAINT required_y",
    ]
    # Each step is committed at once.
    assert [locks for sent, locks in seen if sent == "COMMIT"] == [set()] * len(held(seen, "COMMIT"))
    assert len(held(seen, "COMMIT")) == len(held(seen, "SET LOCAL lock_timeout = '2s'"))
    # Transactions that only read rows are rolled back.
    ends = len(held(seen, "COMMIT")) + len([sent for sent, _ in seen if sent == "ROLLBACK"])
    assert len([sent for sent, _ in seen if sent == "BEGIN"]) == ends


def test_not_null_is_set_without_a_second_scan(plain: Engine) -> None:
    notices: list[str] = []
    with operating(plain) as op:
        connection: Any = op.get_bind().connection.driver_connection
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        op.execute("SET SESSION client_min_messages = debug1")
        op.add_required_column("t", sa.Column("y", sa.Integer, nullable=False, server_default="3"))
    assert any("sufficient to prove" in notice for notice in notices)
    with plain.connect() as connection:
        assert connection.exec_driver_sql("SELECT DISTINCT y FROM t").scalars().all() == [3]


def test_a_statement_that_waits_for_a_lock_times_out(plain: Engine) -> None:
    with plain.connect() as other:
        other.exec_driver_sql("LOCK TABLE t IN SHARE MODE")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"), operating(plain) as op:
            op.add_required_column("t", sa.Column("y", sa.Integer, nullable=False), 1)
    with plain.connect() as connection:
        assert [column["name"] for column in sa.inspect(connection).get_columns("t")] == ["id", "x", "p"]


def test_an_invalid_index_is_built_again(plain: Engine) -> None:
    with plain.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t SELECT 5000 + id, 7, 1 FROM t LIMIT 2")
    with pytest.raises(sa.exc.IntegrityError), operating(plain) as op:
        op.create_index_concurrently("ix", "t", ["x"], unique=True)
    with plain.begin() as connection:
        query = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass"
        assert connection.exec_driver_sql(query).scalar() is False
        connection.exec_driver_sql("DELETE FROM t WHERE id = 5001")
    with operating(plain) as op:
        op.create_index_concurrently("ix", "t", ["x"], unique=True)
    with plain.connect() as connection:
        assert connection.exec_driver_sql(query).scalar() is True
        oid = connection.exec_driver_sql("SELECT 'ix'::regclass::oid").scalar()
    with operating(plain) as op:
        op.create_index_concurrently("ix", "t", ["x"], unique=True)
    with plain.connect() as connection:
        assert connection.exec_driver_sql("SELECT 'ix'::regclass::oid").scalar() == oid


def test_an_existing_constraint_is_only_validated(plain: Engine) -> None:
    with operating(plain) as op:
        op.create_check_constraint("ck", "t", "p > 0", postgresql_not_valid=True)
    with operating(plain) as op:
        op.create_check_constraint_concurrently("ck", "t", "p > 0")
        op.create_check_constraint_concurrently("ck", "t", "p > 0")
    with plain.connect() as connection:
        assert connection.exec_driver_sql("SELECT convalidated FROM pg_constraint WHERE conname = 'ck'").scalar()


@pytest.mark.parametrize(
    "column",
    [
        sa.Column("y", sa.Integer, sa.ForeignKey("parent.id"), nullable=False),
        sa.Column("y", sa.Integer, unique=True, nullable=False),
        sa.Column("y", sa.Integer, index=True, nullable=False),
        sa.Column("y", sa.Integer, sa.Identity(), nullable=False),
        sa.Column("y", sa.Integer, sa.Computed("x"), nullable=False),
    ],
)
def test_a_column_with_unsupported_properties_is_refused(plain: Engine, column: sa.Column[Any]) -> None:
    with pytest.raises(ConfigurationError, match="with its type, default and comment only"), operating(plain) as op:
        op.add_required_column("t", column, 1)


def test_a_required_column_needs_a_value(plain: Engine) -> None:
    with pytest.raises(ConfigurationError, match="need a value for y"), operating(plain) as op:
        op.add_required_column("t", sa.Column("y", sa.Integer, nullable=False))


def test_reversed_operations_undo_them(plain: Engine) -> None:
    from tenantkit.migrations.operations import columns, constraints, indexes

    with plain.begin() as connection:
        before = shape(connection, "public")
    options = {"schema": None}
    made = [
        columns.AddRequiredColumnOp("t", sa.Column("y", sa.Integer), 1, batch_size=10, pause=0, **options),
        constraints.CreateCheckConstraintConcurrentlyOp("ck", "t", condition="y = 1", **options),
        indexes.CreateIndexConcurrentlyOp("ix", "t", ["y"], **options),
    ]
    for operation in made:
        with operating(plain) as op:
            op.invoke(operation)
    for operation in reversed(made):
        with operating(plain) as op:
            op.invoke(operation.reverse())
    with plain.begin() as connection:
        assert shape(connection, "public") == before


def tenancy_of(url: URL, folder: Path) -> Tenancy:
    return Tenancy(url, tenant=MetaData(schema="tenant"), migrations=folder, listen=False)


def run(url: str, folder: Path) -> None:
    with closing(tenancy_of(make_url(url), folder)) as tenancy:
        migrate(tenancy, tenants=["victim"], jobs=0)


@pytest.mark.all_cases
def test_a_backfill_that_is_killed_is_finished_by_the_next_run(empty_database: URL, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    init(folder)
    environment = Environment(folder)
    environment.add("r1", 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), schema="tenant")')
    with closing(tenancy_of(empty_database, folder)) as tenancy:
        tenancy.install()
        tenancy.create("calm")
        tenancy.create("victim")
    environment.add(
        "r2",
        """
        column = sa.Column("x", sa.Integer, nullable=False)
        op.add_required_column("t", column, sa.column("id") * 2, schema="tenant", batch_size=50, pause=0.02)
        op.create_index_concurrently("ix", "t", ["x"], schema="tenant")
        """,
    )
    engine = create_engine(empty_database, poolclass=NullPool)
    with engine.begin() as connection:
        for schema in ("t_calm", "t_victim"):
            connection.exec_driver_sql(f"INSERT INTO {schema}.t SELECT generate_series(1, 3000)")
    with closing(tenancy_of(empty_database, folder)) as tenancy:
        migrate(tenancy, tenants=["calm"], jobs=0)

    def done() -> int:
        with engine.connect() as connection:
            if len(sa.inspect(connection).get_columns("t", schema="t_victim")) == 1:
                return 0
            return int(connection.exec_driver_sql("SELECT count(x) FROM t_victim.t").scalar_one())

    url = empty_database.render_as_string(hide_password=False)
    for least in (1, 300, 600, 900):
        process = _context.Process(target=run, args=(url, folder))
        process.start()
        until(lambda least=least: done() >= least)  # more than a second of work remains
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert least <= done() < 3000
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT version_num FROM t_victim.alembic_version").scalar() == "r1"

    with closing(tenancy_of(empty_database, folder)) as tenancy:
        migrate(tenancy, tenants=["victim"], jobs=0)
    with engine.begin() as connection:
        assert shape(connection, "t_victim") == shape(connection, "t_calm")
        assert rows(connection, "t_victim") == rows(connection, "t_calm")


def test_rows_inserted_while_a_required_column_is_added_have_a_value(plain: Engine) -> None:
    stop: list[bool] = []

    def write() -> None:
        number = 10_000
        with plain.connect() as connection:
            while not stop:
                number += 1
                connection.exec_driver_sql("INSERT INTO t (id) VALUES (%s)", (number,))
                connection.exec_driver_sql("UPDATE t SET p = p + 1 WHERE id = %s", (number % 1000,))
                connection.commit()
                sleep(0.001)

    writer = Thread(target=write)
    writer.start()
    try:
        with operating(plain) as op:
            column = sa.Column("y", sa.Integer, server_default="0", nullable=False)
            op.add_required_column("t", column, sa.column("id"), batch_size=50, pause=0.005)
    finally:
        stop.append(True)
        writer.join()
    with plain.connect() as connection:
        counts = "SELECT count(*) FILTER (WHERE y IS NULL), count(*) FILTER (WHERE y = id AND id <= 1000) FROM t"
        assert connection.exec_driver_sql(counts).one() == (0, 1000)
