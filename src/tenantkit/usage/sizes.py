"""Rows and bytes of a tenant's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from tenantkit.isolation.row.removal import enter
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.quoting import quote_identifier, quote_literal

# Each with its partitions. Rows are estimated as the planner does; of a table that was never analyzed, the server knows
# only those written since its statistics began.
_TABLES = text(
    """
    SELECT relname AS name, coalesce(bytes, 0)::bigint AS bytes, coalesce(rows, 0)::bigint AS rows, relispopulated
    FROM pg_class CROSS JOIN LATERAL (
        SELECT sum(pg_total_relation_size(part.oid)) AS bytes,
            sum(CASE
                WHEN reltuples < 0 OR relpages = 0 THEN pg_stat_get_live_tuples(part.oid)
                ELSE reltuples / relpages * pg_relation_size(part.oid) / current_setting('block_size')::int
            END) FILTER (WHERE part.relkind <> 'p') AS rows
        FROM (SELECT pg_class.oid UNION SELECT relid FROM pg_partition_tree(pg_class.oid)) AS parts (oid)
        JOIN pg_class AS part ON part.oid = parts.oid
    ) AS sizes
    WHERE relnamespace = to_regnamespace(quote_ident(:schema)) AND relkind IN ('r', 'p', 'm') AND NOT relispartition
        AND (CAST(:column AS text) IS NULL OR EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = :column AND NOT attisdropped
        ))
    ORDER BY bytes DESC, name
    """
)


@dataclass(frozen=True, slots=True)
class TableSize:
    """The part of a table that is one tenant's."""

    name: str
    rows: int
    """Its rows: the server's estimate, unless they were counted."""
    size: int | None
    """Its bytes on disk, with indexes, TOAST and partitions. Of a common table, a share by the number of rows, or
    ``None`` if the number of all rows is not known."""


def measure(
    connection: Connection, schema: str, column: TenantColumn | None, value: Any, *, count: bool
) -> tuple[TableSize, ...]:
    """Return the sizes of the tables in *schema*, the largest first.

    :param column: the tenant column, if these are common tables; *value* is then the tenant's.
    :param count: count the rows.
    """
    if column is not None:
        enter(connection, value)
    found: list[TableSize] = []
    names = {"schema": schema, "column": None if column is None else column.name}
    for row in connection.execute(_TABLES, names).all():
        source = f"FROM {quote_identifier(schema)}.{quote_identifier(row.name)}"
        if column is not None:
            source += f" WHERE {column.sql_name} = {quote_literal(str(value))}::{column.type}"
        rows: int = row.rows
        if count and row.relispopulated:  # a materialized view WITH NO DATA cannot be read
            rows = _execute(connection, f"SELECT count(*) {source}")
        elif column is not None:
            rows = _execute(connection, f"EXPLAIN (FORMAT JSON) SELECT {source}")[0]["Plan"]["Plan Rows"]
        size: int | None = row.bytes
        if column is not None:
            size = round(row.bytes * min(rows / row.rows, 1)) if row.rows else None
        found.append(TableSize(row.name, rows, size))
    return tuple(sorted(found, key=lambda each: (-(each.size or 0), each.name)))


def _execute(connection: Connection, statement: str) -> Any:
    return connection.exec_driver_sql(statement.replace("%", "%%")).scalar_one()
