"""Changes of a tenant's status: functions of a connection, in the caller's transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, update

from tenantkit.exceptions import IllegalTransitionError
from tenantkit.isolation.isolations import Isolations
from tenantkit.registry import store
from tenantkit.registry.tables import tenants
from tenantkit.status import Status
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


def move(connection: Connection, isolations: Isolations, key: str, wanted: Status) -> Tenant:
    """Move a tenant to the status *wanted* for a user or a webhook; do nothing if it has that status already.

    Raises as `transition` does.
    """
    tenant = store.lock(connection, isolations, key)
    if tenant.status is not wanted:
        return transition(connection, isolations, key, wanted)
    # A run no longer ends maintenance that it has begun: it is the operator's now.
    connection.execute(
        update(tenants).where(tenants.c.id == tenant.id, tenants.c.claim.is_not(None)).values(claim=None)
    )
    return tenant
