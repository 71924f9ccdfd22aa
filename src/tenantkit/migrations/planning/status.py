"""The state of a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.arguments import require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.migrations.environment.targets import graph_of, shared_target
from tenantkit.migrations.planning.phases import limit, require_known
from tenantkit.migrations.planning.version_tables import PlacementHeads, read_heads, read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.status import FleetStatus, PlacementStatus
from tenantkit.registry import store
from tenantkit.runs import ledger
from tenantkit.status import MIGRATED
from tenantkit.tenant import Tenant
from tenantkit.user_code import describe_place

if TYPE_CHECKING:
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.planning.phases import Phase


def status(tenancy: Deployment, *, phase: Phase | None = None) -> FleetStatus:
    """Return the revisions of the shared tables and of every tenant, and the failed migrations.

    Tenants that are being created or dropped are left out.

    :param phase: with ``expand``, tenants at the end of that phase are current.
    :raises ConfigurationError: if there is no such phase.
    """
    require(tenancy=(tenancy, TENANCY))
    require_known(phase)
    graph, shared_graph = graph_of(tenancy, "tenant"), graph_of(tenancy, "shared")
    target = shared_target(tenancy)
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        fleet = store.find(connection, status=MIGRATED)
        current = read_placements(tenancy.databases, connection, tenancy.isolations.targets(fleet))
        shared = read_heads(connection, target.schema)
        failures = {
            key: _reason(row.error, describe_place(row.revision, row.file, row.line))
            for key, row in ledger.last_failures(connection).items()
        }
    states = {found: _state(graph, found, phase) for found in set(current.values())}
    return FleetStatus(
        heads=graph.heads(),
        shared_heads=shared_graph.heads(),
        shared_revision=format_heads(shared) or None,
        shared_is_current=_state(shared_graph, shared, phase) == "current",
        placements=tuple(_place(tenancy, tenant, current, states, failures) for tenant in fleet),
    )


def require_shared_is_current(tenancy: Deployment) -> None:
    """Raise unless the shared tables, which tenants' revisions may refer to, are at their newest revision.

    :raises ConfigurationError: if they are not.
    """
    graph, target = graph_of(tenancy, "shared"), shared_target(tenancy)
    with tenancy.engine.connect() as connection:
        found = read_heads(connection, target.schema)
    if set(found) != set(graph.heads()):
        raise ConfigurationError(
            f"The shared tables are at {format_heads(found) or 'no revision'}, not at {format_heads(graph.heads())}. "
            "Run 'tenantkit migrate' first."
        )


def _place(
    tenancy: Deployment, tenant: Tenant, current: PlacementHeads, states: dict[Heads, str], failures: dict[str, str]
) -> PlacementStatus:
    heads, unreachable = current.get(tenant.placement), current.problem(tenant.placement)
    state = states[heads] if heads is not None else "missing" if unreachable is None else "unreachable"
    reason = unreachable or failures.get(tenant.key, tenancy.isolations.problem(tenant))
    return PlacementStatus(
        key=tenant.key,
        database=tenant.placement.database,
        schema=tenant.schema,
        status=tenant.status,
        revision=format_heads(heads or ()) or None,
        state=state,
        error=None if state == "current" else reason,
        drop_at=tenant.drop_at,
    )


def _reason(error: str, place: str) -> str:
    return f"{as_clause(error)} ({place})" if place else error


def _state(graph: RevisionGraph, found: Heads, phase: Phase | None) -> str:
    if set(found) == set(graph.heads()):
        return "current"
    if not all(graph.knows(revision) for revision in found):
        return "unknown"
    return "current" if phase == "expand" and _is_expanded(graph, found) else "behind"


def _is_expanded(graph: RevisionGraph, found: Heads) -> bool:
    try:
        return limit(graph, "heads", found, "expand") == (format_heads(found) or "base")
    except ConfigurationError:
        return False  # which `migrate` tells
