"""The isolations that every deployment has."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from tenantkit.databases.base import Databases
from tenantkit.isolation.binding import RawSQL
from tenantkit.isolation.database.isolation import DatabaseIsolation
from tenantkit.isolation.isolations import Isolations
from tenantkit.isolation.roles import TenantRoles
from tenantkit.isolation.row.declared import RowColumn
from tenantkit.isolation.row.isolation import RowIsolation
from tenantkit.isolation.schema import SchemaIsolation
from tenantkit.tables import NO_TENANT_SCHEMA


def built_in(
    databases: Databases,
    *,
    default: str,
    placeholder: str | None,
    raw_sql: RawSQL,
    extra_schemas: tuple[str, ...],
    grant_to: tuple[str, ...],
    roles: TenantRoles | None,
    schema_prefix: str,
    rows_schema: str,
    row_column: RowColumn,
    database_prefix: str | None,
    shared_schemas: Callable[[], Collection[str]],
) -> Isolations:
    """Return the isolations of a deployment; new tenants get the *default* one.

    :param shared_schemas: returns the schemas of shared tables, which models may add later.
    """

    def used() -> set[str | None]:
        return {placeholder, NO_TENANT_SCHEMA, *shared_schemas()}

    schema = SchemaIsolation(
        placeholder=placeholder,
        raw_sql=raw_sql,
        extra_schemas=extra_schemas,
        grant_to=grant_to,
        roles=roles,
        prefix=schema_prefix,
        used=lambda: {rows_schema, *used()},
        row_column=row_column,
    )
    logs_in = roles is not None and roles.secret is not None
    database = DatabaseIsolation(
        # A tenant's database has no schemas of others, from which a role that does not log in could keep it.
        inside=schema if logs_in else replace(schema, roles=None),
        prefix=lambda: f"{databases.main.url.database}_" if database_prefix is None else database_prefix,
        grant_to=() if logs_in else grant_to,
        require_reach=databases.engine,
    )
    row = RowIsolation(
        placeholder=placeholder,
        raw_sql=raw_sql,
        extra_schemas=extra_schemas,
        grant_to=grant_to,
        is_guarded=roles is not None,
        schema=rows_schema,
        used=used,
        row_column=row_column,
    )
    return Isolations(databases, schema, database, row, default=default, row_column=row_column)
