"""Creation of a fleet in bulk, with the result of `tenantkit create` and a first migration."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from sqlalchemy import URL

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.models import create_statements, table_name
from benchmarks.fleet.replay import replay
from benchmarks.fleet.revisions import BASE
from benchmarks.server import set_fsync
from tenantkit.isolation.schemas import mark_of
from tenantkit.naming import schema_name
from tenantkit.postgres.quoting import quote_identifier, quote_literal

ROWS = 20
"""Rows of each tenant's tables, with the ids from 1 to this."""

_BUILDERS = 4
_AT_ONCE = 200
"""Number of tenants after which connections are replaced, because a backend caches every table."""


def create_database(server: URL, name: str) -> URL:
    """Create a database on *server*, and return its URL."""
    dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {quote_identifier(name)}")
    return server.set(database=name)


def fill(dsn: str, schema: str, tables: int, rows: int) -> None:
    """Insert *rows* rows into each table of one tenant, which refer to those of the table before."""
    with psycopg.connect(dsn) as connection:
        for number in range(tables):
            parent = ", parent_id" if number else ""
            connection.execute(
                f"INSERT INTO {schema}.{table_name(number)} (name{parent}) "
                f"SELECT repeat('a row with a long name ', 4) || n{', n' if parent else ''} "
                f"FROM generate_series(1, {rows}) AS n".encode()
            )


def build(fleet: Fleet) -> None:
    """Create every tenant of *fleet*, at the base revision, in a new database."""
    names = ", ".join(f"({quote_literal(key)}, {quote_literal(schema_name(key))})" for key in fleet.keys)
    tenancy = fleet.tenancy(listen=False)
    tenancy.install()
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tenantkit.tenants (key, name, status, schema) "
            f"SELECT key, 'Tenant ' || key, 'active', schema FROM (VALUES {names}) AS new (key, schema)"
        )
    marks = {tenant.schema: mark_of(tenant) for tenant in tenancy.list()}
    tenancy.close()
    body = _tables_and_rows(fleet.tables)
    with _without_waiting_for_the_disk(fleet):
        for start in range(0, len(fleet.schemas), _AT_ONCE):
            replay(
                fleet.dsn,
                lambda schema: (
                    f"BEGIN; CREATE SCHEMA {quote_identifier(schema)}; "
                    f"SET LOCAL search_path = {quote_identifier(schema)}; "
                    f"COMMENT ON SCHEMA {quote_identifier(schema)} IS {quote_literal(marks[schema])}; {body}; COMMIT"
                ),
                fleet.schemas[start : start + _AT_ONCE],
                connections=_BUILDERS,
            )
        _vacuum(fleet)


def settle(fleet: Fleet) -> None:
    """Run a checkpoint on the server, and collect garbage here, so that the next measurement does not include them."""
    gc.collect()
    with psycopg.connect(fleet.dsn, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def _tables_and_rows(tables: int) -> str:
    filling = [
        f"INSERT INTO {table_name(number)} (name{', parent_id' if number else ''}) "
        f"SELECT 'row ' || n{', n' if number else ''} FROM generate_series(1, {ROWS}) AS n"
        for number in range(tables)
    ]
    version = [
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)",
        f"INSERT INTO alembic_version VALUES ({quote_literal(BASE)})",
    ]
    return ";\n".join([*create_statements(tables), *filling, *version])


@contextmanager
def _without_waiting_for_the_disk(fleet: Fleet) -> Generator[None]:
    """Build without fsync, which only matters if the machine fails; then write all to disk, and turn it on again."""
    set_fsync(fleet.dsn, on=False)
    yield
    settle(fleet)
    os.sync()
    set_fsync(fleet.dsn, on=True)


def _vacuum(fleet: Fleet) -> None:
    """Vacuum the catalog, as a server has done for a fleet that has grown over months."""
    with psycopg.connect(fleet.dsn, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace AND NOT relisshared"
        ).fetchone()
        assert tables is not None
        connection.execute(f"VACUUM (ANALYZE) {tables[0]}, tenantkit.tenants".encode())
