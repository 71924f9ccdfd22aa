"""What a copy of a tenant's rows would not hold, or what would mean something else elsewhere."""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from tenantkit.exceptions import BackupError
from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.registry.revisions import MARK
from tenantkit.transfer import catalog
from tenantkit.transfer.catalog import OWN, qualified, where
from tenantkit.transfer.source import Source

_UNFINISHED = text("SELECT obj_description(to_regclass(:table), 'pg_class')")
_NUMBERED = text(
    f"""
    WITH RECURSIVE part (relation, "column", "table", type) AS (
        SELECT attrelid, attname::text, relname::text, atttypid
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE {OWN} AND relkind = 'r' AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        UNION
        SELECT relation, "column", "table", inner_type FROM part JOIN pg_type ON pg_type.oid = type
        CROSS JOIN LATERAL (
            SELECT unnest(ARRAY[typelem, typbasetype]) UNION ALL
            SELECT atttypid FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped
        ) AS inner_types (inner_type) WHERE inner_type <> 0
    )
    SELECT DISTINCT "table", "column", type = 'oid'::regtype AS is_oid FROM part
    WHERE type = 'oid'::regtype OR type IN ('regclass'::regtype, 'regproc'::regtype, 'regprocedure'::regtype,
        'regoper'::regtype, 'regoperator'::regtype, 'regtype'::regtype, 'regrole'::regtype, 'regnamespace'::regtype,
        'regconfig'::regtype, 'regdictionary'::regtype, 'regcollation'::regtype)
    ORDER BY 1, 2
    """
)
_PARTS_ELSEWHERE = text(
    """
    SELECT DISTINCT part.oid::regclass::text FROM pg_inherits
    JOIN pg_class AS part ON part.oid = inhrelid JOIN pg_class AS whole ON whole.oid = inhparent
    WHERE part.relkind IN ('r', 'p', 'f') AND whole.relnamespace = to_regnamespace(:schema)
        AND (part.relnamespace <> whole.relnamespace OR part.relkind = 'f')
    """
)
_FORCED = text(
    f"SELECT relname::text FROM pg_class WHERE {OWN} AND relkind = 'r' AND relrowsecurity AND relforcerowsecurity "
    "AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)"
)


def require_complete(source: Source) -> None:
    """Raise if a copy of the rows would not hold all of the tenant, or not what it means.

    :raises BackupError: if so.
    """
    key = source.tenant.key
    unfinished = source.connection.execute(_UNFINISHED, {"table": qualified(source.schema, "alembic_version")}).scalar()
    if (unfinished or "").startswith(MARK):
        raise BackupError(key, "a revision was not finished", "Run 'tenantkit migrate' first.")
    for obstacle in _obstacles(source):
        raise BackupError(key, obstacle, "Change the tables, or use pg_dump.")


def _obstacles(source: Source) -> Iterator[str]:
    connection, names = source.connection, where(source.schema)
    if parts := connection.execute(_PARTS_ELSEWHERE, names).scalars().all():
        yield f"rows of its tables are in tables of other schemas or servers: {first_lines(parts)}"
    if source.shared is None and (forced := connection.execute(_FORCED, names).scalars().all()):
        yield f"row security is forced on {first_lines(forced)}, so the login may not read all rows"
    for row in connection.execute(_NUMBERED, names).all():
        column = quote_identifier(row.column)
        rows = f"FROM ({source.query(row.table, [row.column])}) AS own"
        if row.is_oid:
            rows += f" JOIN pg_largeobject_metadata AS held ON held.oid::text = own.{column}::text"
        else:
            rows += f" WHERE {column} IS NOT NULL"
        if catalog.execute(connection, f"SELECT EXISTS (SELECT {rows})").scalar_one():
            held = "large objects" if row.is_oid else "names of objects of the database"
            yield f"the column {row.table}.{row.column} has {held}, which cannot be copied"
    yield from _foreign_rows(source)


def _foreign_rows(source: Source) -> Iterator[str]:
    """Yield the tables of which rows have another value in the tenant column: the file does not have the column."""
    column = source.column
    if source.shared is not None or column is None or source.value is None:
        return
    declared = catalog.read_defaults(source.connection, source.schema, column.name)
    value = f"{quote_literal(source.value)}::{column.type}"
    for table in (each.name for each in source.tables if each.name in declared):
        rows = f"FROM ONLY {qualified(source.schema, table)} WHERE {column.sql_name} IS DISTINCT FROM {value}"
        if catalog.execute(source.connection, f"SELECT EXISTS (SELECT {rows})").scalar_one():
            yield f"rows of the table {table} have another value than the tenant's in the column {column.name}"
