"""The claim of a new tenant's key: a short transaction, after which other processes see that it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import joined, shares_transaction
from tenantkit.databases.reach import unreachable
from tenantkit.exceptions import ProvisioningError, TenantExistsError
from tenantkit.frozen import freeze
from tenantkit.isolation.base import Isolation, administered_from
from tenantkit.lifecycle.choose import choose_database
from tenantkit.lifecycle.drop import finish
from tenantkit.lifecycle.operation import BEING_CREATED
from tenantkit.lifecycle.order import Order
from tenantkit.lifecycle.tenant_lock import LOCKED
from tenantkit.postgres.errors import sqlstate
from tenantkit.registry import applications, domains, former, other_databases, store
from tenantkit.registry.directory import Directory
from tenantkit.registry.identity import read_identity
from tenantkit.registry.row_values import refusing_values_of_others
from tenantkit.registry.tables import tenants
from tenantkit.status import Status
from tenantkit.tenant import NewTenant, Placement, Tenant

CLAIMING = "claiming the key"


def claim_key(
    directory: Directory, connection: Connection, order: Order, claim: str, claim_spare: Callable[[], Tenant | None]
) -> tuple[Tenant, bool]:
    """Return the tenant with its key claimed, and whether it was a spare; finish a removal that died first."""
    being_dropped: Tenant | None = None
    with connection.begin():
        if (spare := claim_spare()) is not None:
            return spare, True
        if applications.is_claimed(connection, order.application):
            if (status := lock_row(connection, order.key)) != Status.DROPPING:
                return _claim(directory, connection, order, claim, status), False
            being_dropped = store.get(connection, order.key)
    if being_dropped is None:
        with connection.begin():
            applications.claim(connection, order.application)
        return claim_key(directory, connection, order, claim, lambda: None)
    finish(directory, connection, being_dropped)
    with connection.begin():
        return _claim(directory, connection, order, claim, lock_row(connection, order.key)), False


def _claim(directory: Directory, connection: Connection, order: Order, claim: str, status: str | None) -> Tenant:
    """Enter the tenant into the registry, or take over its row, which is locked and has the *status*."""
    if status is None:
        before = former.count_former(connection, order.key)
        new = order.new_tenant(1 + before)
        if order.wanted is None and order.policy is not None:
            new = replace(new, database=choose_database(connection, directory.databases, new, order.policy))
        isolation = directory.isolations.for_new(new)
        placement = place(connection, isolation, new)
        obstacle = _find_obstacle(directory, connection, isolation, placement)
        if obstacle is not None:
            if lock_row(connection, order.key) is not None:  # another process has created the tenant meanwhile
                raise TenantExistsError(order.key)
            raise ProvisioningError(order.key, CLAIMING, obstacle)
        tenant = store.add(
            connection,
            key=order.key,
            name=order.name,
            isolation=isolation.name,
            placement=placement,
            claim=claim,
            attributes=order.attributes,
            row_value=order.row_value,
        )
        # The key is reserved only now: a tenant that had it may have been dropped since the count.
        if former.count_former(connection, order.key) > before:
            raise TenantExistsError(order.key)
    elif status in BEING_CREATED:
        begun = store.get(connection, order.key)
        directory.isolations.of(begun)
        if not directory.isolations.fits(begun, isolation=order.isolation, database=order.wanted):
            where = f"in the database {begun.placement.database!r}, with isolation {str(begun.isolation)!r}"
            raise ProvisioningError(order.key, CLAIMING, f"its creation has begun {where}; drop the tenant first")
        again = tenants.update().where(tenants.c.key == order.key)
        values = {
            "status": Status.PROVISIONING,
            "claim": claim,
            "name": order.name,
            "attributes": freeze(order.attributes),
            "row_value": order.row_value,
            "error": None,
        }
        with refusing_values_of_others():
            connection.execute(again.values(values))
        tenant = store.get(connection, order.key)
    else:
        raise TenantExistsError(order.key)
    domains.replace(connection, tenant.id, order.domains)
    return store.get(connection, order.key)


def place(connection: Connection, isolation: Isolation, new: NewTenant) -> Placement:
    """Return the placement of a new tenant: if it has tables of its own, one that no other tenant has had."""
    placement = isolation.place(new)
    # A tenant with another key may have had the name: one that was adopted, for example.
    while not isolation.shares_tables and former.is_former(connection, placement.schema):
        new = replace(new, number=new.number + 1)
        placement = isolation.place(new)
    return placement


def _find_obstacle(
    directory: Directory, connection: Connection, isolation: Isolation, placement: Placement
) -> str | None:
    database = administered_from(isolation, placement)
    try:
        with joined(directory.databases, database, connection) as there:
            if there is not connection:
                other_databases.install(there, database, read_identity(connection))
            return isolation.obstacle_to_create(there, placement)
    except DBAPIError as error:
        # Of the main database, nothing else can be asked then.
        if shares_transaction(directory.databases, database) or (problem := unreachable(database, error)) is None:
            raise
        return problem


def lock_row(connection: Connection, key: str, *, claim: str | None = None) -> str | None:
    """Lock the registry row of *key* and return its status; ``None`` if there is no row (or it has another claim)."""
    query = select(tenants.c.status, LOCKED).where(tenants.c.key == key)
    query = query.with_for_update(nowait=True, key_share=True)
    if claim is not None:
        query = query.where(tenants.c.claim == claim)
    try:
        row = connection.execute(query).one_or_none()
    except DBAPIError as error:
        if sqlstate(error) == "55P03":  # another process is at work on this tenant
            raise TenantExistsError(key) from error
        raise
    if row is None:
        return None
    status, is_free = row
    if not is_free:
        raise TenantExistsError(key)
    return str(status)
