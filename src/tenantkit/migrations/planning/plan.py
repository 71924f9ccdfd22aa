"""Working out what a run has to do: for which tenants, and where each is to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done to one placement."""

    tenant: Tenant
    """The tenant whose placement it is, or the first of those who share it: the ledger has its line."""
    heads: Heads
    """Where it is."""
    target: str
    """Where it is to go; the same wherever it is, as another run may move it before this one does."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to a fleet."""

    work: Sequence[Work]
    """In the order of the fleet."""
    refused: Sequence[Outcome]
    """The failures of tenants for which nothing can be done."""
    unchanged: int
    """How many are there already."""
    is_exact: bool = False
    """Whether it holds for tenants only while they are where they were found."""
    purge: bool = False
    """Whether the rows of the version table are deleted first, whatever they are."""
    goals: frozenset[str] = frozenset()
    """Where a phase leads, which depends on where the tenants are."""


def plan_fleet(
    isolations: Isolations,
    graph: RevisionGraph,
    command: Command,
    target: str,
    fleet: Sequence[Tenant],
    current: Mapping[Placement, Heads],
    phase: Phase | None = None,
    *,
    purge: bool = False,
) -> Plan:
    """Return what takes the placement of every tenant of *fleet* to *target*, as far as *phase* goes.

    With *purge*, which is for stamps, it does not matter where a tenant is.

    What a revision needs is worked out once for all the tenants that are at it.
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
            refused.append(without_placement(isolations, tenant))
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


def group(work: Iterable[Work]) -> dict[tuple[str, Heads, str], list[Work]]:
    """Return what is to be done by the database, where they are and where they are to go: one script serves a group."""
    groups: dict[tuple[str, Heads, str], list[Work]] = {}
    for each in work:
        groups.setdefault((each.tenant.placement.database, each.heads, each.target), []).append(each)
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


def without_placement(isolations: Isolations, tenant: Tenant) -> Outcome:
    """Return the failure of a tenant whose placement is not there."""
    problem = isolations.problem(tenant) or f"the schema {tenant.schema!r} does not exist"
    return refuse(tenant, (), f"{problem}; see 'tenantkit doctor'")


def make_absolute(target: str, steps: Sequence[MigrationStep]) -> str:
    """Return where *steps*, which are those to *target*, lead."""
    if not is_relative(target):
        return target
    there: tuple[str, ...] = steps[-1].to_revisions_no_deps
    return there[0] if len(there) == 1 else "base" if not there else target
