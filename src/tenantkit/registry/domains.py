"""Changes of tenants' domains: functions of a connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tenantkit.arguments import FLAG, require
from tenantkit.exceptions import DomainExistsError, TenantNotFoundError
from tenantkit.naming import validate_domain
from tenantkit.registry.tables import domains, tenants


def add(connection: Connection, tenant_id: int, domain: str, *, primary: bool = False) -> None:
    """Give a tenant another domain; its first one is its primary one.

    :raises InvalidDomainError: if it is no host name.
    :raises DomainExistsError: if a tenant, this one included, has it already.
    """
    require(primary=(primary, FLAG))
    host = validate_domain(domain)
    has_primary = select(domains.c.domain).where(domains.c.tenant_id == tenant_id, domains.c.is_primary).exists()
    first = not connection.execute(select(has_primary)).scalar_one()
    try:
        with connection.begin_nested():
            connection.execute(insert(domains).values(domain=host, tenant_id=tenant_id, is_primary=first))
    except IntegrityError as error:
        raise DomainExistsError(host) from error
    if primary and not first:
        set_primary(connection, tenant_id, host)


def remove(connection: Connection, tenant_id: int, domain: str) -> None:
    """Remove a domain from a tenant; if it was the primary one, the first of the others becomes primary.

    :raises TenantNotFoundError: if the tenant does not have it.
    """
    host = validate_domain(domain)
    of_tenant = domains.c.tenant_id == tenant_id
    removed = connection.execute(
        delete(domains).where(of_tenant, domains.c.domain == host).returning(domains.c.is_primary)
    )
    was_primary = removed.scalar_one_or_none()
    if was_primary is None:
        raise TenantNotFoundError(key=_key(connection, tenant_id), domain=host)
    if was_primary:
        next_primary = select(func.min(domains.c.domain)).where(of_tenant).scalar_subquery()
        connection.execute(update(domains).where(domains.c.domain == next_primary).values(is_primary=True))


def set_primary(connection: Connection, tenant_id: int, domain: str) -> None:
    """Make one of a tenant's domains the primary one.

    :raises TenantNotFoundError: if the tenant does not have it.
    """
    host = validate_domain(domain)
    of_tenant = domains.c.tenant_id == tenant_id
    if connection.execute(select(domains.c.domain).where(of_tenant, domains.c.domain == host)).first() is None:
        raise TenantNotFoundError(key=_key(connection, tenant_id), domain=host)
    # In two statements: a unique index is checked row by row, so one could meet both marks at once.
    connection.execute(update(domains).where(of_tenant, domains.c.is_primary).values(is_primary=False))
    connection.execute(update(domains).where(domains.c.domain == host).values(is_primary=True))


def _key(connection: Connection, tenant_id: int) -> str:
    key: str = connection.execute(select(tenants.c.key).where(tenants.c.id == tenant_id)).scalar_one()
    return key


def replace(connection: Connection, tenant_id: int, wanted: Sequence[str]) -> None:
    """Replace a tenant's domains; the first is the primary one."""
    connection.execute(delete(domains).where(domains.c.tenant_id == tenant_id))
    for domain in wanted:
        add(connection, tenant_id, domain)
