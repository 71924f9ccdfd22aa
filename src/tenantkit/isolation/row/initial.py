"""The rows with which each tenant in common tables begins.

Revisions write them for a tenant that does not exist, whose value of the tenant column is `TenantColumn.no_tenant`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.row.policies import POLICY
from tenantkit.isolation.row.removal import enter
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.quoting import quote_identifier

_TABLES = text(
    """
    SELECT pg_class.oid, relname AS name,
        ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0
            AND NOT attisdropped AND attname <> :column AND attgenerated = '' ORDER BY attnum) AS columns,
        EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal AND tgenabled <> 'D'
            AND tgtype & 4 <> 0 AND tgname <> :trigger) AS has_trigger
    FROM pg_class JOIN pg_attribute AS own ON own.attrelid = pg_class.oid AND own.attname = :column
    WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p') AND NOT relispartition
    ORDER BY relname
    """
)


def copy_initial_rows(connection: Connection, schema: str, tenant: TenantColumn, value: Any) -> None:
    """Give the tenant with this *value* copies of the rows with which each tenant begins, with their keys.

    All are inserted by one statement: foreign keys, be they in a cycle, are checked at its end.
    """
    steps: list[str] = []
    copied: dict[str, list[str]] = {}
    for number, table in enumerate(_filled(connection, schema, tenant)):
        name = f"{quote_identifier(schema)}.{quote_identifier(table.name)}"
        # As text, a row keeps all values of all types. One statement cannot read the rows of one tenant and write
        # those of another.
        copied[f"rows{number}"] = [*connection.execute(text(f"SELECT copied::text FROM {name} AS copied")).scalars()]  # noqa: S608 - quoted
        columns = ", ".join(map(quote_identifier, table.columns))
        values = ", ".join(f"(copied).{quote_identifier(column)}" for column in table.columns)
        steps.append(
            f"step{number} AS (INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} "  # noqa: S608 - quoted
            f"FROM (SELECT CAST(line AS {name}) AS copied FROM unnest(CAST(:rows{number} AS text[])) AS line) AS rows)"
        )
    enter(connection, value)
    if steps:
        connection.execute(text(f"WITH {', '.join(steps)} SELECT"), copied)


def refuse_initial_rows(connection: Connection, schema: str, tenant: TenantColumn) -> None:
    """Raise if there are rows that new tenants cannot begin with.

    :raises ConfigurationError: if keys are unique among all tenants, or a trigger would be executed once more.
    """
    for table in _filled(connection, schema, tenant):
        if tenant.is_declared or table.has_trigger:
            reason = "its keys may be unique among all tenants" if tenant.is_declared else "it has a trigger"
            raise ConfigurationError(
                f"A revision writes rows of the table {table.name!r} for each tenant, which tenantkit cannot copy for "
                f"tenants that are created later: {reason}. Let seed= write such rows, also those of the tenants that "
                "are there."
            )
    enter(connection, "")


def _filled(connection: Connection, schema: str, tenant: TenantColumn) -> Iterator[Any]:
    """Return the tables that have such rows, and enter the tenant that does not exist."""
    enter(connection, tenant.no_tenant)
    where = {"schema": quote_identifier(schema), "column": tenant.name, "trigger": POLICY}
    tables = connection.execute(_TABLES, where).all()
    if not tables:
        return iter(())
    queries = [
        f"SELECT {number} WHERE EXISTS (SELECT FROM {quote_identifier(schema)}.{quote_identifier(table.name)})"  # noqa: S608 - quoted
        for number, table in enumerate(tables)
    ]
    found = connection.execute(text(" UNION ALL ".join(queries))).scalars().all()
    return (tables[number] for number in sorted(found))
