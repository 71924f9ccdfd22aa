"""Permanent removal of a tenant."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import connected, joined, outside_transactions
from tenantkit.exceptions import ProvisioningError
from tenantkit.isolation.base import administered_from
from tenantkit.lifecycle.operation import Operation, explained
from tenantkit.lifecycle.tenant_lock import tenant_lock
from tenantkit.naming import first_lines
from tenantkit.postgres import blockers
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.registry import statuses, store, swaps
from tenantkit.registry.directory import Directory
from tenantkit.registry.referring import referring
from tenantkit.status import Status
from tenantkit.tenant import Tenant

_STEP = "dropping"


def drop(directory: Directory, connection: Connection, key: str) -> Tenant:
    """Remove a tenant with its placement, or finish a removal that was interrupted; return it with its last status.

    That is its status before the removal, or `Status.DROPPING` if an earlier removal was interrupted.

    Needs a connection to the main database without a transaction: the status `Status.DROPPING` is
    committed first, so that no request reaches a tenant while it is removed. The
    registry's row is then deleted with the placement, or right after it.

    :raises TenantNotFoundError: if there is no such tenant (any more).
    :raises ProvisioningError: if the placement is not this tenant's, or objects or rows elsewhere depend on it.
    """
    with connection.begin():
        tenant = store.lock(connection, directory.isolations, key)
        begin(directory, connection, tenant)
    finish(directory, connection, tenant)
    return tenant


def begin(directory: Directory, connection: Connection, tenant: Tenant) -> None:
    """Give a tenant, whose row the caller has locked, the status `Status.DROPPING`; raises as `drop` does."""
    require_settled(connection, tenant)
    check_removable(directory, connection, tenant)
    if tenant.status is not Status.DROPPING:
        statuses.transition(connection, directory.isolations, tenant.key, Status.DROPPING)


def finish(directory: Directory, connection: Connection, tenant: Tenant) -> None:
    """Remove a tenant whose status is `Status.DROPPING`, unless another process has done so meanwhile.

    :raises ProvisioningError: as `drop` does.
    """
    isolation = directory.isolations.of(tenant)
    database = administered_from(isolation, tenant.placement)
    operation = Operation(directory.databases, connection, _STEP)

    def step(act: Callable[[Connection], object]) -> None:
        def work(there: Connection) -> None:
            if store.lock_by_id(connection, tenant.id):
                require_removable(directory, connection, there, tenant)
                act(there)

        operation.run(database, work)

    def remove(there: Connection) -> None:
        isolation.drop(there, tenant)
        store.remove(connection, tenant.id)

    with explained(directory, tenant, _STEP), _naming_blockers(directory, connection, tenant):
        _drop_database(directory, connection, tenant)
        with connected(directory.databases, database, connection) as there, there.begin():
            detachments = isolation.detachments(there, tenant)
        for act in (*detachments, remove):
            step(act)


@contextmanager
def _naming_blockers(directory: Directory, connection: Connection, tenant: Tenant) -> Generator[None]:
    """Let an error that gave up on a lock name the transactions that hold it; its removal can be repeated then."""
    try:
        yield
    except DBAPIError as error:
        if not is_lock_conflict(error) or directory.isolations.of(tenant).shares_tables:
            raise
        with connected(directory.databases, tenant.placement.database, connection) as there, there.begin():
            holders = blockers.find_holders(there, tenant.schema, referred=True)
        if not holders.blockers:
            raise
        raise ProvisioningError(
            tenant.key,
            _STEP,
            f"transactions have locked its tables, or shared ones that it refers to: {blockers.describe(holders)}; "
            "wait for them, or end them by pg_terminate_backend()",
        ) from error


def _drop_database(directory: Directory, connection: Connection, tenant: Tenant) -> None:
    """Drop the tenant's database if it has one of its own, unless another process has removed the tenant."""
    isolation, databases = directory.isolations.of(tenant), directory.databases
    if isolation.databases is None:
        return
    with tenant_lock(connection, tenant.id):
        with connection.begin():
            if not store.lock_by_id(connection, tenant.id):
                return
            check_removable(directory, connection, tenant)
        databases.engine(tenant.placement.database).dispose()
        name = administered_from(isolation, tenant.placement)
        with outside_transactions(databases, name, connection) as there:
            isolation.databases.drop(there, tenant)


def require_settled(connection: Connection, tenant: Tenant) -> None:
    """Raise if a swap of the tenant was interrupted: its copy may have its mark, and could not be removed then.

    :raises ProvisioningError: if so.
    """
    partner = None if tenant.status is Status.DROPPING else swaps.find_partner(connection, tenant.id)
    if partner is not None and (key := swaps.find_key(connection, partner)) is not None:
        why = f"its swap with {key!r} was interrupted; run 'tenantkit doctor --repair' first"
        raise ProvisioningError(tenant.key, _STEP, why)


def check_removable(directory: Directory, connection: Connection, tenant: Tenant) -> None:
    """Do as `require_removable`, on a connection of its own to where the placement is removed from."""
    database = administered_from(directory.isolations.of(tenant), tenant.placement)
    with explained(directory, tenant, _STEP), joined(directory.databases, database, connection) as there:
        require_removable(directory, connection, there, tenant)


def require_removable(directory: Directory, connection: Connection, there: Connection, tenant: Tenant) -> None:
    """Raise if the removal would delete data that is not the tenant's, or if other rows refer to the tenant.

    :param connection: to the main database; *there* is to the placement's.
    :raises ProvisioningError: if so.
    :raises TenantUnavailableError: if this version of tenantkit does not know the tenant's isolation.
    """
    obstacle = directory.isolations.of(tenant).obstacle_to_drop(there, tenant)
    if obstacle is None and (tables := referring(connection, tenant)):
        obstacle = (
            f"rows of {first_lines(tables)} refer to it; delete these first, or give the foreign key ON DELETE CASCADE"
        )
    if obstacle is not None:
        raise ProvisioningError(tenant.key, _STEP, obstacle)
