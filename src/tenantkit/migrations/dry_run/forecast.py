"""The plan of a downgrade or a stamp, for the confirmation before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import by_database
from tenantkit.migrations.dry_run.preview import install_to_read, placements_of, plan_group
from tenantkit.migrations.environment.targets import graph_of, shared_target
from tenantkit.migrations.executors.trial import rolled_back
from tenantkit.migrations.planning.plan import group
from tenantkit.migrations.planning.version_tables import read_heads, read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.planned import PlannedGroup, PlannedPlacement
from tenantkit.migrations.runs.reconcile import reconcile
from tenantkit.migrations.runs.requests import RunRequest
from tenantkit.migrations.runs.shared import SHARED
from tenantkit.postgres.limits import POLITE
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.registry import versions

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep
    from sqlalchemy import Engine

    from tenantkit.databases.base import Databases
    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Command, Heads, RevisionGraph
    from tenantkit.tenant import Placement

_TABLES = text(
    """
    SELECT nspname AS schema, relname AS name, relforcerowsecurity AS hides_rows
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY(:schemas) AND relname = ANY(:names) AND relkind IN ('f', 'm', 'p', 'r')
    ORDER BY 1, 2
    """
)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The steps of placements from their current revisions."""

    graph: RevisionGraph
    groups: tuple[PlannedGroup, ...]
    """Placements by their current revision, without those that have nothing to do or are refused."""
    where: tuple[Placement, ...] = ()
    """The placements whose tables are changed."""

    @property
    def placements(self) -> tuple[PlannedPlacement, ...]:
        """The placements that would change."""
        return tuple(placement for group in self.groups for placement in group.placements)

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions that would be reversed."""
        return tuple(dict.fromkeys(step.revision for group in self.groups for step in group.steps))


def forecast(tenancy: Deployment, request: RunRequest) -> Forecast:
    """Return the plan of a run for the tenants.

    :raises ConfigurationError: if nothing can be planned.
    """
    graph = request.graph
    with rolled_back(tenancy.engine) as connection:
        install_to_read(connection)
        fleet = request.options.selection.find(connection)
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        current = read_placements(tenancy.databases, connection, tenancy.isolations.targets(fleet))
    with rolled_back(tenancy.engine) as connection:
        versions.install(connection)
        reconcile(tenancy, connection)
        plan = request.plan(connection, fleet, current)
    groups = tuple(
        _group(graph, request.command, alike.heads, alike.target, placements_of(work), purge=plan.purge)
        for alike, work in group(plan.work).items()
    )
    return Forecast(graph, groups, tuple(each.tenant.placement for each in plan.work))


def forecast_shared(tenancy: Deployment, command: Command, target: str, *, purge: bool = False) -> Forecast:
    """Return the plan of *command* for the shared tables; raises as `forecast` does."""
    graph, tables = graph_of(tenancy, "shared"), shared_target(tenancy)
    if graph.is_empty:
        return Forecast(graph, ())
    graph.require_target(command, target)
    with tenancy.engine.connect() as connection:
        heads = read_heads(connection, tables.schema)
    found = _group(graph, command, heads, target, [PlannedPlacement(key=SHARED, schema=tables.schema)], purge=purge)
    return Forecast(graph, () if found.from_revision == found.to_revision else (found,), (tables.placement,))


def _group(
    graph: RevisionGraph,
    command: Command,
    heads: Heads,
    target: str,
    placements: Sequence[PlannedPlacement],
    *,
    purge: bool,
) -> PlannedGroup:
    steps: Sequence[MigrationStep] = () if purge else graph.steps(command, target, heads)
    found = plan_group(graph, () if purge else heads, steps, placements)
    if not purge:
        return found
    return replace(
        found, from_revision=format_heads(heads) or None, to_revision=format_heads(graph.resolve(target)) or None
    )


def find_rows(databases: Databases, tables: Mapping[Placement, Collection[str]]) -> tuple[str, str] | None:
    """Return the schema and the name of one of *tables* that has rows; ``None`` if none has.

    A table that cannot be read, or hides rows, counts as a table with rows.

    :param tables: names by placement. Those that do not exist are left out.
    """
    for database, placements in by_database(databases, tables).items():
        names = {placement.schema: tables[placement] for placement in placements}
        if (found := _find_rows(databases.engine(database), names)) is not None:
            return found
    return None


def _find_rows(engine: Engine, tables: Mapping[str, Collection[str]]) -> tuple[str, str] | None:
    names = {name for each in tables.values() for name in each}
    with engine.connect() as connection:
        found = connection.execute(_TABLES, {"schemas": list(tables), "names": list(names)}).all()
    for table in found:
        if table.name in tables[table.schema] and (table.hides_rows or _has_rows(engine, table.schema, table.name)):
            return table.schema, table.name
    return None


def _has_rows(engine: Engine, schema: str, name: str) -> bool:
    table = f"{quote_identifier(schema)}.{quote_identifier(name)}".replace("%", "%%")
    try:
        with engine.begin() as connection:
            POLITE.apply(connection)
            return bool(connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {table})").scalar())  # noqa: S608 - quoted
    except DBAPIError:
        return True
