"""The plan of a drop, for a person to read before it."""

from __future__ import annotations

from dataclasses import dataclass

from tenantkit.arguments import require
from tenantkit.databases.base import joined
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ProvisioningError
from tenantkit.isolation.base import administered_from
from tenantkit.lifecycle.drop import check_removable, require_settled
from tenantkit.lifecycle.operation import operating
from tenantkit.registry import store
from tenantkit.tenant import KEY, Tenant


@dataclass(frozen=True, slots=True)
class DropPlan:
    """What a drop of a tenant would do."""

    tenant: Tenant
    steps: tuple[str, ...]
    """Descriptions of what would be done."""
    obstacles: tuple[str, ...]
    """The errors that it would raise before it changes anything."""


def preview_drop(tenancy: Deployment, key: str) -> DropPlan:
    """Return what `tenantkit.Tenancy.drop` would do, and change nothing.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises TenantUnavailableError: if this version of tenantkit does not know its isolation or its database.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY))
    with operating(tenancy) as connection, connection.begin():
        tenant = store.get(connection, key)
        isolation = tenancy.isolations.of(tenant)
        obstacles: tuple[str, ...] = ()
        try:
            require_settled(connection, tenant)
            check_removable(tenancy, connection, tenant)
        except ProvisioningError as error:
            obstacles = (str(error),)
        with joined(tenancy.databases, administered_from(isolation, tenant.placement), connection) as there:
            steps = isolation.removal_steps(there, tenant)
    return DropPlan(
        tenant,
        ("set the status 'dropping', so that no session begins", *steps, "remove the tenant from the registry"),
        obstacles,
    )
