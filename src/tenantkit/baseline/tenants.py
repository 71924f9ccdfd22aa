"""The living tenants: whether a baseline leaves them as they are, and those with which it is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.databases.base import shares_transaction
from tenantkit.deployment import Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.naming import first_lines
from tenantkit.registry import store
from tenantkit.registry.versions import installed_version
from tenantkit.revision_files import included
from tenantkit.status import MIGRATED

if TYPE_CHECKING:
    from collections.abc import Collection

    from tenantkit.migrations.graph.revision_graph import RevisionGraph
    from tenantkit.tenant import Tenant


def require_reached(
    tenancy: Deployment, graph: RevisionGraph, revision: str, replaced: Collection[str]
) -> Tenant | None:
    """Return a tenant that is at *revision*, with a schema in the main database, if there is one.

    Every tenant has to be at *revision* or above it, and at none of the revisions to be *replaced*.

    :raises ConfigurationError: if one is not, cannot be reached, or shares its tables with others.
    """
    order = graph.order()
    with tenancy.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        fleet = store.find(connection, status=MIGRATED) if installed_version(connection) else []
        targets = tenancy.isolations.targets(fleet)
        current = read_placements(tenancy.databases, connection, targets)
    if any(target.column is not None for target in targets.values()):
        raise ConfigurationError(
            "Tenants share common tables, which only operations such as op.create_table() make; a baseline is SQL. "
            "Keep the revisions."
        )
    if lost := [each.key for each in fleet if each.placement not in current]:
        raise ConfigurationError(f"The revisions of {first_lines(lost)} cannot be read. Run 'tenantkit status' first.")
    below = {
        each.key: current[each.placement]
        for each in fleet
        if not any(head in order and revision in included(order, head) for head in current[each.placement])
        or {*replaced} & {*current[each.placement]}
    }
    if below:
        behind = first_lines(f"{key} at {format_heads(heads) or 'no revision'}" for key, heads in below.items())
        raise ConfigurationError(
            f"Tenants are not at {revision} or above: {behind}. They would have no way there any more: run 'tenantkit "
            f"migrate {revision}' first, with code that has their revisions."
        )
    there = (each for each in fleet if shares_transaction(tenancy.databases, each.placement.database))
    return next((each for each in there if current[each.placement] == (revision,)), None)


def choose_tenant(tenancy: Deployment, key: str, revision: str) -> Tenant:
    """Return the tenant *key*, which has to be at *revision* and have a schema of its own in the main database.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises ConfigurationError: if it is elsewhere, or at another revision.
    """
    with tenancy.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        tenant = store.get(connection, key)
        heads = read_placements(tenancy.databases, connection, [tenant.placement]).get(tenant.placement)
    if not shares_transaction(tenancy.databases, tenant.placement.database):
        raise ConfigurationError(
            f"The tenant {key!r} is in the database {tenant.placement.database!r}, where tables have no keys to shared "
            "tables. Name one in the main database."
        )
    if heads != (revision,):
        raise ConfigurationError(
            f"The tenant {key!r} is at {format_heads(heads or ()) or 'no revision'}, not at {revision}. Name another "
            "tenant, or another revision."
        )
    return tenant
