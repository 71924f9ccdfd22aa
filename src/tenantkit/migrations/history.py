"""What earlier runs did, as the ledger has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.report import Outcome
from tenantkit.registry import ledger

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row

    from tenantkit.migrations.phases import Phase
    from tenantkit.tenancy import Tenancy

_NOT_DONE = "not reached: the run ended before"


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
    """Those that it has not reached."""
    phase: Phase | None = None
    """The phase that it was for, if it was for one only."""


def list_runs(tenancy: Tenancy, *, limit: int | None = 20) -> list[Run]:
    """Return the last runs, the newest first."""
    with tenancy.engine.connect() as connection:
        return [_read(row) for row in ledger.find_runs(connection, limit=limit)]


def get_run(tenancy: Tenancy, run_id: int) -> tuple[Run, list[Outcome]]:
    """Return a run, and what came of each of its tenants.

    :raises ConfigurationError: if there is no such run.
    """
    with tenancy.engine.connect() as connection:
        found = ledger.find_runs(connection, run_id=run_id)
        if not found:
            raise ConfigurationError(f"There is no run {run_id}. 'tenantkit runs' lists the last ones.")
        outcomes = [
            Outcome(
                key=row.key,
                schema=row.schema,
                from_revision=row.from_revision,
                to_revision=row.from_revision if row.engine is None else row.to_revision,
                engine=row.engine,
                attempts=row.attempts,
                duration_ms=row.duration_ms or 0,
                sqlstate=row.sqlstate,
                error=_NOT_DONE if row.status == "planned" else row.error,
            )
            for row in ledger.find_outcomes(connection, run_id)
        ]
    return _read(found[0]), outcomes


def unfinished(tenancy: Tenancy, run_id: int) -> tuple[str, list[str], Phase | None]:
    """Return the target of a migration, the keys of the tenants that it failed for or did not reach, and its phase.

    :raises ConfigurationError: if there is no such run, or it was no migration.
    """
    run, outcomes = get_run(tenancy, run_id)
    if run.command != "upgrade":
        raise ConfigurationError(
            f"Run {run_id} was a {run.command}, which cannot be resumed. Run the same command again."
        )
    return run.target, [outcome.key for outcome in outcomes if not outcome.ok], run.phase


def failed(tenancy: Tenancy) -> list[str]:
    """Return the keys of the tenants whose last migration failed."""
    with tenancy.engine.connect() as connection:
        return sorted(ledger.last_failures(connection))


def _read(row: Row[Any]) -> Run:
    names = Run.__dataclass_fields__.keys() - {"phase"}
    return Run(**{name: getattr(row, name) for name in names}, phase=row.options.get("phase"))
