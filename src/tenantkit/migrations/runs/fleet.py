"""One run over the fleet: its preparation, its plan, its record in the ledger, and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING

from tenantkit.cancellation import Cancellation, handling
from tenantkit.databases.base import group_key, split_key
from tenantkit.databases.reach import in_each
from tenantkit.exceptions import MigrationError
from tenantkit.migrations.environment.env_file import require_usable
from tenantkit.migrations.executors.maintenance import maintenance_for
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import MigrationReport
from tenantkit.migrations.runs.migrator import Migrator
from tenantkit.migrations.runs.reconcile import reconcile
from tenantkit.migrations.runs.requests import RunRequest
from tenantkit.migrations.runs.run import FleetRun
from tenantkit.migrations.runs.waiting import watching_for
from tenantkit.migrations.tasks.connections import limit_jobs, read_room
from tenantkit.naming import is_spare
from tenantkit.postgres.operators import require_operators
from tenantkit.registry import revisions, spares
from tenantkit.runs import ledger, maintenance

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.tenant import Tenant


def run_fleet(
    tenancy: Deployment, request: RunRequest, *, migrate_shared: Callable[[], Outcome | None] = lambda: None
) -> MigrationReport:
    """Prepare, plan, record and execute a run, and return its report.

    :param migrate_shared: called before the tenants' revisions are read.
    :raises MigrationError: with the report, if a tenant failed or the run was stopped.
    :raises ConfigurationError: if an option is wrong; nothing was changed then.
    """
    options = request.options
    with handling() as cancellation, cancellation.interruptible():
        fleet = _prepare(tenancy, request)
        migrator = _migrator(tenancy, request, cancellation)
        watching = watching_for(tenancy, options.progress, fleet)
        # After the checks of all arguments, and before the tenants' revisions are read.
        with watching():
            shared = migrate_shared()
        with ExitStack() as held:
            fleet_run = _open(tenancy, request, fleet, migrator, held)
            maintained = maintenance_for(tenancy, fleet_run.run_id, cancellation, is_wanted=options.maintenance)
            with watching(), cancellation.deferred(), maintained as migrator.around:
                fleet_run.run()
        return _report(request, fleet_run, shared)


def _prepare(tenancy: Deployment, request: RunRequest) -> Sequence[Tenant]:
    """Install the registry, clean up after dead runs, and return the selected tenants."""
    options = request.options
    require_usable(request.graph)
    tenancy.install_reachable()  # the tenants of other databases fail when their revisions are read
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        options.settings.limits.require_sense(connection)
        maintenance.release(connection, tenancy.databases)
        reconcile(tenancy, connection)
        fleet = options.selection.find(connection)
        options.rollout.require_canaries({tenant.key for tenant in fleet})
    return fleet


def _migrator(tenancy: Deployment, request: RunRequest, cancellation: Cancellation) -> Migrator:
    return Migrator(
        tenancy,
        request.graph,
        request.options.settings,
        stop=Event() if request.options.rollout.has_budget else None,
        tell=request.options.progress.advanced,
        cancellation=cancellation,
    )


def _open(
    tenancy: Deployment, request: RunRequest, fleet: Sequence[Tenant], migrator: Migrator, held: ExitStack
) -> FleetRun:
    """Plan the run, and record it in the ledger.

    :param held: gets a connection that keeps spares of the plan from being claimed, if there are any.
    """
    options = request.options
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if request.command == "migrate":
            require_operators(connection, (), extra_schemas=tenancy.extra_schemas, shared=tenancy.tables.shared)
        current = read_placements(tenancy.databases, connection, tenancy.isolations.targets(fleet))
    with ExitStack() as opened:
        connection = opened.enter_context(tenancy.engine.connect())
        with connection.begin():
            plan = request.plan(connection, fleet, current)
            has_spares = any(is_spare(work.tenant.key) for work in plan.work)
            if plan.work:
                names = {group_key(work.tenant.placement.database) for work in plan.work}
                migrator.max_jobs = _limit_jobs(tenancy, connection, request, names, holds=has_spares)
            failed = {outcome.key for outcome in plan.refused}
            planned = [work.tenant for work in plan.work] + [tenant for tenant in fleet if tenant.key in failed]
            run_id = ledger.start_run(
                connection,
                command=request.command,
                target=request.target,
                options=options.recorded,
                planned=[(tenant.id, format_heads(current.get(tenant.placement, ()))) for tenant in planned],
            )
            revisions.write_order(connection, request.graph.order())
            if has_spares:
                connection.detach()  # its end releases the lock
                connection.exec_driver_sql("SET idle_session_timeout = 0")
                spares.hold(connection, run_id)
        if has_spares:
            held.enter_context(opened.pop_all())
    return FleetRun(
        tenancy=tenancy,
        command=request.command,
        run_id=run_id,
        plan=plan,
        ids={tenant.key: tenant.id for tenant in planned},
        rollout=options.rollout,
        migrator=migrator,
        progress=options.progress,
    )


def _limit_jobs(
    tenancy: Deployment, connection: Connection, request: RunRequest, names: Collection[str], *, holds: bool
) -> dict[str, int]:
    """Return the maximum number of jobs in each group of databases, by the free connections of its server."""
    options = request.options
    named = {split_key(name)[0] for name in names}
    reached = in_each(tenancy.databases, connection, named, lambda _, there: read_room(there)).results
    rooms = {name: reached[split_key(name)[0]] for name in names if split_key(name)[0] in reached}
    servers = Counter(room.server for room in rooms.values())
    return {
        name: limit_jobs(
            room,
            jobs=options.settings.jobs,
            max_connections=options.max_connections,
            others=options.maintenance + options.progress.watches_waits + holds,
            databases=servers[room.server],
        )
        for name, room in rooms.items()
    }


def _report(request: RunRequest, fleet_run: FleetRun, shared: Outcome | None) -> MigrationReport:
    """Return the report of a run that has ended.

    :raises MigrationError: with the report, if a tenant failed or the run was stopped.
    """
    plan = fleet_run.plan
    done = tuple(outcome for outcome in fleet_run.outcomes if not outcome.ok or outcome.has_moved)
    report = MigrationReport(
        run_id=fleet_run.run_id,
        command=request.command,
        target=", ".join(sorted(plan.goals)) or request.target,
        shared=shared,
        outcomes=done,
        unchanged=plan.unchanged + len(fleet_run.outcomes) - len(done),
        not_replayed=dict(fleet_run.migrator.reasons),
        stopped=fleet_run.stopped,
        left=fleet_run.left,
    )
    if report.failures or report.stopped is not None:
        raise MigrationError(report)
    return report
