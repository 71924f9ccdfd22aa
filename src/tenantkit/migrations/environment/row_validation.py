"""Validation of foreign keys of common tables: PostgreSQL reads the rows as their owner, to which policies apply."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, text

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.operations.constraints import ValidateConstraint

_TABLES = text(
    """
    SELECT format('%I.%I', nspname, relname) FROM pg_constraint
    JOIN pg_class ON pg_class.oid IN (conrelid, confrelid) AND relrowsecurity
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE contype = 'f' AND conname = :name AND connamespace = to_regnamespace(:schema)
        AND conrelid = to_regclass(format('%I.%I', CAST(:schema AS text), CAST(:table AS text)))
    """
)


@contextmanager
def validating(connection: Connection, target: MigrationTarget) -> Generator[None]:
    """Let ``VALIDATE CONSTRAINT`` read all rows of common tables, which no session uses yet, during a block.

    :raises ConfigurationError: from the statement, if they are in use: they would be locked for as long as it takes.
    """
    if target.column is None:
        yield
        return
    event.listen(connection, "before_execute", _before)
    event.listen(connection, "after_execute", _after)
    connection.info[_IN_USE] = not target.in_transaction
    try:
        yield
    finally:
        event.remove(connection, "before_execute", _before)
        event.remove(connection, "after_execute", _after)
        for name in (_IN_USE, _OPEN):
            connection.info.pop(name, None)


_IN_USE = "tenantkit_common_tables_in_use"
_OPEN = "tenantkit_open_tables"
"""The tables whose policies do not hold for their owner now."""


def _before(connection: Connection, construct: Any, *_: object) -> None:
    tables = _tables(connection, construct)
    if tables and connection.info[_IN_USE]:
        raise ConfigurationError(
            "tenantkit does not support yet that a foreign key of common tables is validated while they are in use. "
            "Add it by op.create_foreign_key(), which locks both tables while it reads them."
        )
    if tables:
        connection.info[_OPEN] = tables
        _force(connection, tables, "NO FORCE")


def _after(connection: Connection, construct: Any, *_: object) -> None:
    if isinstance(construct, ValidateConstraint):
        _force(connection, connection.info.pop(_OPEN, ()), "FORCE")


def _tables(connection: Connection, construct: Any) -> list[str]:
    """Return the tables that the validation of a foreign key reads; none for other statements."""
    if not isinstance(construct, ValidateConstraint):
        return []
    where = {"name": construct.constraint_name, "schema": construct.schema, "table": construct.table_name}
    return list(connection.execute(_TABLES, where).scalars())


def _force(connection: Connection, tables: Iterable[str], how: str) -> None:
    for table in tables:
        connection.exec_driver_sql(f"ALTER TABLE {table} {how} ROW LEVEL SECURITY".replace("%", "%%"))
