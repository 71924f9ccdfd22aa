"""What earlier runs did, as the ledger has it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantkit.arguments import optional, require, whole
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.sites import graph_of
from tenantkit.migrations.planning.plan import is_relative, make_absolute
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import parse_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.runs import ledger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from tenantkit.migrations.graph.revision_graph import RevisionGraph
    from tenantkit.migrations.planning.phases import Phase

_NOT_REACHED = "not reached: the run ended before"
_NOT_FINISHED = "not finished: the run ended in the middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run over the fleet, and how many of its tenants came to what."""

    id: int
    command: str
    target: str
    started_at: datetime
    finished_at: datetime | None
    """``None`` if it is still running, or was killed."""
    done: int
    unchanged: int
    """Those that another run had brought there."""
    failed: int
    planned: int
    """Those that it has not reached, or not finished."""
    phase: Phase | None = None
    """The phase that it was for, if it was for one only."""


def list_runs(tenancy: Deployment, *, limit: int | None = 20) -> list[Run]:
    """Return the last runs, the newest first."""
    require(tenancy=(tenancy, TENANCY), limit=(limit, optional(whole(0))))
    with tenancy.engine.connect() as connection:
        return [_read(row) for row in ledger.find_runs(connection, limit=limit)]


def get_run(tenancy: Deployment, run_id: int) -> tuple[Run, list[Outcome]]:
    """Return a run, and the outcome of each of its tenants.

    :raises ConfigurationError: if there is no such run.
    """
    require(tenancy=(tenancy, TENANCY), run_id=(run_id, whole()))
    with tenancy.engine.connect() as connection:
        found = ledger.find_runs(connection, run_id=run_id)
        if not found:
            raise ConfigurationError(f"There is no run {run_id}. 'tenantkit runs list' shows the last ones.")
        outcomes = [
            Outcome(
                key=row.key,
                schema=row.schema,
                database=row.database,
                from_revision=row.from_revision,
                to_revision=row.from_revision if row.engine is None else row.to_revision,
                engine=row.engine,
                attempts=row.attempts,
                duration_ms=row.duration_ms or 0,
                sqlstate=row.sqlstate,
                error=row.error if row.status != "planned" else _NOT_REACHED if row.engine is None else _NOT_FINISHED,
                revision=row.revision,
                file=row.file,
                line=row.line,
                traceback=row.traceback,
            )
            for row in ledger.find_outcomes(connection, run_id)
        ]
    return _read(found[0]), outcomes


def unfinished(tenancy: Deployment, run_id: int) -> tuple[str, list[str], Phase | None]:
    """Return the target of a migration, the keys of the tenants that it failed for or did not reach, and its phase.

    A relative target is counted from where the run found those tenants: another run may have moved them since.

    :raises ConfigurationError: if there is no such run, if it was no migration, or if it has several targets.
    """
    run, outcomes = get_run(tenancy, run_id)
    if run.command != "migrate":
        raise ConfigurationError(
            f"Run {run_id} was a {run.command}, which cannot be resumed. Run the same command again."
        )
    left = [outcome for outcome in outcomes if not outcome.ok]
    goals = {run.target: [outcome.key for outcome in left]}
    if left and is_relative(run.target):
        with tenancy.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            there = read_placements(tenancy.databases, connection, [outcome.placement for outcome in left])
        goals = _absolute_goals(
            graph_of(tenancy, "tenant"), run.target, [each for each in left if each.placement in there]
        )
    if len(goals) > 1:
        commands = "; ".join(f"tenantkit migrate {goal} --tenants {','.join(keys)}" for goal, keys in goals.items())
        raise ConfigurationError(
            f"Run {run_id} went {run.target} from several revisions, so it has no one target. Go on with: {commands}"
        )
    [(target, keys)] = goals.items()
    return target, keys, run.phase


def _absolute_goals(graph: RevisionGraph, target: str, outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Return where a relative target leads, with the keys of those whom it leads there.

    :raises ConfigurationError: if it leads nowhere from where any of them was.
    """
    goals: dict[str, list[str]] = {}
    for outcome in outcomes:
        with suppress(ConfigurationError):  # it was refused then, and would be now
            steps = graph.steps("migrate", target, parse_heads(outcome.from_revision))
            goals.setdefault(make_absolute(target, steps), []).append(outcome.key)
    if not goals:
        raise ConfigurationError(
            f"{target} leads nowhere from where the tenants are that are left. 'tenantkit status' tells where."
        )
    return goals


def failed(tenancy: Deployment) -> list[str]:
    """Return the keys of the tenants whose last migration failed."""
    require(tenancy=(tenancy, TENANCY))
    with tenancy.engine.connect() as connection:
        return sorted(ledger.last_failures(connection))


def _read(row: Row[Any]) -> Run:
    names = Run.__dataclass_fields__.keys() - {"phase"}
    return Run(**{name: getattr(row, name) for name in names}, phase=row.options.get("phase"))
