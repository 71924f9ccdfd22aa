"""Privileges for the application's roles, if they own neither the registry nor the schemas."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

from tenantkit.postgres.quoting import quote_identifier
from tenantkit.registry.versions import wait_for_others

_MAY_READ = text(
    "SELECT has_schema_privilege(:role, 'tenantkit', 'USAGE') "
    "AND bool_and(has_table_privilege(:role, oid, 'SELECT')) FROM pg_class "
    "WHERE relnamespace = 'tenantkit'::regnamespace AND relkind = 'r'"
)


def let_read_registry(connection: Connection, roles: Iterable[str]) -> None:
    """Grant *roles* the privileges to look tenants up.

    Existing privileges are not granted again: PostgreSQL refuses concurrent GRANTs on one object, and processes
    start together.
    """
    for role in roles:
        if _may_read(connection, role):
            continue
        wait_for_others(connection)
        if not _may_read(connection, role):
            name = quote_identifier(role)
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA tenantkit TO {name}")
            connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA tenantkit TO {name}")


def _may_read(connection: Connection, role: str) -> bool:
    return bool(connection.execute(_MAY_READ, {"role": role}).scalar_one())
