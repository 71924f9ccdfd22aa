"""Changes of a tenant's status: functions of a connection, in the caller's transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select, update

from tenantkit.exceptions import IllegalTransitionError
from tenantkit.isolation.isolations import Isolations
from tenantkit.registry import store
from tenantkit.registry.tables import tenants
from tenantkit.status import COMPLETE, Status
from tenantkit.tenant import Tenant


def transition(connection: Connection, isolations: Isolations, /, key: str, wanted: Status, **values: Any) -> Tenant:
    """Move a tenant to the status *wanted*, and set the columns *values*; return its new state.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises IllegalTransitionError: if its status does not permit the step.
    """
    status = Status(store.lock(connection, isolations, key).status)
    if not status.may_become(wanted):
        raise IllegalTransitionError(key, status, wanted)
    connection.execute(
        update(tenants).where(tenants.c.key == key).values(status=wanted, claim=None, updated_at=func.now(), **values)
    )
    return store.get(connection, key)


def complete(connection: Connection, tenant: Tenant, status: Status) -> Tenant:
    """Give a tenant whose row the caller has locked the *status* after its creation; return its new state."""
    values = {"status": status, "claim": None, "error": None, "updated_at": func.now()}
    changed = update(tenants).where(tenants.c.id == tenant.id).values(values).returning(tenants.c.updated_at)
    return replace(tenant, status=status, updated_at=connection.execute(changed).scalar_one())


def move(
    connection: Connection,
    isolations: Isolations,
    key: str,
    wanted: Status,
    message: str | None,
    until: datetime | None,
) -> Tenant:
    """Move a tenant to the status *wanted* for a user or a webhook, with what its visitors are told meanwhile.

    Nothing changes if it has that status, and says that, already. Raises as `transition` does.
    """
    tenant = store.lock(connection, isolations, key)
    said = {"message": message, "until": until}
    if tenant.status is not wanted:
        return transition(connection, isolations, key, wanted, **said)
    # A run no longer ends maintenance that it has begun: it is the operator's now.
    own = update(tenants).where(tenants.c.id == tenant.id)
    connection.execute(own.where(tenants.c.claim.is_not(None)).values(claim=None))
    if (tenant.message, tenant.until) == (message, until):
        return tenant
    connection.execute(own.values(**said, updated_at=func.now()))
    return store.get(connection, key)


def schedule_drop(connection: Connection, isolations: Isolations, key: str, after: timedelta) -> Tenant:
    """Let a tenant be dropped after a time, or at another one if it is to be already; raises as `transition` does."""
    before = case(
        (tenants.c.status == Status.DROP_SCHEDULED, tenants.c.status_before),
        (tenants.c.claim.startswith("run "), Status.ACTIVE),  # a run's maintenance, which ends with the run
        else_=tenants.c.status,
    )
    times = {"drop_at": func.now() + after, "status_before": before}
    return transition(connection, isolations, key, Status.DROP_SCHEDULED, **times)


def cancel_drop(connection: Connection, isolations: Isolations, key: str) -> Tenant:
    """Give a tenant whose drop is scheduled the status that it had; do nothing if there is nothing to cancel.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises IllegalTransitionError: if it is being created, or dropped already.
    """
    tenant = store.lock(connection, isolations, key)
    if tenant.status not in COMPLETE:
        raise IllegalTransitionError(key, Status(tenant.status), Status.ACTIVE)
    connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant.id, tenants.c.status == Status.DROP_SCHEDULED)
        .values(status=tenants.c.status_before, status_before=None, drop_at=None, updated_at=func.now())
    )
    return store.get(connection, key)


def find_due(connection: Connection, tenant_id: int | None = None) -> list[Tenant]:
    """Return the tenants, or that one, whose time to be dropped has come, also those whose removal has begun."""
    ids = select(tenants.c.id).where(tenants.c.drop_at <= func.now()).order_by(tenants.c.drop_at, tenants.c.id)
    if tenant_id is not None:
        ids = ids.where(tenants.c.id == tenant_id)
    found = (store.get_by_id(connection, each) for each in connection.execute(ids).scalars().all())
    return [tenant for tenant in found if tenant is not None]


def is_due(connection: Connection, tenant_id: int) -> bool:
    """Return whether a tenant's time to be dropped has come, and its removal has not begun."""
    query = select(tenants.c.id).where(tenants.c.id == tenant_id, tenants.c.status == Status.DROP_SCHEDULED)
    return connection.execute(query.where(tenants.c.drop_at <= func.now())).first() is not None
