"""A tenant's schema in the catalog: made, recognized as ours, and removed."""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.schema import CreateSchema, DropSchema

from tenantkit.naming import quote_identifier, quote_literal
from tenantkit.tenant import Tenant

_OWNER = text("SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = :schema")
_KEYS_TO_OTHERS = text(
    """
    SELECT source.relname, conname FROM pg_constraint
    JOIN pg_class AS source ON source.oid = conrelid
    JOIN pg_class AS target ON target.oid = confrelid
    JOIN pg_namespace AS ours ON ours.oid = source.relnamespace
    WHERE contype = 'f' AND conparentid = 0 AND ours.nspname = :schema AND target.relnamespace <> ours.oid
    """
)
_DEPENDANTS = text(
    """
    SELECT DISTINCT outside.nspname || '.' || dependant.relname
    FROM pg_namespace AS ours
    JOIN pg_class AS used ON used.relnamespace = ours.oid
    JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = used.oid
    LEFT JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = objid
    LEFT JOIN pg_constraint ON classid = 'pg_constraint'::regclass AND pg_constraint.oid = objid
    JOIN pg_class AS dependant ON dependant.oid = coalesce(ev_class, conrelid)
    JOIN pg_namespace AS outside ON outside.oid = dependant.relnamespace
    WHERE ours.nspname = :schema AND outside.oid <> ours.oid
    ORDER BY 1
    """
)


def mark_of(tenant: Tenant) -> str:
    """Return the comment that a schema of *tenant* carries."""
    return f"tenantkit tenant {tenant.id}"


def read_mark(connection: Connection, schema: str) -> str | None:
    """Return the comment on a schema, an empty string without one, ``None`` without a schema."""
    return connection.execute(_OWNER, {"schema": schema}).scalar_one_or_none()


def make_schema(connection: Connection, tenant: Tenant) -> None:
    """Create the empty schema of *tenant*, marked as its own."""
    connection.execute(CreateSchema(tenant.schema))
    mark = quote_literal(mark_of(tenant))
    connection.exec_driver_sql(f"COMMENT ON SCHEMA {quote_identifier(tenant.schema)} IS {mark}")


def drop_schema(connection: Connection, schema: str) -> None:
    """Remove a schema and all in it."""
    connection.execute(DropSchema(schema, cascade=True, if_exists=True))


def dependants(connection: Connection, schema: str) -> list[str]:
    """Return the relations of other schemas that ``DROP SCHEMA … CASCADE`` would take down or change."""
    return list(connection.execute(_DEPENDANTS, {"schema": schema}).scalars())


def keys_to_others(connection: Connection, schema: str) -> list[tuple[str, str, str]]:
    """Return the foreign keys from a schema to others, each as schema, table and constraint."""
    return [(schema, row.relname, row.conname) for row in connection.execute(_KEYS_TO_OTHERS, {"schema": schema})]


def drop_key(connection: Connection, key: tuple[str, str, str]) -> None:
    """Drop one foreign key, if it is still there."""
    schema, table, constraint = map(quote_identifier, key)
    connection.exec_driver_sql(f"ALTER TABLE IF EXISTS {schema}.{table} DROP CONSTRAINT IF EXISTS {constraint}")
