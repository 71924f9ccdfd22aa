"""The executor that migrates placements with Alembic in this process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.cancellation import Cancellation
from tenantkit.migrations.executors.placement_progress import PlacementProgress
from tenantkit.migrations.graph.places import Place
from tenantkit.migrations.operations.steps import TELL
from tenantkit.migrations.planning.version_tables import read_heads
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.progress import StepProgress
from tenantkit.migrations.tasks.connections import Reconnect, cancel, raise_when_cancelled
from tenantkit.migrations.tasks.engines import Engines
from tenantkit.migrations.tasks.task import Retry, Task
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.postgres.limits import Limits
from tenantkit.postgres.operators import explain, require_operators
from tenantkit.runs.claims import claiming

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantkit.migrations.graph.revision_graph import RevisionGraph
    from tenantkit.migrations.replay.recorder import Recorder


_PROGRESS_INTERVAL = 0.5
"""Minimum seconds between two reports of a step's progress."""


@dataclass(slots=True)
class Alembic:
    """Executes tasks with Alembic in this process: one at a time, as its modules have one state for all threads."""

    engines: Engines
    graph: RevisionGraph
    limits: Limits
    placements_per_connection: int
    tell: Callable[[StepProgress], object] | None = None
    """Receives the progress of long steps."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    """Ends the running task, and lets no other begin."""
    starting: Callable[[Place], object] = lambda _: None
    """Called with each revision before it runs."""
    _checked: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Pairs of revisions between which a placement was checked for its operators."""
    _served: int = 0
    _reconnect: Reconnect = field(init=False)

    def __post_init__(self) -> None:
        self._reconnect = Reconnect(self.cancellation)
        self.engines.prepare(partial(raise_when_cancelled, cancellation=self.cancellation))

    def __call__(self, task: Task, recorder: Recorder | None = None) -> Outcome | Retry:
        """Execute *task* in a transaction of its own, or return a `Retry` after a lock conflict.

        :raises KeyboardInterrupt: if the run is cancelled before the task is committed.
        """
        if self._served == self.placements_per_connection:
            self.close()
        self._served += 1
        start = perf_counter()
        progress = PlacementProgress(self.graph, task, recorder)
        error: Exception | None = None
        engine = self.engines.at(task.target.placement.database)
        try:
            with (
                self.cancellation.interruptible(),
                self._reconnect(engine.connect) as connection,
                claiming(connection, task.target.schema) as claimed,
                self.cancellation.cancelling(partial(cancel, connection)),
            ):
                if not claimed:
                    return Retry.claimed(task)
                self._attempt(connection, progress)
        except Exception as caught:  # noqa: BLE001 - one tenant's failure is an outcome, whatever it was
            self.cancellation.check()  # cleanup in Alembic or in a revision may have replaced the interruption
            error = caught
            if is_lock_conflict(caught):
                return Retry(task.outcome(error=caught), reached=progress.kept)
        after = progress.after if error is None else format_heads(progress.kept or ()) or progress.before
        explanation: str | None = None
        if error is not None:
            # Steps before an autocommit block stay committed.
            with suppress(SQLAlchemyError), self.cancellation.interruptible(), engine.connect() as connection:
                after = format_heads(read_heads(connection, task.target.schema))
                explanation = explain(connection, error, task.target.others)
        outcome = task.outcome(progress.before, after, engine="alembic", start=start, error=error)
        # The explanation has its own advice, so it needs no hint by SQLSTATE.
        return outcome if explanation is None else replace(outcome, error=explanation, sqlstate=None)

    def close(self) -> None:
        """Close the connection; the next task gets a new one."""
        self.engines.dispose()
        self._served = 0

    def _reporter(self, key: str) -> Callable[[str, int, int], None]:
        last = 0.0

        def tell(step: str, rows: int, percent: int) -> None:
            nonlocal last
            if self.tell is not None and (now := monotonic()) - last >= _PROGRESS_INTERVAL:
                last = now
                self.tell(StepProgress(key=key, step=step, rows=rows, percent=percent))

        return tell

    def _require_operators(self, connection: Connection, progress: PlacementProgress) -> None:
        """Raise if the first placement between two revisions has columns without their operators; see `operators`."""
        task, way = progress.task, (progress.before, progress.after)
        if task.command == "migrate" and task.target.translates and way not in self._checked:
            require_operators(connection, [task.target.schema], extra_schemas=task.target.others)
            self._checked.add(way)

    def _attempt(self, connection: Connection, progress: PlacementProgress) -> None:
        connection.execution_options(**{TELL: self._reporter(progress.task.key)})

        def before_commit(connection: Connection) -> None:
            progress.before_commit(connection)
            self._require_operators(connection, progress)
            self.cancellation.hold()

        try:
            progress.run(
                connection,
                self.limits,
                before_commit=before_commit,
                before_block=progress.before_block,
                starting=self.starting,
            )
        finally:
            connection.rollback()
