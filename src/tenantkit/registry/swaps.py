"""The exchange of two tenants' placements in the registry; and swaps in several transactions, until they end."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, update

from tenantkit.registry import store
from tenantkit.registry.tables import tenants
from tenantkit.tenant import Isolation, Placement, Tenant


def begin(connection: Connection, tenant_id: int, other_id: int) -> None:
    """Record that two tenants are being swapped."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(swapped_with=other_id))


def end(connection: Connection, tenant_id: int) -> None:
    """Record that a tenant is not being swapped any more."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(swapped_with=None))


def find_partner(connection: Connection, tenant_id: int) -> int | None:
    """Return the id of the tenant with which a tenant is being swapped; ``None`` if it is not."""
    return connection.execute(select(tenants.c.swapped_with).where(tenants.c.id == tenant_id)).scalar_one_or_none()


def find_key(connection: Connection, tenant_id: int) -> str | None:
    """Return the key of the tenant with an id, if there is one."""
    return connection.execute(select(tenants.c.key).where(tenants.c.id == tenant_id)).scalar_one_or_none()


def find_unfinished(connection: Connection) -> dict[int, tuple[str, int]]:
    """Return the swaps that have not ended: by the tenant's id, its key and the id of the other tenant."""
    query = select(tenants.c.id, tenants.c.key, tenants.c.swapped_with).where(tenants.c.swapped_with.is_not(None))
    return {row.id: (row.key, row.swapped_with) for row in connection.execute(query)}


def exchange(connection: Connection, tenant: Tenant, other: Tenant) -> tuple[Tenant, Tenant]:
    """Exchange where two tenants have their tables, end their swap, and return their new states."""

    def give(to: Tenant, placement: Placement, **values: Any) -> None:
        place = {"database": placement.database, "schema": placement.schema, "swapped_with": None}
        query = update(tenants).where(tenants.c.id == to.id)
        connection.execute(query.values(updated_at=func.now(), **place, **values))

    found = select(tenants.c.id, tenants.c.isolation, tenants.c.stamped).where(tenants.c.id.in_([tenant.id, other.id]))
    before = {row.id: {"isolation": row.isolation, "stamped": row.stamped} for row in connection.execute(found)}
    # No two tenants ever have one placement in its unique index, which leaves out common tables.
    connection.execute(update(tenants).where(tenants.c.id == other.id).values(isolation=Isolation.ROW))
    give(tenant, other.placement, **before[other.id])
    give(other, tenant.placement, **before[tenant.id])
    return store.get(connection, tenant.key), store.get(connection, other.key)
