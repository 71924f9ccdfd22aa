"""Rows of other tables that refer to the row of a tenant in the registry."""

from __future__ import annotations

from sqlalchemy import Connection, text

from tenantkit.postgres.quoting import quote_identifier
from tenantkit.tenant import Tenant

_KEYS_TO_TENANTS = text(
    """
    SELECT nspname, relname, source.attname AS column, target.attname AS target
    FROM pg_constraint
    JOIN pg_class ON pg_class.oid = conrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN pg_attribute AS source ON source.attrelid = conrelid AND source.attnum = conkey[1]
    JOIN pg_attribute AS target ON target.attrelid = confrelid AND target.attnum = confkey[1]
    WHERE contype = 'f' AND conparentid = 0 AND confrelid = 'tenantkit.tenants'::regclass
        AND confdeltype IN ('a', 'r') AND nspname <> :schema
    ORDER BY 1, 2, 3
    """
)
"""Foreign keys that forbid that a tenant is deleted; those of the tenant's own schema go with it."""


def referring(connection: Connection, tenant: Tenant) -> list[str]:
    """Return the tables outside of the tenant's schema with rows that forbid that the tenant's row is deleted."""
    found: list[str] = []
    for key in connection.execute(_KEYS_TO_TENANTS, {"schema": tenant.schema}).all():
        table = f"{quote_identifier(key.nspname)}.{quote_identifier(key.relname)}"
        column, target = quote_identifier(key.column), quote_identifier(key.target)
        rows = text(
            f"SELECT EXISTS (SELECT FROM {table} WHERE {column} = "  # noqa: S608 - quoted
            f"(SELECT {target} FROM tenantkit.tenants WHERE id = :id))"
        )
        if connection.execute(rows, {"id": tenant.id}).scalar_one():
            found.append(f"{key.nspname}.{key.relname}")
    return found
