"""Drops with a grace period: the tenant is not served any more, and can be kept until its time has come.

Its data, key and domains stay, and migrations include it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from tenantkit.arguments import FLAG, FUNCTION, Kind, optional, require, require_done
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ProvisioningError
from tenantkit.lifecycle.drop import begin, finish
from tenantkit.lifecycle.operation import operating
from tenantkit.postgres.errors import reason
from tenantkit.registry import statuses, store
from tenantkit.registry.directory import Directory
from tenantkit.status import Status
from tenantkit.tenant import KEY, Tenant

GRACE = Kind(
    "a datetime.timedelta of more than 0 and at most 100 years",
    lambda each: isinstance(each, timedelta),
    lambda each: timedelta(0) < each <= timedelta(days=36_525),
)


@dataclass(frozen=True, slots=True)
class DueDrops:
    """The result of `drop_due`."""

    dropped: tuple[Tenant, ...]
    """The tenants as they were before."""
    failures: Mapping[str, str]
    """The reasons by key; these tenants stay."""


def schedule_drop(directory: Directory, connection: Connection, key: str, after: timedelta) -> Tenant:
    """Stop serving a tenant, and let `drop_due` drop it after a time; return its new state.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises IllegalTransitionError: if it is being created, or dropped already.
    """
    with connection.begin():
        return statuses.schedule_drop(connection, directory.isolations, key, after)


def cancel_drop(tenancy: Deployment, key: str) -> Tenant:
    """Give a tenant whose drop is scheduled the status that it had, and return it; nothing changes if none is.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises IllegalTransitionError: if it is being created, or dropped already.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY))
    with tenancy.lookups.forgetting(key), operating(tenancy) as connection, connection.begin():
        return statuses.cancel_drop(connection, tenancy.isolations, key)


def drop_due(
    tenancy: Deployment, *, before: Callable[[Tenant], object] | None = None, dry_run: bool = False
) -> DueDrops:
    """Drop all tenants whose time has come, one after another, and finish such removals that were interrupted.

    A tenant that fails does not stop the others.

    :param before: called with each tenant before its removal begins, to back it up for example::

            drop_due(tenancy, before=lambda tenant: transfer.backup(tenancy, tenant.key, f"{tenant.key}.tenant"))

        An error of it keeps the tenant, and so does a rename, or a swap, meanwhile; the next call tries again.
    :param dry_run: change nothing, and return the tenants whose time has come.
    """
    require(tenancy=(tenancy, TENANCY), before=(before, optional(FUNCTION)), dry_run=(dry_run, FLAG))
    dropped: list[Tenant] = []
    failures: dict[str, str] = {}
    with tenancy.engine.connect() as connection:
        due = statuses.find_due(connection)
    if dry_run:
        return DueDrops(tuple(due), {})
    for listed in due:
        key = listed.key
        try:
            with tenancy.engine.connect() as connection:
                now = statuses.find_due(connection, listed.id)  # the drops before it may have taken hours
            for tenant in now:
                key = tenant.key
                if before is not None and tenant.status is Status.DROP_SCHEDULED:
                    require_done("before", before(tenant))
                with tenancy.lookups.forgetting(key), operating(tenancy) as connection:
                    if _drop(tenancy, connection, tenant):
                        dropped.append(tenant)
        except Exception as error:  # noqa: BLE001 - also of the caller's function
            failures[key] = reason(error)
    return DueDrops(tuple(dropped), failures)


def _drop(directory: Directory, connection: Connection, tenant: Tenant) -> bool:
    """Drop a tenant unless that was cancelled, or done, meanwhile; return whether it is dropped now."""
    with connection.begin():
        if not store.lock_by_id(connection, tenant.id):
            return False
        now = store.get_again(tenant, connection, tenant.key)
        if now.status is not Status.DROPPING:
            if not statuses.is_due(connection, tenant.id):
                return False
            if (now.key, now.placement, now.drop_at) != (tenant.key, tenant.placement, tenant.drop_at):
                why = "it was renamed, swapped or scheduled again meanwhile, so it stays until the next call"
                raise ProvisioningError(now.key, "dropping", why)
            begin(directory, connection, now)
    finish(directory, connection, now)
    return True
