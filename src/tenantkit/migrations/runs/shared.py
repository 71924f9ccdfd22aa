"""Migration of the shared tables."""

from __future__ import annotations

from contextlib import closing

from sqlalchemy.schema import CreateSchema

from tenantkit.arguments import FLAG, NAME, instance, require
from tenantkit.cancellation import handling
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import MigrationError
from tenantkit.migrations.environment.env_file import require_usable
from tenantkit.migrations.environment.targets import graph_of, shared_target
from tenantkit.migrations.executors.alembic import Alembic
from tenantkit.migrations.graph.revision_graph import Command
from tenantkit.migrations.planning.phases import Phase, limit, require_known
from tenantkit.migrations.planning.unversioned import require_versioned_shared
from tenantkit.migrations.planning.version_tables import read_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import MigrationReport
from tenantkit.migrations.runs.migrator import set_up
from tenantkit.migrations.tasks.engines import Engines
from tenantkit.migrations.tasks.task import Task, run_task
from tenantkit.postgres.limits import POLITE, Limits

SHARED = "(shared)"
"""The key of the shared tables in outcomes; it is not a valid key of a tenant."""

_LIMITS = instance(Limits, "the limits of `tenantkit.postgres.limits.Limits`")


def upgrade_shared(
    tenancy: Deployment, target: str = "head", *, phase: Phase | None = None, limits: Limits = POLITE
) -> Outcome | None:
    """Bring the shared tables to *target*, and return the outcome; ``None`` if they were at the target.

    :param phase: with ``expand``, only as far as the last revision before the first that contracts.
    :raises MigrationError: if it failed.
    """
    return _run(tenancy, "migrate", target, phase, limits)


def shared_revision(target: str) -> str:
    """Return the revision of the shared tables when tenants go to *target*: all newest revisions.

    As everywhere, ``head`` is refused if there are several newest revisions.
    """
    return "head" if target == "head" else "heads"


def downgrade_shared(tenancy: Deployment, target: str) -> Outcome | None:
    """Take the shared tables back to *target*; otherwise as `upgrade_shared`."""
    return _run(tenancy, "downgrade", target)


def stamp_shared(tenancy: Deployment, target: str, *, purge: bool = False) -> Outcome | None:
    """Record that the shared tables are at *target*; otherwise as `upgrade_shared`.

    :param purge: see `stamp`.
    """
    require(purge=(purge, FLAG))
    return _run(tenancy, "stamp", target, purge=purge)


def _run(
    tenancy: Deployment,
    command: Command,
    target: str,
    phase: Phase | None = None,
    limits: Limits = POLITE,
    *,
    purge: bool = False,
) -> Outcome | None:
    require(tenancy=(tenancy, TENANCY), target=(target, NAME), limits=(limits, _LIMITS))
    require_known(phase)
    graph = graph_of(tenancy, "shared")
    if graph.is_empty:
        return None
    require_usable(graph)
    if command != "migrate":
        graph.require_target(command, target)
    tables = shared_target(tenancy)
    with tenancy.engine.begin() as connection:
        for schema in tenancy.shared_schemas:
            connection.execute(CreateSchema(schema, if_not_exists=True))
        current = read_heads(connection, tables.schema)
        target = limit(graph, target, current, phase)
        if command == "migrate":
            require_versioned_shared(connection, tenancy, graph, current, target)
    if (graph.resolve(target) == current) if purge else not graph.steps(command, target, current):
        return None
    # Not a connection of the application's: a revision may leave state in its session.
    engines = Engines(set_up(tenancy, graph, limits, is_sent=False).open)
    task = Task(key=SHARED, target=tables, command=command, revision=target, purge=purge)
    with handling() as cancellation:
        alembic = Alembic(engines, graph, limits, placements_per_connection=1, cancellation=cancellation)
        with closing(alembic):
            outcome = run_task(task, alembic, cancellation)
    if not outcome.ok:
        raise MigrationError(
            MigrationReport(run_id=0, command=command, target=target, shared=outcome, outcomes=(outcome,), unchanged=0)
        )
    return outcome
