"""The plan of a run: the tenants to migrate, and the target of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tenantkit.databases.base import group_key
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.isolations import Isolations
from tenantkit.migrations.graph.revision_graph import Command
from tenantkit.migrations.planning.phases import Phase, limit
from tenantkit.migrations.results.heads import format_heads, is_relative
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.tenant import Placement, Tenant

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.planning.version_tables import PlacementHeads


@dataclass(frozen=True, slots=True)
class Work:
    """The migration of one placement."""

    tenant: Tenant
    """The tenant of the placement, or the first of those that share it: the ledger has a row for it."""
    heads: Heads
    """Its present heads."""
    target: str
    """Its absolute target, because another run may migrate it before this one does."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for a fleet."""

    work: Sequence[Work]
    """The placements to migrate, in the order of the fleet."""
    refused: Sequence[Outcome]
    """The failures of tenants that cannot be migrated."""
    unchanged: int
    """Number of tenants that are at the target already."""
    is_exact: bool = False
    """Whether it is valid for tenants only at the heads that were found."""
    purge: bool = False
    """Whether all rows of the version table are deleted first."""
    goals: frozenset[str] = frozenset()
    """The targets of a phase, which depend on the heads of the tenants."""


def plan_fleet(
    isolations: Isolations,
    graph: RevisionGraph,
    command: Command,
    target: str,
    fleet: Sequence[Tenant],
    current: PlacementHeads,
    phase: Phase | None = None,
    *,
    purge: bool = False,
) -> Plan:
    """Return the plan that takes the placement of every tenant of *fleet* to *target*, within *phase*.

    With *purge*, which is for stamps, the present heads do not matter.

    The steps are computed once for all tenants with the same heads.
    """
    targets: dict[Heads, str | ConfigurationError | None] = {}
    goals: set[str] = set()
    work: list[Work] = []
    refused: list[Outcome] = []
    units: dict[tuple[str, Placement], Tenant] = {}
    for tenant in fleet:  # some may share a placement
        units.setdefault((tenant.isolation, tenant.placement), tenant)
    for tenant in units.values():
        heads = current.get(tenant.placement)
        if heads is None:
            refused.append(without_placement(isolations, tenant, current))
            continue
        if heads not in targets:
            try:
                wanted = limit(graph, target, heads, phase)
                if purge:
                    targets[heads] = None if graph.resolve(wanted) == heads else wanted
                else:
                    steps = graph.steps(command, wanted, heads)
                    targets[heads] = make_absolute(wanted, steps) if steps else None
                goals.add(wanted)
            except ConfigurationError as error:
                targets[heads] = error
        match targets[heads]:
            case ConfigurationError() as reason:
                refused.append(refuse(tenant, heads, str(reason)))
            case str() as there:
                work.append(Work(tenant, heads, there))
            case _:
                pass
    unchanged = len(units) - len(work) - len(refused)
    return Plan(work, refused, unchanged, purge=purge, goals=frozenset(goals))


class Alike(NamedTuple):
    """The properties of work that one script can do."""

    database: str
    """Its database, or what databases that are migrated together have in common: see `group_key`."""
    isolation: str
    heads: Heads
    target: str


def group(work: Iterable[Work]) -> dict[Alike, list[Work]]:
    """Return the work in groups, each of which one script serves."""
    groups: dict[Alike, list[Work]] = {}
    for each in work:
        tenant = each.tenant
        key = Alike(group_key(tenant.placement.database), tenant.isolation, each.heads, each.target)
        groups.setdefault(key, []).append(each)
    return groups


def refuse(tenant: Tenant, heads: Heads, error: str) -> Outcome:
    """Return the failure of a tenant that is not touched."""
    revision = format_heads(heads) or None
    return Outcome(
        key=tenant.key,
        schema=tenant.schema,
        database=tenant.placement.database,
        from_revision=revision,
        to_revision=revision,
        error=error,
    )


def without_placement(isolations: Isolations, tenant: Tenant, current: PlacementHeads) -> Outcome:
    """Return the failure of a tenant whose placement does not exist, or cannot be reached."""
    if (problem := current.problem(tenant.placement)) is not None:
        return refuse(tenant, (), f"{problem}. Run the same command again when it is back")
    problem = isolations.problem(tenant) or f"the schema {tenant.schema!r} does not exist"
    return refuse(tenant, (), f"{problem}; see 'tenantkit doctor'")


def make_absolute(target: str, steps: Sequence[MigrationStep]) -> str:
    """Return the absolute target that *steps*, those to *target*, lead to."""
    if not is_relative(target):
        return target
    there: tuple[str, ...] = steps[-1].to_revisions_no_deps
    return there[0] if len(there) == 1 else "base" if not there else target
