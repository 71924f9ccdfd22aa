"""The task of one placement, and the result of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

from tenantkit.cancellation import Cancellation
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.graph.places import Place, place_of
from tenantkit.migrations.graph.revision_graph import Command, Heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.postgres import retry
from tenantkit.postgres.errors import reason, sqlstate
from tenantkit.runs.ledger import Ledger, NoLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The part of a run for one placement."""

    key: str
    target: MigrationTarget
    command: Command
    revision: str
    """The target in Alembic's syntax: an id, ``head``, ``+1``."""
    ledger: Ledger = field(default_factory=NoLedger)
    tenant_id: int = 0
    """The tenant's id; 0 for the shared tables."""
    expected: Heads | None = None
    """The heads that the placement must have; ``None`` for any."""
    purge: bool = False
    """Whether the rows of the version table are deleted first."""
    attempt: int = 1
    waited: float = 0.0

    @property
    def is_last_attempt(self) -> bool:
        """Whether the task fails after another lock conflict."""
        return self.attempt >= retry.ATTEMPTS

    def outcome(
        self,
        before: str = "",
        after: str = "",
        *,
        engine: str | None = None,
        start: float | None = None,
        error: Exception | None = None,
    ) -> Outcome:
        """Return the outcome. Revisions are from `format_heads`, *start* is from `perf_counter`."""
        place = Place() if error is None else place_of(error)
        return Outcome(
            key=self.key,
            schema=self.target.schema,
            database=self.target.placement.database,
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
    """A task that another transaction prevented, for another attempt."""

    failure: Outcome
    """The outcome, if this was the last attempt."""
    busy: bool = False
    """Whether another run works on the placement, rather than a lock conflict."""
    reached: Heads | None = None
    """The committed heads before steps outside of a transaction, if there were such steps."""

    @classmethod
    def claimed(
        cls, task: Task, error: str = "another run is migrating it. Run the same command again when that has ended"
    ) -> Retry:
        """Return the retry of a *task* whose placement another run has claimed."""
        return cls(replace(task.outcome(), error=error), busy=True)

    def next(self, task: Task) -> tuple[Task, float] | Outcome:
        """Return the task for the next attempt and the seconds before it; or the failure after the last attempt."""
        if self.reached is not None and task.expected is not None:
            task = replace(task, expected=self.reached)
        if self.busy:
            if task.waited < retry.PATIENCE:
                pause = retry.pause_while_claimed()
                return replace(task, waited=task.waited + pause), pause
        elif not task.is_last_attempt:
            return replace(task, attempt=task.attempt + 1), retry.pause(task.attempt)
        return self.failure


def run_task(
    task: Task, perform: Callable[[Task], Outcome | Retry], cancellation: Cancellation | None = None
) -> Outcome:
    """Execute one task in this thread, with further attempts if necessary.

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
