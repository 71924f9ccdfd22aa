"""Migrating a fleet: the shared tables first, then every tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

from typing_extensions import Unpack

from tenantkit.arguments import FLAG, NAME, require, whole
from tenantkit.cancellation import Cancellation, handling
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError, MigrationError
from tenantkit.migrations.environment.env_file import require_usable
from tenantkit.migrations.environment.sites import graph_of
from tenantkit.migrations.executors.maintenance import maintenance_for
from tenantkit.migrations.graph.revision_graph import Command
from tenantkit.migrations.options import MigrateOptions, Options
from tenantkit.migrations.planning.phases import require_no_end
from tenantkit.migrations.planning.plan import Plan, plan_fleet
from tenantkit.migrations.planning.rollback import find_applied, plan_rollback
from tenantkit.migrations.planning.unversioned import refuse_unversioned
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import MigrationReport
from tenantkit.migrations.runs.migrator import Migrator
from tenantkit.migrations.runs.reconcile import reconcile
from tenantkit.migrations.runs.run import FleetRun
from tenantkit.migrations.runs.shared import shared_target, upgrade_shared
from tenantkit.migrations.runs.waiting import watching_for
from tenantkit.migrations.tasks.connections import room_for_jobs
from tenantkit.postgres.operators import require_operators
from tenantkit.registry import revisions
from tenantkit.runs import ledger, maintenance
from tenantkit.tenant import Placement, Tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph


Planner: TypeAlias = "Callable[[Connection, Sequence[Tenant], Mapping[Placement, Heads]], Plan]"


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

    return _run(tenancy, graph, "migrate", target, plan, chosen, shared)


def downgrade(tenancy: Deployment, target: str, **options: Unpack[Options]) -> MigrationReport:
    """Take every tenant back to *target* (an id, ``-1``, ``base``); the shared tables stay. Otherwise as `migrate`."""
    require(tenancy=(tenancy, TENANCY), target=(target, NAME))
    chosen = MigrateOptions.of("downgrade", options)
    graph = graph_of(tenancy, "tenant")
    graph.require_target("downgrade", target)

    def plan(_: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        return plan_fleet(tenancy.isolations, graph, "downgrade", target, fleet, current)

    return _run(tenancy, graph, "downgrade", target, plan, chosen)


def downgrade_run(tenancy: Deployment, run_id: int, **options: Unpack[Options]) -> MigrationReport:
    """Take back what a run did: each tenant that it migrated goes to the revision where the run found it.

    A tenant that has moved on since is not touched, and counts as a failure. Otherwise as `downgrade`.

    :raises ConfigurationError: if there is no such run, if it did nothing, or if it was no migration.
    """
    require(tenancy=(tenancy, TENANCY), run_id=(run_id, whole()))
    chosen = MigrateOptions.of("downgrade_run", options)
    graph = graph_of(tenancy, "tenant")
    tenancy.install()
    with tenancy.engine.begin() as connection:
        reconcile(tenancy, connection, graph)
    applied = find_applied(tenancy, run_id, chosen.selection.tenants)

    def plan(connection: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        concerned = [tenant for tenant in fleet if tenant.key in applied]
        later = ledger.changed_since(connection, run_id)
        return plan_rollback(tenancy.isolations, graph, run_id, applied, later, concerned, current)

    return _run(tenancy, graph, "downgrade", f"before run {run_id}", plan, chosen)


def stamp(tenancy: Deployment, target: str, *, purge: bool = False, **options: Unpack[Options]) -> MigrationReport:
    """Write down that every tenant is at *target*, without running a revision. Otherwise as `migrate`.

    :param purge: delete the rows of each version table first. So a tenant whose revision has no file any more, or whose
        rows contradict each other, can be stamped.
    """
    require(tenancy=(tenancy, TENANCY), target=(target, NAME), purge=(purge, FLAG))
    if purge:
        options["engine"] = "alembic"  # a replay is for tenants at one known revision
    chosen = MigrateOptions.of("stamp", options)
    graph = graph_of(tenancy, "tenant")
    graph.require_target("stamp", target)

    def plan(_: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        return plan_fleet(tenancy.isolations, graph, "stamp", target, fleet, current, purge=purge)

    return _run(tenancy, graph, "stamp", target, plan, chosen)


def usable_graph(tenancy: Deployment, target: str) -> RevisionGraph:
    """Return the tenants' line if *target* can be reached from the beginning."""
    graph = graph_of(tenancy, "tenant")
    if graph.is_empty:
        raise ConfigurationError(
            f"There are no revisions in {graph.folder}. Write the first with "
            "'tenantkit revision --autogenerate -m initial'."
        )
    graph.upgrade_steps(target, ())
    return graph


def _run(
    tenancy: Deployment,
    graph: RevisionGraph,
    command: Command,
    target: str,
    planner: Planner,
    options: MigrateOptions,
    migrate_shared: Callable[[], Outcome | None] = lambda: None,
) -> MigrationReport:
    with handling() as cancellation, cancellation.interruptible():
        return _run_until(tenancy, graph, command, target, planner, options, migrate_shared, cancellation=cancellation)


def _run_until(
    tenancy: Deployment,
    graph: RevisionGraph,
    command: Command,
    target: str,
    planner: Planner,
    options: MigrateOptions,
    migrate_shared: Callable[[], Outcome | None],
    *,
    cancellation: Cancellation,
) -> MigrationReport:
    rollout, settings, progress = options.rollout, options.settings, options.progress
    require_usable(graph)
    tenancy.install()
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        settings.limits.require_sense(connection)
        maintenance.release(connection, tenancy.databases)
        reconcile(tenancy, connection, graph)
        fleet = options.selection.find(connection)
        rollout.require_canaries({tenant.key for tenant in fleet})
    migrator = Migrator(
        tenancy,
        graph,
        settings,
        stop=Event() if rollout.has_budget else None,
        tell=progress.advanced,
        cancellation=cancellation,
    )
    watching = watching_for(tenancy, progress, fleet)
    # Behind all that may be mistyped, and before it is known where tenants are.
    with watching():
        shared = migrate_shared()
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if command == "migrate":
            require_operators(connection, (), extra_schemas=tenancy.extra_schemas, shared=tenancy.tables.shared)
        current = read_placements(tenancy.databases, connection, tenancy.isolations.targets(fleet))
    with tenancy.engine.begin() as connection:
        plan = planner(connection, fleet, current)
        if plan.work:
            migrator.room = room_for_jobs(
                connection,
                jobs=settings.jobs,
                max_connections=options.max_connections,
                others=options.maintenance + progress.watches_waits,
            )
        failed = {outcome.key for outcome in plan.refused}
        planned = [work.tenant for work in plan.work] + [tenant for tenant in fleet if tenant.key in failed]
        run_id = ledger.start_run(
            connection,
            command=command,
            target=target,
            options=options.recorded,
            planned=[(tenant.id, format_heads(current.get(tenant.placement, ()))) for tenant in planned],
        )
        revisions.write_order(connection, graph.order())
    fleet_run = FleetRun(
        tenancy=tenancy,
        command=command,
        run_id=run_id,
        plan=plan,
        ids={tenant.key: tenant.id for tenant in planned},
        rollout=rollout,
        migrator=migrator,
        progress=progress,
    )
    maintained = maintenance_for(tenancy, run_id, cancellation, is_wanted=options.maintenance)
    with watching(), cancellation.deferred(), maintained as migrator.around:
        fleet_run.run()
    done = tuple(outcome for outcome in fleet_run.outcomes if not outcome.ok or outcome.has_moved)
    report = MigrationReport(
        run_id=run_id,
        command=command,
        target=", ".join(sorted(plan.goals)) or target,
        shared=shared,
        outcomes=done,
        unchanged=plan.unchanged + len(fleet_run.outcomes) - len(done),
        not_replayed=dict(migrator.reasons),
        stopped=fleet_run.stopped,
        left=fleet_run.left,
    )
    if report.failures or report.stopped is not None:
        raise MigrationError(report)
    return report
