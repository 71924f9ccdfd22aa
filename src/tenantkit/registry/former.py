"""The keys and schemas that tenants had before they were dropped or renamed; triggers record them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from tenantkit.registry.tables import former_tenants


def count_former(connection: Connection, key: str) -> int:
    """Return the number of schemas of tenants that had this key, and were dropped or renamed."""
    query = select(func.count()).select_from(former_tenants).where(former_tenants.c.key == key)
    return connection.execute(query).scalar_one()


def former_schemas(connection: Connection, tenant_id: int, key: str) -> Collection[str]:
    """Return the names of schemas that a tenant had with a key, which is not its present one."""
    query = select(former_tenants.c.schema).where(former_tenants.c.id == tenant_id, former_tenants.c.key == key)
    return connection.execute(query).scalars().all()


def is_former(connection: Connection, schema: str) -> bool:
    """Return whether a tenant, whatever its key was, had a schema of this name."""
    query = select(former_tenants.c.id).where(former_tenants.c.schema == schema).limit(1)
    return connection.execute(query).first() is not None
