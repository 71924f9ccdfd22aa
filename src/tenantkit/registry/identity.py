"""The identity of a registry, which every tenant that is read from it carries."""

from __future__ import annotations

from sqlalchemy import Connection, Text, literal_column, select

from tenantkit.exceptions import TenantMismatchError
from tenantkit.tenant import Tenant

# The database's own number is part of it: a copy of a database is a registry of its own, whose next tenants get ids
# that the original gives to others.
identity = literal_column(
    "(SELECT pg_catalog.md5(registry.id::text || pg_database.oid::text) "
    "FROM tenantkit.registry, pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
    Text,
)


def read_identity(connection: Connection) -> str:
    """Return the identity of the registry: the same in all processes, another one in each database."""
    return connection.execute(select(identity)).scalar_one()


def require_same(tenant: Tenant, now: Tenant) -> Tenant:
    """Return *now* if it is the same tenant as *tenant*, possibly changed meanwhile.

    :raises TenantMismatchError: if it is another one.
    """
    if now is tenant or now.identity == tenant.identity:
        return now
    if now.registry != tenant.registry:
        raise TenantMismatchError.of_registries(tenant.key, tenant.registry, now.registry)
    raise TenantMismatchError.of_ids(tenant.key, tenant.id, now.id)
