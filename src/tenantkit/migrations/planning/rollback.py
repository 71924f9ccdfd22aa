"""Plan of a downgrade that undoes a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.planning.history import find_run
from tenantkit.migrations.planning.plan import Plan, Work, refuse, without_placement
from tenantkit.migrations.results.heads import format_heads, parse_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.runs import ledger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.isolation.isolations import Isolations
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.planning.version_tables import PlacementHeads
    from tenantkit.tenant import Tenant


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """The heads of a tenant before and after its migration by a run."""

    before: Heads
    after: Heads


def find_applied(connection: Connection, run_id: int, keys: Collection[str] | None) -> dict[str, AppliedMigration]:
    """Return the migrations by a run of the tenants with these keys, or of all.

    :raises ConfigurationError: if there is no such run, if it migrated no tenant, or if it was not a migration.
    """
    run = find_run(connection, run_id)
    if run.command != "migrate":
        raise ConfigurationError(f"Run {run_id} was a {run.command}, and only a migration can be undone.")
    # Some were migrated in part: they failed, or the run was stopped or killed.
    rows = [row for row in ledger.find_outcomes(connection, run_id) if row.to_revision and _moved_by(row)]
    applied = {row.key: AppliedMigration(parse_heads(row.from_revision), parse_heads(row.to_revision)) for row in rows}
    for key in keys or ():
        if key not in applied:
            raise ConfigurationError(
                f"Run {run_id} did not migrate {key!r}. 'tenantkit runs show {run_id}' lists those that it did."
            )
    if not applied:
        raise ConfigurationError(f"Run {run_id} migrated no tenant, so there is nothing to undo.")
    return {key: migration for key, migration in applied.items() if keys is None or key in keys}


def plan_rollback(
    isolations: Isolations,
    graph: RevisionGraph,
    run_id: int,
    applied: Mapping[str, AppliedMigration],
    later: Mapping[int, int],
    fleet: Sequence[Tenant],
    current: PlacementHeads,
) -> Plan:
    """Return the plan that takes every tenant of *fleet* back to its heads before the run.

    Tenants that were migrated since are refused. *later* has the last run of each tenant, by the tenant's id.
    """
    work: list[Work] = []
    refused: list[Outcome] = []
    unchanged = 0
    for tenant in fleet:
        migration, heads = applied[tenant.key], current.get(tenant.placement)
        if heads is None:
            refused.append(without_placement(isolations, tenant, current))
        elif set(heads) == set(migration.before):
            unchanged += 1
        elif set(heads) != set(migration.after) or tenant.id in later:
            refused.append(refuse(tenant, heads, _moved(run_id, migration, heads, later.get(tenant.id))))
        else:
            try:
                work.append(Work(tenant, heads, _way_back(graph, run_id, migration, heads)))
            except ConfigurationError as error:
                refused.append(refuse(tenant, heads, str(error)))
    return Plan(work, refused, unchanged, is_exact=True)


def _way_back(graph: RevisionGraph, run_id: int, migration: AppliedMigration, heads: Heads) -> str:
    """Return the target that undoes exactly the revisions that the run has applied."""
    applied = {
        step.revision.revision for after in migration.after for step in graph.upgrade_steps(after, migration.before)
    }
    for target in migration.before or ("base",):
        if {step.revision.revision for step in graph.downgrade_steps(target, heads)} == applied:
            return target
    raise ConfigurationError(
        f"no single downgrade goes from {format_heads(migration.after)} back to "
        f"{format_heads(migration.before) or 'base'}, where run {run_id} "
        "found it. Take the branches back one by one with 'tenantkit downgrade'"
    )


def _moved(run_id: int, migration: AppliedMigration, heads: Heads, later: int | None) -> str:
    by = "" if later is None else f" by run {later}"
    return (
        f"its revision was changed{by} after run {run_id} brought it to {format_heads(migration.after)}, "
        f"and is {format_heads(heads) or 'base'} now. "
        f"Undo that first, or go to {format_heads(migration.before) or 'base'} with 'tenantkit downgrade'"
    )


def _moved_by(row: Any) -> bool:
    return bool(row.from_revision != row.to_revision)
