"""Removal of the rows of one tenant from common tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from tenantkit.isolation.tenant_column import SETTING, TenantColumn
from tenantkit.postgres.quoting import quote_identifier

CHUNK = 10_000
"""Number of rows that one transaction removes, before the last one."""

_TABLES = text(
    """
    SELECT relname AS name, ARRAY(
        SELECT source.relname::text FROM pg_constraint JOIN pg_class AS source ON source.oid = conrelid
        WHERE confrelid = pg_class.oid AND contype = 'f' AND source.relnamespace = pg_class.relnamespace
    ) AS referring
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = :column AND NOT attisdropped
    WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p') AND NOT relispartition
    ORDER BY relname
    """
)


def chunks(
    connection: Connection, schema: str, tenant: TenantColumn, value: Any
) -> Sequence[Callable[[Connection], object]]:
    """Return what removes most rows of a tenant, a chunk at a time, from the tables to which no others refer any more.

    Tables that refer to one another are left to `remove_rows`.
    """
    enter(connection, value)
    found: list[Callable[[Connection], object]] = []
    for table in _in_order(_referring(connection, schema, tenant)):
        name = f"{quote_identifier(schema)}.{quote_identifier(table)}"
        own = f"FROM {name} WHERE {tenant.sql_name} = {_cast(tenant)}"
        count = connection.execute(text(f"SELECT count(*) {own}"), {"value": str(value)}).scalar_one()
        # In other partitions, rows of other tenants have the same ctid.
        some = f"DELETE {own} AND ctid = ANY(ARRAY(SELECT ctid {own} LIMIT {CHUNK}))"
        found += [partial(_execute, statement=some, value=value)] * (count // CHUNK)
    return found


def remove_rows(connection: Connection, schema: str, tenant: TenantColumn, value: Any) -> None:
    """Remove all rows of a tenant, by one statement: foreign keys, be they in a cycle, are checked at its end."""
    steps = [
        f"step{number} AS (DELETE FROM {quote_identifier(schema)}.{quote_identifier(table)} "  # noqa: S608 - quoted
        f"WHERE {tenant.sql_name} = {_cast(tenant)})"
        for number, table in enumerate(_referring(connection, schema, tenant))
    ]
    if steps:
        _execute(connection, f"WITH {', '.join(steps)} SELECT", value)


def restore_schema(tenant_id: int) -> str:
    """Return the name of the schema that has a tenant's rows while they are restored."""
    return f"tenantkit_restore_{tenant_id}"


def enter(connection: Connection, value: Any) -> None:
    """Set the tenant of the current transaction: the policies hold for the owner of the tables, too."""
    connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": SETTING, "value": str(value)})


def _execute(connection: Connection, statement: str, value: Any) -> None:
    enter(connection, value)
    connection.execute(text(statement), {"value": str(value)})


def _cast(tenant: TenantColumn) -> str:
    return f"CAST(CAST(:value AS text) AS {tenant.type})"


def _referring(connection: Connection, schema: str, tenant: TenantColumn) -> dict[str, set[str]]:
    """Return the tables that refer to each common table."""
    rows = connection.execute(_TABLES, {"schema": quote_identifier(schema), "column": tenant.name})
    return {row.name: set(row.referring) for row in rows}


def _in_order(referring: Mapping[str, set[str]]) -> list[str]:
    """Return the tables that can be emptied one after another, those first to which none refer."""
    found: list[str] = []
    while ready := [table for table in referring if table not in found and referring[table] <= set(found)]:
        found += ready
    return found
