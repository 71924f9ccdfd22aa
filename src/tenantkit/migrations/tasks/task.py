"""What is to be done to one placement, and the outcome of an attempt."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

from tenantkit.cancellation import Cancellation
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.graph.places import Place, place_of
from tenantkit.migrations.graph.revision_graph import Command, Heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.postgres.errors import reason, sqlstate
from tenantkit.runs.ledger import Ledger, SeparateLedger

ATTEMPTS = 8
"""How often a placement is tried when locks stand in the way."""

PATIENCE = 60.0
"""For how many seconds a placement may be claimed by another run before this one calls it a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One placement's part of a run."""

    key: str
    site: MigrationTarget
    command: Command
    target: str
    ledger: Ledger = field(default_factory=SeparateLedger)
    tenant_id: int = 0
    """0 if it is no tenant's."""
    expected: Heads | None = None
    """Where it must be for this to be done; ``None`` for anywhere."""
    purge: bool = False
    """Whether the rows of the version table are deleted first."""
    attempt: int = 1
    waited: float = 0.0

    def outcome(
        self,
        before: str = "",
        after: str = "",
        *,
        engine: str | None = None,
        start: float | None = None,
        error: Exception | None = None,
    ) -> Outcome:
        """Return the outcome: revisions as `join` has them, *start* by `perf_counter`, *error* if it failed."""
        place = Place() if error is None else place_of(error)
        return Outcome(
            key=self.key,
            schema=self.site.schema,
            database=self.site.placement.database,
            from_revision=before or None,
            to_revision=after or None,
            engine=engine,
            attempts=self.attempt,
            duration_ms=0 if start is None else round((perf_counter() - start) * 1000),
            sqlstate=None if error is None else sqlstate(error),
            error=None if error is None else reason(error),
            revision=place.revision,
            file=place.file,
            line=place.line,
            traceback=place.traceback,
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """A task that another transaction prevented, to be tried again."""

    error: str
    busy: bool = False
    """Whether another run is at work on the placement, rather than locks in the way."""
    sqlstate: str | None = None
    place: Place = field(default_factory=Place)
    reached: Heads | None = None
    """Where the placement was for good when steps outside of a transaction began, if any did."""

    def next(self, task: Task) -> tuple[Task, float] | Outcome:
        """Return the task as it is to be tried again, and in how many seconds; or the failure, if it is enough.

        The pauses grow, and are random, so that those who were in each other's way do not meet again.
        """
        if self.reached is not None and task.expected is not None:
            task = replace(task, expected=self.reached)
        if self.busy:
            pause = random.uniform(0.05, 0.5)  # noqa: S311 - no secret
            if task.waited < PATIENCE:
                return replace(task, waited=task.waited + pause), pause
        elif task.attempt < ATTEMPTS:
            pause = random.uniform(0, min(2, 0.05 * 2**task.attempt))  # noqa: S311 - no secret
            return replace(task, attempt=task.attempt + 1), pause
        place = self.place
        return replace(
            task.outcome(),
            sqlstate=self.sqlstate,
            error=self.error,
            revision=place.revision,
            file=place.file,
            line=place.line,
            traceback=place.traceback,
        )


def run_task(
    task: Task, perform: Callable[[Task], Outcome | Retry], cancellation: Cancellation | None = None
) -> Outcome:
    """Do one task in this thread, again if need be.

    :raises KeyboardInterrupt: if the run is cancelled.
    """
    cancellation = cancellation or Cancellation()
    while isinstance(result := perform(task), Retry):
        step = result.next(task)
        if isinstance(step, Outcome):
            return step
        task, pause = step
        cancellation.sleep(pause)
    return result
