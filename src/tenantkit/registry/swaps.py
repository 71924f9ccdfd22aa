"""The exchange of two tenants' placements in the registry; and swaps in several transactions, until they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select, update

from tenantkit.registry import store
from tenantkit.registry.tables import tenants
from tenantkit.tenant import Isolation, Tenant

_PLACE = (tenants.c.database, tenants.c.schema, tenants.c.isolation, tenants.c.stamped)
"""What goes with the tables."""


def begin(connection: Connection, tenant_id: int, other_id: int) -> None:
    """Record that two tenants are being swapped."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(swapped_with=other_id))


def end(connection: Connection, tenant_id: int) -> None:
    """Record that a tenant is not being swapped any more."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(swapped_with=None))


def mark_copy(connection: Connection, copy_id: int, tenant_id: int) -> None:
    """Record that a tenant is a copy of another one, with which it may be swapped."""
    connection.execute(update(tenants).where(tenants.c.id == copy_id).values(copy_of=tenant_id))


def is_copy(connection: Connection, copy_id: int, tenant_id: int) -> bool:
    """Return whether a tenant is a copy of another one, or has its former tables."""
    of = select(tenants.c.copy_of).where(tenants.c.id == copy_id)
    return bool(connection.execute(of).scalar_one() == tenant_id)


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


def is_unfinished(connection: Connection, tenant_id: int) -> bool:
    """Return whether a tenant is being swapped, or is the copy of one that is."""
    return any(tenant_id in {own, partner} for own, (_, partner) in find_unfinished(connection).items())


def exchange(connection: Connection, tenant: Tenant, other: Tenant) -> tuple[Tenant, Tenant]:
    """Exchange where two tenants have their tables, end their swap, and return their new states.

    The other one is a copy of the tenant from then on.
    """
    pair = [tenant.id, other.id]
    found = select(tenants.c.id, *_PLACE).where(tenants.c.id.in_(pair))
    places = {row.pop("id"): row for row in (dict(row._mapping) for row in connection.execute(found))}  # noqa: SLF001 - public

    def change(tenant_id: int, partner: int, values: Mapping[str, Any]) -> None:
        query = update(tenants).where(tenants.c.id == tenant_id)
        connection.execute(query.values(swapped_with=partner, updated_at=func.now(), **values))

    # No two tenants ever have one placement in its unique index, which leaves out common tables.
    change(other.id, tenant.id, {"isolation": Isolation.ROW})
    change(tenant.id, other.id, places[other.id])
    change(other.id, tenant.id, places[tenant.id])
    connection.execute(update(tenants).where(tenants.c.id.in_(pair)).values(swapped_with=None))
    mark_copy(connection, other.id, tenant.id)
    return store.get(connection, tenant.key), store.get(connection, other.key)
