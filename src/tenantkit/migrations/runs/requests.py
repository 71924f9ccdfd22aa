"""The request of a run, for each command: for the run itself, and for the plan that is shown before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.options import MigrateOptions, Options
from tenantkit.migrations.planning.phases import require_no_end
from tenantkit.migrations.planning.plan import Plan, plan_fleet
from tenantkit.migrations.planning.rollback import find_applied, plan_rollback
from tenantkit.migrations.planning.unversioned import refuse_unversioned
from tenantkit.runs import ledger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Command, RevisionGraph
    from tenantkit.migrations.planning.version_tables import PlacementHeads
    from tenantkit.tenant import Tenant

Planner: TypeAlias = "Callable[[Connection, Sequence[Tenant], PlacementHeads], Plan]"
"""Returns the plan of tenants, given the heads of their placements."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The command of a run, its target and its options, with the function that plans it."""

    graph: RevisionGraph
    command: Command
    target: str
    plan: Planner
    options: MigrateOptions

    def __post_init__(self) -> None:
        if self.command != "migrate" and self.options.phase is not None:  # it would limit nothing
            raise ConfigurationError(f"Only a migration has a phase. Leave out phase={self.options.phase!r}.")


def migrating(tenancy: Deployment, target: str, options: Options, function: str = "migrate") -> RunRequest:
    """Return the request of a migration; *options* are the arguments of *function*.

    :raises ConfigurationError: if the environment, the target or an option is wrong.
    """
    chosen = MigrateOptions.of(function, options)
    graph = graph_of(tenancy, "tenant")
    if graph.is_empty:
        raise ConfigurationError(
            f"There are no revisions in {graph.folder}. Write the first with "
            "'tenantkit revision --autogenerate -m initial'."
        )
    graph.require_target("migrate", target)
    if chosen.phase == "expand":
        require_no_end(target)

    def plan(connection: Connection, fleet: Sequence[Tenant], current: PlacementHeads) -> Plan:
        found = plan_fleet(tenancy.isolations, graph, "migrate", target, fleet, current, chosen.phase)
        return refuse_unversioned(connection, tenancy, graph, found)

    return RunRequest(graph, "migrate", target, plan, chosen)


def downgrading(tenancy: Deployment, target: str, options: Options, function: str = "downgrade") -> RunRequest:
    """Return the request of a downgrade; otherwise as `migrating`."""
    return _to_target(tenancy, "downgrade", target, MigrateOptions.of(function, options))


def stamping(tenancy: Deployment, target: str, options: Options, *, purge: bool) -> RunRequest:
    """Return the request of a stamp; otherwise as `migrating`."""
    chosen = MigrateOptions.of("stamp", options)
    if purge:  # a replay needs tenants at one known revision
        chosen = MigrateOptions.of("stamp", {**options, "engine": "alembic"})
    return _to_target(tenancy, "stamp", target, chosen, purge=purge)


def _to_target(
    tenancy: Deployment, command: Command, target: str, options: MigrateOptions, *, purge: bool = False
) -> RunRequest:
    graph = graph_of(tenancy, "tenant")
    graph.require_target(command, target)

    def plan(_: Connection, fleet: Sequence[Tenant], current: PlacementHeads) -> Plan:
        return plan_fleet(tenancy.isolations, graph, command, target, fleet, current, purge=purge)

    return RunRequest(graph, command, target, plan, options)


def taking_back(tenancy: Deployment, run_id: int, options: Options) -> RunRequest:
    """Return the request of the downgrade of a run; otherwise as `migrating`.

    Its plan raises `ConfigurationError` if there is no such run, if it migrated no tenant, or if it was not a
    migration.
    """
    chosen = MigrateOptions.of("downgrade_run", options)
    graph = graph_of(tenancy, "tenant")

    def plan(connection: Connection, fleet: Sequence[Tenant], current: PlacementHeads) -> Plan:
        applied = find_applied(connection, run_id, chosen.selection.tenants)
        concerned = [tenant for tenant in fleet if tenant.key in applied]
        later = ledger.changed_since(connection, run_id)
        return plan_rollback(tenancy.isolations, graph, run_id, applied, later, concerned, current)

    return RunRequest(graph, "downgrade", f"before run {run_id}", plan, chosen)
