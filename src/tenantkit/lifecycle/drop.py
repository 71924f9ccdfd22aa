"""Removing a tenant for good."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.exceptions import ProvisioningError
from tenantkit.isolation import schemas
from tenantkit.naming import first_lines
from tenantkit.postgres.errors import reason
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.retry import retrying
from tenantkit.registry import store
from tenantkit.status import Status
from tenantkit.tenant import Tenant, require_supported


def drop(connection: Connection, key: str) -> Tenant:
    """Remove a tenant with its schema, or finish a removal that was interrupted; return it with its last status.

    That is the status from before it was dropped, or `Status.DROPPING` if an earlier removal was interrupted.

    Needs a connection without a transaction: the mark `Status.DROPPING` is
    committed first, so nobody is served by a tenant that is half gone. The
    schema and the registry row then go in one transaction.

    :raises TenantNotFoundError: if there is no such tenant (any more).
    :raises ProvisioningError: if the schema is not this tenant's, or objects or rows of other schemas depend on it.
    """
    with connection.begin():
        tenant = store.lock(connection, key)
        require_removable(connection, tenant)
        if tenant.status is not Status.DROPPING:
            store.transition(connection, key, Status.DROPPING)
    finish(connection, tenant)
    return tenant


def finish(connection: Connection, tenant: Tenant) -> None:
    """Remove a tenant that is marked `Status.DROPPING`; nothing, if another process has done so meanwhile.

    :raises ProvisioningError: as `drop` does.
    """
    try:
        _release_shared_tables(connection, tenant)
        for attempt in retrying():
            with attempt, connection.begin():
                limit_lock_waits(connection)
                if store.lock_by_id(connection, tenant.id):
                    require_removable(connection, tenant)
                    schemas.drop_schema(connection, tenant.schema)
                    store.remove(connection, tenant.id)
    except DBAPIError as error:
        raise ProvisioningError(tenant.key, "dropping", reason(error)) from error


def _release_shared_tables(connection: Connection, tenant: Tenant) -> None:
    """Drop the tenant's foreign keys to other schemas, each in a short transaction of its own.

    Dropping a key locks the table it points to exclusively. Left to ``DROP SCHEMA``,
    a shared table would be closed to every tenant for as long as that takes.
    """
    with connection.begin():
        keys = schemas.keys_to_others(connection, tenant.schema)
    for key in keys:
        for attempt in retrying():
            with attempt, connection.begin():
                limit_lock_waits(connection)
                if store.lock_by_id(connection, tenant.id):
                    require_removable(connection, tenant)
                    schemas.drop_key(connection, key)


def require_removable(connection: Connection, tenant: Tenant) -> None:
    """Raise unless removing the tenant takes nothing that is not the tenant's, and nothing forbids it.

    :raises ProvisioningError: if it does.
    :raises TenantUnavailableError: if this version of tenantkit cannot tell where the tenant's schema is.
    """
    require_supported(tenant)
    mark = schemas.read_mark(connection, tenant.schema)
    if mark not in {None, schemas.mark_of(tenant)}:
        raise ProvisioningError(
            tenant.key,
            "dropping",
            f"the schema {tenant.schema!r} does not carry the comment {schemas.mark_of(tenant)!r}",
        )
    if others := schemas.dependants(connection, tenant.schema):
        raise ProvisioningError(
            tenant.key, "dropping", f"other schemas depend on it: {first_lines(others)}; drop these first"
        )
    if tables := schemas.referring(connection, tenant):
        raise ProvisioningError(
            tenant.key,
            "dropping",
            f"rows of {first_lines(tables)} refer to it; delete these first, or give the foreign key ON DELETE CASCADE",
        )
