"""The preview of a migration or a downgrade."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from sqlalchemy import Connection
from typing_extensions import Unpack

from tenantkit.arguments import FLAG, NAME, one_of, require
from tenantkit.cancellation import handling
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.migrations.dry_run.scripts import ScriptPreview
from tenantkit.migrations.environment.env_file import require_usable
from tenantkit.migrations.environment.targets import graph_of, shared_target
from tenantkit.migrations.executors.trial import name_of, rolled_back
from tenantkit.migrations.options import Options
from tenantkit.migrations.planning.phases import Phase, limit
from tenantkit.migrations.planning.plan import group
from tenantkit.migrations.planning.unversioned import require_versioned_shared
from tenantkit.migrations.planning.version_tables import read_heads, read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.planned import PlannedGroup, PlannedPlacement, PlannedStep, Preview
from tenantkit.migrations.runs.requests import downgrading, migrating
from tenantkit.migrations.runs.shared import SHARED, shared_revision
from tenantkit.registry import versions

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.planning.plan import Work

Previewed: TypeAlias = Literal["migrate", "downgrade"]


def preview(
    tenancy: Deployment,
    target: str = "head",
    *,
    command: Previewed = "migrate",
    scripts: bool = False,
    **options: Unpack[Options],
) -> Preview:
    """Return the plan of `migrate` or `downgrade`. The database is read, and nothing in it is changed.

    With *scripts*, the SQL is found as in a run, by rehearsals in the first placements of each group, in
    transactions that are rolled back. Until then, they hold the locks that the migration takes.

    :param options: those that choose tenants, and those that affect the scripts; others are checked only.
    :raises ConfigurationError: if the environment, the target or an option is wrong.
    """
    require(
        tenancy=(tenancy, TENANCY),
        target=(target, NAME),
        command=(command, one_of(*get_args(Previewed))),
        scripts=(scripts, FLAG),
    )
    request = (migrating if command == "migrate" else downgrading)(tenancy, target, options, "preview")
    chosen, graph = request.options, request.graph
    shared_graph = graph_of(tenancy, "shared")
    if scripts:
        require_usable(graph)
    with rolled_back(tenancy.engine) as connection:
        chosen.settings.limits.require_sense(connection)
        is_current = install_to_read(connection)
        fleet = chosen.selection.find(connection)
        chosen.rollout.require_canaries({tenant.key for tenant in fleet})
    with tenancy.engine.connect() as connection:
        # A transaction would hold a lock on each tenant's table, and a server has only some thousands of locks.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        targets = tenancy.isolations.targets(fleet)
        current = read_placements(tenancy.databases, connection, targets)
        found = request.plan(connection, fleet, current)
        there = shared_revision(target)
        shared = _plan_shared(tenancy, shared_graph, connection, there, chosen.phase) if command == "migrate" else None
    groups = {
        alike: plan_group(graph, alike.heads, graph.steps(command, alike.target, alike.heads), placements_of(work))
        for alike, work in group(found.work).items()
    }
    if scripts:
        settings = chosen.settings
        with (
            handling() as cancellation,
            cancellation.interruptible(),
            closing(ScriptPreview(tenancy, shared_graph, graph, command, settings, cancellation, shared)) as rehearsing,
        ):
            shared = rehearsing.rehearse_shared()
            its_targets = {each.tenant.key: targets[each.tenant.placement] for each in found.work}
            groups = {
                alike: rehearsing.rehearse(each, alike.database, alike.target, its_targets)
                for alike, each in groups.items()
            }
    return Preview(
        command=command,
        target=target,
        registry_is_current=is_current,
        shared=shared,
        groups=tuple(groups.values()),
        refused=tuple(found.refused),
        unchanged=found.unchanged,
    )


def install_to_read(connection: Connection) -> bool:
    """Install the registry, then make the transaction read-only; return whether it was installed already."""
    before = versions.installed_version(connection)
    versions.install(connection)
    is_current = before == versions.installed_version(connection)
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    return is_current


def _plan_shared(
    tenancy: Deployment, graph: RevisionGraph, connection: Connection, target: str, phase: Phase | None
) -> PlannedGroup | None:
    if graph.is_empty:
        return None
    schema = shared_target(tenancy).schema
    heads = read_heads(connection, schema)
    target = limit(graph, target, heads, phase)
    require_versioned_shared(connection, tenancy, graph, heads, target)
    steps = graph.steps("migrate", target, heads)
    return plan_group(graph, heads, steps, [PlannedPlacement(key=SHARED, schema=schema)]) if steps else None


def plan_group(
    graph: RevisionGraph, heads: Heads, steps: Sequence[MigrationStep], placements: Sequence[PlannedPlacement]
) -> PlannedGroup:
    """Return the plan of *steps* for *placements* that are at *heads*."""
    return PlannedGroup(
        from_revision=format_heads(heads) or None,
        to_revision=format_heads(_after(graph, heads, steps)) or None,
        steps=tuple(PlannedStep(revision=name_of(step), message=step.doc or "") for step in steps),
        placements=tuple(placements),
    )


def placements_of(work: Sequence[Work]) -> list[PlannedPlacement]:
    """Return the placements that something is to be done to."""
    return [PlannedPlacement(key=each.tenant.key, schema=each.tenant.schema) for each in work]


def _after(graph: RevisionGraph, heads: Heads, steps: Sequence[MigrationStep]) -> Heads:
    after = set(heads)
    for step in steps:
        after -= set(step.from_revisions_no_deps)
        after |= set(step.to_revisions_no_deps)
    return tuple(
        sorted(head for head in after if not any(_is_below(graph, head, other) for other in after if other != head))
    )


def _is_below(graph: RevisionGraph, revision: str, head: str) -> bool:
    return any(script.revision == revision for script in graph.scripts.iterate_revisions(head, "base"))
