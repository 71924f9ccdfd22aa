"""Earlier runs, as the ledger has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantkit.arguments import optional, require, whole
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.results.heads import is_relative
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.runs import ledger

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from tenantkit.migrations.planning.phases import Phase

_NOT_REACHED = "not reached: the run ended before"
_NOT_FINISHED = "not finished: the run ended in the middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run, with the number of its tenants by outcome."""

    id: int
    command: str
    target: str
    started_at: datetime
    finished_at: datetime | None
    """``None`` if it is still running, or was killed."""
    done: int
    unchanged: int
    """Number of tenants that another run had brought to the target."""
    failed: int
    planned: int
    """Number of tenants that it has not begun or not finished."""
    phase: Phase | None = None
    """The phase of the run, if it was limited to one."""


def list_runs(tenancy: Deployment, *, limit: int | None = 20) -> list[Run]:
    """Return the most recent runs, the newest first."""
    require(tenancy=(tenancy, TENANCY), limit=(limit, optional(whole(0))))
    with tenancy.engine.connect() as connection:
        return [_read(row) for row in ledger.find_runs(connection, limit=limit)]


def get_run(tenancy: Deployment, run_id: int) -> tuple[Run, list[Outcome]]:
    """Return a run, and the outcome of each of its tenants.

    :raises ConfigurationError: if there is no such run.
    """
    require(tenancy=(tenancy, TENANCY), run_id=(run_id, whole()))
    with tenancy.engine.connect() as connection:
        run = find_run(connection, run_id)
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
    return run, outcomes


def find_run(connection: Connection, run_id: int) -> Run:
    """Return a run.

    :raises ConfigurationError: if there is no such run.
    """
    for row in ledger.find_runs(connection, run_id=run_id):
        return _read(row)
    raise ConfigurationError(f"There is no run {run_id}. 'tenantkit runs list' shows the last ones.")


def unfinished(tenancy: Deployment, run_id: int) -> tuple[str, list[str], Phase | None]:
    """Return the target of a migration, the keys of the tenants that failed or were not reached, and its phase.

    :raises ConfigurationError: if there is no such run, if it was not a migration, or if its target was relative, such
        as ``+1``: another run may have migrated the tenants since.
    """
    run, outcomes = get_run(tenancy, run_id)
    if run.command != "migrate":
        raise ConfigurationError(
            f"Run {run_id} was a {run.command}, which cannot be resumed. Run the same command again."
        )
    keys = [outcome.key for outcome in outcomes if not outcome.ok]
    if keys and is_relative(run.target):
        raise ConfigurationError(
            f"Run {run_id} had the target {run.target}, which may mean another revision for its tenants now. Name the "
            f"revision: 'tenantkit migrate REVISION --tenants {','.join(keys)}'. 'tenantkit runs show {run_id}' shows "
            "the revision to which each tenant went."
        )
    return run.target, keys, run.phase


def failed(tenancy: Deployment) -> list[str]:
    """Return the keys of the tenants whose last migration failed."""
    require(tenancy=(tenancy, TENANCY))
    with tenancy.engine.connect() as connection:
        return sorted(ledger.last_failures(connection))


def _read(row: Row[Any]) -> Run:
    names = Run.__dataclass_fields__.keys() - {"phase"}
    return Run(**{name: getattr(row, name) for name in names}, phase=row.options.get("phase"))
