"""The identity of a registry, which every tenant that is read from it carries."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import Connection, Text, literal_column, select

from tenantkit.exceptions import ConfigurationError, TenantMismatchError
from tenantkit.tenant import Tenant

# The database's own number is part of it: a copy of a database is a registry of its own, whose next tenants get ids
# that the original gives to others.
IDENTITY = (
    "(SELECT pg_catalog.md5(registry.id::text || pg_database.oid::text) "
    "FROM tenantkit.registry, pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
)
identity = literal_column(IDENTITY, Text)


_Found = TypeVar("_Found")


def require_row(found: _Found | None) -> _Found:
    """Return the row that was read from ``tenantkit.registry``.

    :raises ConfigurationError: if its row is gone, for example after a dump was restored without it.
    """
    if found is None:
        raise ConfigurationError(
            "The table tenantkit.registry has lost its row, the identity of the registry. Restore it from a backup, or "
            "run INSERT INTO tenantkit.registry DEFAULT VALUES; then users log in again."
        )
    return found


def read_identity(connection: Connection) -> str:
    """Return the identity of the registry: the same in all processes, another one in each database."""
    return require_row(connection.execute(select(identity)).scalar_one())


def require_same(tenant: Tenant, now: Tenant) -> Tenant:
    """Return *now* if it is the same tenant as *tenant*, possibly changed meanwhile.

    :raises TenantMismatchError: if it is another one.
    """
    if now is tenant or now.identity == tenant.identity:
        return now
    if now.registry != tenant.registry:
        raise TenantMismatchError.of_registries(tenant.key, tenant.registry, now.registry)
    raise TenantMismatchError.of_ids(tenant.key, tenant.id, now.id)
