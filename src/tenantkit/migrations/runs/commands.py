"""Migrating a fleet: the shared tables first, then every tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from typing_extensions import Unpack

from tenantkit.arguments import FLAG, NAME, require, whole
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.sites import graph_of
from tenantkit.migrations.options import MigrateOptions, Options
from tenantkit.migrations.planning.phases import require_no_end
from tenantkit.migrations.planning.plan import Plan, plan_fleet
from tenantkit.migrations.planning.rollback import find_applied, plan_rollback
from tenantkit.migrations.planning.unversioned import refuse_unversioned
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import MigrationReport
from tenantkit.migrations.runs.fleet import RunRequest, run_fleet
from tenantkit.migrations.runs.shared import shared_target, upgrade_shared
from tenantkit.runs import ledger
from tenantkit.tenant import Placement, Tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph


def migrate(tenancy: Deployment, target: str = "head", **options: Unpack[Options]) -> MigrationReport:
    """Bring the registry and the shared tables to their newest version, then every tenant to *target*.

    Each tenant has a transaction of its own. A tenant that fails keeps the revision it had,
    and the others go on; running the same again takes up those that are not done. Runs at the same time share the
    work.

    :param target: a revision as Alembic takes it: ``head``, ``heads``, an id or its beginning, ``+1``.
    :param options: see `Options`.
    :raises MigrationError: with the report, if a tenant failed or the run was stopped.
    :raises ConfigurationError: if the environment, the target or an option is wrong; nothing was changed then.
    """
    require(tenancy=(tenancy, TENANCY), target=(target, NAME))
    chosen = MigrateOptions.of("migrate", options)
    graph = usable_graph(tenancy, target)
    phase = chosen.phase
    if phase == "expand":
        require_no_end(target)

    def shared() -> Outcome | None:
        return upgrade_shared(tenancy, shared_target(target), phase=phase, limits=chosen.settings.limits)

    def plan(connection: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        found = plan_fleet(tenancy.isolations, graph, "migrate", target, fleet, current, phase)
        return refuse_unversioned(connection, tenancy, graph, found)

    return run_fleet(tenancy, RunRequest(graph, "migrate", target, plan, chosen, shared))


def downgrade(tenancy: Deployment, target: str, **options: Unpack[Options]) -> MigrationReport:
    """Take every tenant back to *target* (an id, ``-1``, ``base``); the shared tables stay. Otherwise as `migrate`."""
    require(tenancy=(tenancy, TENANCY), target=(target, NAME))
    chosen = MigrateOptions.of("downgrade", options)
    graph = graph_of(tenancy, "tenant")
    graph.require_target("downgrade", target)

    def plan(_: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        return plan_fleet(tenancy.isolations, graph, "downgrade", target, fleet, current)

    return run_fleet(tenancy, RunRequest(graph, "downgrade", target, plan, chosen))


def downgrade_run(tenancy: Deployment, run_id: int, **options: Unpack[Options]) -> MigrationReport:
    """Take back what a run did: each tenant that it migrated goes to the revision where the run found it.

    A tenant that has moved on since is not touched, and counts as a failure. Otherwise as `downgrade`.

    :raises ConfigurationError: if there is no such run, if it did nothing, or if it was no migration.
    """
    require(tenancy=(tenancy, TENANCY), run_id=(run_id, whole()))
    chosen = MigrateOptions.of("downgrade_run", options)
    graph = graph_of(tenancy, "tenant")

    def plan(connection: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        applied = find_applied(tenancy, run_id, chosen.selection.tenants)
        concerned = [tenant for tenant in fleet if tenant.key in applied]
        later = ledger.changed_since(connection, run_id)
        return plan_rollback(tenancy.isolations, graph, run_id, applied, later, concerned, current)

    return run_fleet(tenancy, RunRequest(graph, "downgrade", f"before run {run_id}", plan, chosen))


def stamp(tenancy: Deployment, target: str, *, purge: bool = False, **options: Unpack[Options]) -> MigrationReport:
    """Write down that every tenant is at *target*, without running a revision. Otherwise as `migrate`.

    :param purge: delete the rows of each version table first. So a tenant whose revision has no file any more, or whose
        rows contradict each other, can be stamped.
    """
    require(tenancy=(tenancy, TENANCY), target=(target, NAME), purge=(purge, FLAG))
    chosen = MigrateOptions.of("stamp", options)
    if purge:  # a replay is for tenants at one known revision
        chosen = MigrateOptions.of("stamp", {**options, "engine": "alembic"})
    graph = graph_of(tenancy, "tenant")
    graph.require_target("stamp", target)

    def plan(_: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        return plan_fleet(tenancy.isolations, graph, "stamp", target, fleet, current, purge=purge)

    return run_fleet(tenancy, RunRequest(graph, "stamp", target, plan, chosen))


def usable_graph(tenancy: Deployment, target: str) -> RevisionGraph:
    """Return the graph of the tenant revisions if *target* can be reached from the beginning."""
    graph = graph_of(tenancy, "tenant")
    if graph.is_empty:
        raise ConfigurationError(
            f"There are no revisions in {graph.folder}. Write the first with "
            "'tenantkit revision --autogenerate -m initial'."
        )
    graph.upgrade_steps(target, ())
    return graph
