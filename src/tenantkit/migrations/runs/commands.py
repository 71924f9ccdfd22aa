"""Migrating a fleet: the shared tables first, then every tenant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from threading import Event
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from typing_extensions import Unpack

from tenantkit.arguments import FLAG, NAME, require, whole
from tenantkit.cancellation import Cancellation, handling
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError, MigrationError
from tenantkit.frozen import freeze
from tenantkit.migrations.environment.env_file import require_usable
from tenantkit.migrations.environment.sites import graph_of
from tenantkit.migrations.executors.maintenance import maintenance_for
from tenantkit.migrations.graph.revision_graph import Command
from tenantkit.migrations.planning.phases import Phase, require_known, require_no_end
from tenantkit.migrations.planning.plan import Plan, plan_fleet
from tenantkit.migrations.planning.rollback import find_applied, plan_rollback
from tenantkit.migrations.planning.rollout import Check, OnError, Rollout
from tenantkit.migrations.planning.selection import Order, Selection
from tenantkit.migrations.planning.unversioned import refuse_unversioned
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.progress import AdvanceProgress, NoProgress, Progress, WaitProgress
from tenantkit.migrations.results.report import MigrationReport
from tenantkit.migrations.runs.migrator import EngineName, Migrator, Settings
from tenantkit.migrations.runs.option_kinds import check_options
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


class Options(TypedDict, total=False):
    """What `migrate`, `downgrade`, `downgrade_run` and `stamp` take besides.

    ``None`` is as if left out.
    """

    tenants: Collection[str] | None
    """Only the tenants with these keys."""
    exclude: Collection[str] | None
    """Not the tenants with these keys."""
    where: Mapping[str, Any] | None
    """Only the tenants whose attributes contain all of these."""
    order: Order | None
    """Who comes first: by ``key``, which is the default, ``newest``, ``oldest`` or ``random``."""
    canary: int | Collection[str] | None
    """Who goes before all others, in a wave of their own: so many, the first in the order; or those with these keys."""
    waves: Sequence[float] | None
    """In which parts the others follow: how many per cent of them are done by the end of each wave, rising to 100."""
    pause: float | None
    """How many seconds to wait after each wave but the last."""
    check: Check | None
    """Called with each `Wave` but the last, after the pause; if there is only one, before it, with wave 0. If it raises
    or returns ``False``, the run stops."""
    max_failures: int | str | None
    """Stop when more tenants have failed: a number, or a share such as ``"2%"`` of those that have something to do."""
    on_error: OnError | None
    """``continue``, by default, or ``stop`` after the first failure. Tenants that have begun are finished."""
    maintenance: bool | None
    """Whether each tenant that is active is in maintenance while it is migrated."""
    jobs: int | None
    """How many connections replay at most, by default eight: there are more than two as long as that gets more done.
    And how many worker processes run Alembic, by default one for each core. 0 runs Alembic in this process, which a
    debugger can follow."""
    max_connections: int | None
    """How many connections the run may take in all, those for the ledger and for rehearsals counted; by default as many
    as the server has free. There are fewer jobs then; asked for more, the run is refused."""
    engine: EngineName
    """``auto``, by default: what Alembic sent to the first tenants is replayed for the others where that is safe, else
    Alembic runs for each. ``replay`` refuses what cannot be replayed, ``alembic`` replays nothing."""
    lock_timeout: str
    """How long a statement waits for a lock before the tenant is tried again later, as PostgreSQL takes it: ``2s``."""
    statement_timeout: str | None
    """How long a statement may take; the server's own setting by default."""
    phase: Phase | None
    """``expand`` goes only as far as the last revision before the first that contracts, by default all the way."""
    progress: Progress | None
    """Is told of every outcome as it comes."""


_SELECTION = ("tenants", "exclude", "where", "order")
_ROLLOUT = ("canary", "waves", "pause", "check", "max_failures", "on_error")
_WRITTEN_DOWN = (
    "exclude",
    "where",
    "order",
    "canary",
    "waves",
    "pause",
    "max_failures",
    "on_error",
    "maintenance",
    "phase",
    "max_connections",
)
_SETTINGS = ("jobs", "engine", "lock_timeout", "statement_timeout")

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
    check_options("migrate", options)
    graph = usable_graph(tenancy, target)
    phase = options.get("phase")
    if phase == "expand":
        require_no_end(target)

    def shared() -> Outcome | None:
        return upgrade_shared(tenancy, shared_target(target), phase=phase, limits=settings_of(options).limits)

    def plan(connection: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        found = plan_fleet(tenancy.isolations, graph, "migrate", target, fleet, current, phase)
        return refuse_unversioned(connection, tenancy, graph, found)

    return _run(tenancy, graph, "migrate", target, plan, options, shared)


def downgrade(tenancy: Deployment, target: str, **options: Unpack[Options]) -> MigrationReport:
    """Take every tenant back to *target* (an id, ``-1``, ``base``); the shared tables stay. Otherwise as `migrate`."""
    require(tenancy=(tenancy, TENANCY), target=(target, NAME))
    check_options("downgrade", options)
    graph = graph_of(tenancy, "tenant")
    graph.require_target("downgrade", target)
    return _run(tenancy, graph, "downgrade", target, _towards(tenancy, graph, "downgrade", target), options)


def downgrade_run(tenancy: Deployment, run_id: int, **options: Unpack[Options]) -> MigrationReport:
    """Take back what a run did: each tenant that it migrated goes to the revision where the run found it.

    A tenant that has moved on since is not touched, and counts as a failure. Otherwise as `downgrade`.

    :raises ConfigurationError: if there is no such run, if it did nothing, or if it was no migration.
    """
    require(tenancy=(tenancy, TENANCY), run_id=(run_id, whole()))
    check_options("downgrade_run", options)
    graph = graph_of(tenancy, "tenant")
    tenancy.install()
    with tenancy.engine.begin() as connection:
        reconcile(tenancy, connection, graph)
    applied = find_applied(tenancy, run_id, options.get("tenants"))

    def plan(connection: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
        concerned = [tenant for tenant in fleet if tenant.key in applied]
        later = ledger.changed_since(connection, run_id)
        return plan_rollback(tenancy.isolations, graph, run_id, applied, later, concerned, current)

    return _run(tenancy, graph, "downgrade", f"before run {run_id}", plan, options)


def stamp(tenancy: Deployment, target: str, *, purge: bool = False, **options: Unpack[Options]) -> MigrationReport:
    """Write down that every tenant is at *target*, without running a revision. Otherwise as `migrate`.

    :param purge: delete the rows of each version table first. So a tenant whose revision has no file any more, or whose
        rows contradict each other, can be stamped.
    """
    require(tenancy=(tenancy, TENANCY), target=(target, NAME), purge=(purge, FLAG))
    check_options("stamp", options)
    graph = graph_of(tenancy, "tenant")
    graph.require_target("stamp", target)
    if purge:
        options["engine"] = "alembic"  # a replay is for tenants at one known revision

        def plan(_: Connection, fleet: Sequence[Tenant], current: Mapping[Placement, Heads]) -> Plan:
            return plan_fleet(tenancy.isolations, graph, "stamp", target, fleet, current, purge=True)

        return _run(tenancy, graph, "stamp", target, plan, options)
    return _run(tenancy, graph, "stamp", target, _towards(tenancy, graph, "stamp", target), options)


def policy(options: Options) -> tuple[Selection, Rollout]:
    """Return for whom a run with these *options* is, and how it goes through them.

    :raises ConfigurationError: if an option makes no sense.
    """
    require_known(options.get("phase"))
    return Selection(**_given(options, _SELECTION)), Rollout(**_given(options, _ROLLOUT))


def settings_of(options: Options) -> Settings:
    """Return how a run with these *options* goes about a placement.

    :raises ConfigurationError: if there is no such engine.
    """
    return Settings(**_given(options, _SETTINGS))


def _given(options: Options, names: Sequence[str]) -> dict[str, Any]:
    return {name: options[name] for name in names if options.get(name) is not None}  # type: ignore[literal-required]


def _as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    plain = (str, float, int)
    return {
        name: value if isinstance(value, plain) else freeze(value if isinstance(value, Mapping) else list(value))
        for name, value in options.items()
    }


def _towards(tenancy: Deployment, graph: RevisionGraph, command: Command, target: str) -> Planner:
    return lambda _, fleet, current: plan_fleet(tenancy.isolations, graph, command, target, fleet, current)


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
    options: Options,
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
    options: Options,
    migrate_shared: Callable[[], Outcome | None],
    *,
    cancellation: Cancellation,
) -> MigrationReport:
    selection, rollout = policy(options)
    settings = settings_of(options)
    require_usable(graph)
    tenancy.install()
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        settings.limits.require_sense(connection)
        maintenance.release(connection)
        reconcile(tenancy, connection, graph)
        fleet = selection.find(connection)
        rollout.require_canaries({tenant.key for tenant in fleet})
    progress = options.get("progress") or NoProgress()
    migrator = Migrator(
        tenancy,
        graph,
        settings,
        stop=Event() if rollout.has_budget else None,
        tell=progress.advanced if isinstance(progress, AdvanceProgress) else None,
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
                max_connections=options.get("max_connections"),
                others=bool(options.get("maintenance")) + isinstance(progress, WaitProgress),
            )
        failed = {outcome.key for outcome in plan.refused}
        planned = [work.tenant for work in plan.work] + [tenant for tenant in fleet if tenant.key in failed]
        run_id = ledger.start_run(
            connection,
            command=command,
            target=target,
            options=asdict(settings) | _as_json(_given(options, _WRITTEN_DOWN)),
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
    keeps = bool(options.get("maintenance"))
    maintained = maintenance_for(tenancy, run_id, cancellation, is_wanted=keeps)
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
