"""Transactions in flight of one tenant: functions of a connection to its database.

A transaction has a lock on each table that it has touched, until it ends. The server shows the locks of all logins, so
those of processes are found, too, that do not know yet that the tenant is suspended.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from tenantkit.isolation.binding import Binding
from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.postgres.errors import sqlstate
from tenantkit.registry.tables import tenants
from tenantkit.tenant import Tenant

_CLASS, _OBJECT = (f"({part})::bigint & 4294967295" for part in PLACEMENT.format(schema=":schema").split(", "))
# Migrations and backups hold the claim of the placement, and go on. Processes of the server itself have no user.
_FIND = text(
    f"""
    WITH locks AS MATERIALIZED (SELECT * FROM pg_catalog.pg_locks)
    SELECT locks.pid, locks.virtualtransaction AS name,
        coalesce(bool_or(spaces.nspname = :schema AND locks.mode <> 'AccessShareLock'), false) AS writes,
        coalesce(array_agg(DISTINCT spaces.nspname::text) FILTER (WHERE spaces.nspname <> :schema), '{{}}') AS others
    FROM locks
    LEFT JOIN pg_catalog.pg_class AS relations ON relations.oid = locks.relation AND locks.database =
        (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    LEFT JOIN pg_catalog.pg_namespace AS spaces ON spaces.oid = relations.relnamespace
    LEFT JOIN pg_catalog.pg_stat_activity AS backends ON backends.pid = locks.pid
    WHERE locks.pid IS DISTINCT FROM pg_backend_pid() AND (locks.pid IS NULL OR backends.usesysid IS NOT NULL)
        AND NOT EXISTS (
            SELECT FROM locks AS claims WHERE claims.locktype = 'advisory' AND claims.objsubid = 2 AND claims.granted
                AND claims.classid::bigint = {_CLASS} AND claims.objid::bigint = {_OBJECT}
                AND claims.pid = locks.pid
        )
    GROUP BY 1, 2
    HAVING bool_or(spaces.nspname = :schema) OR bool_or(
        backends.datname = current_database() AND backends.xact_start IS NOT NULL AND backends.query ^@ :mark
    )
    """  # noqa: S608 - ours
)
_END = text(
    """
    SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_locks
    WHERE locktype = 'virtualxid' AND pid = :pid AND virtualtransaction = :name LIMIT 1
    """
)


@dataclass(frozen=True, slots=True)
class InFlight:
    """A transaction in flight."""

    pid: int | None
    """The process id; ``None`` if it is prepared, and belongs to no process."""
    name: str
    """The virtual id, which no other transaction of the server has."""
    writes: bool
    """Whether it has written to the tenant's tables, or locked rows or tables of them."""
    others: frozenset[str]
    """The other schemas whose tables it has touched."""


def find(connection: Connection, binding: Binding) -> list[InFlight]:
    """Return the transactions that have touched the tenant's schema, or that its sessions have begun.

    If the tables are common to several tenants, these are transactions of all of them.
    """
    # A session whose transaction has touched no table of the tenant yet is found by the mark of its last statement.
    mark = binding.mark if binding.column is None else None
    found = connection.execute(_FIND, {"schema": binding.tenant.schema, "mark": mark})
    return [InFlight(row.pid, row.name, row.writes, frozenset(row.others)) for row in found]


def schemas_of_others(main: Connection, tenant: Tenant, schemas: Collection[str]) -> frozenset[str]:
    """Return those of *schemas*, in the tenant's database, that belong to other tenants."""
    query = select(tenants.c.schema).where(tenants.c.schema.in_(schemas), tenants.c.id != tenant.id)
    here = {"database": tenant.placement.database}
    return frozenset(main.execute(query.filter_by(**here)).scalars())


def end(connection: Connection, transaction: InFlight) -> bool:
    """Close the connection of a transaction that is still the same; return whether the login may do that."""
    try:
        connection.execute(_END, {"pid": transaction.pid, "name": transaction.name})
    except DBAPIError as error:
        if sqlstate(error) != "42501":
            raise
        return False
    return True
