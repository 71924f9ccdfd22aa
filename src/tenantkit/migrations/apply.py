"""Migrating one placement with Alembic."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.changes.steps import TELL
from tenantkit.migrations.environment import run
from tenantkit.migrations.indexes import drop_invalid_indexes
from tenantkit.migrations.report import Advance, Outcome, join
from tenantkit.migrations.revisions import read_revisions
from tenantkit.migrations.tasks import Again, Command, Task
from tenantkit.provisioning.locks import Limits, is_lock_conflict, reason, sqlstate
from tenantkit.registry import ledger
from tenantkit.registry.claims import claiming

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.lines import Heads, Line
    from tenantkit.migrations.recording import Recorder


_TOLD_EVERY = 0.5
"""Seconds."""


def plan(line: Line, command: Command, target: str, current: Heads) -> Sequence[MigrationStep]:
    """Return the steps that *command* takes from *current*, none if there is nothing to do.

    :raises ConfigurationError: if the target or a current revision is unknown.
    """
    match command:
        case "upgrade":
            return line.upgrade_steps(target, current)
        case "downgrade":
            return line.downgrade_steps(target, current)
        case "stamp":
            return [] if line.resolve(target) == tuple(sorted(current)) else line.stamp_steps(target, current)


@dataclass(slots=True)
class Alembic:
    """Does tasks by running Alembic in this process: one at a time, as its modules have one state for all threads."""

    engine: Engine
    line: Line
    limits: Limits
    placements_per_connection: int
    tell: Callable[[Advance], object] | None = None
    """Is told how far long steps are, not more often than is of use."""
    _served: int = 0

    def __call__(self, task: Task, recorder: Recorder | None = None) -> Outcome | Again:
        """Do *task* in a transaction of its own, unless others are in the way."""
        if self._served == self.placements_per_connection:
            self.close()
        self._served += 1
        start = perf_counter()
        seen: list[Heads] = []
        error: Exception | None = None
        try:
            with self.engine.connect() as connection, claiming(connection, task.site.schema) as claimed:
                if not claimed:
                    return Again("another run is migrating it. Run the same again when that has ended", busy=True)
                self._attempt(connection, task, seen, recorder)
        except Exception as caught:  # noqa: BLE001 - one tenant's failure is an outcome, whatever it was
            error = caught
            if is_lock_conflict(caught):
                return Again(reason(caught), sqlstate=sqlstate(caught))
        before = join(seen[0]) if seen else ""
        after = before if error is not None or not seen else join(seen[-1])
        if error is not None:
            # What came before an autocommit block is kept.
            with suppress(SQLAlchemyError), self.engine.connect() as connection:
                after = join(read_revisions(connection, [task.site.schema]).get(task.site.schema, ()))
        return task.outcome(before, after, engine="alembic", start=start, error=error)

    def close(self) -> None:
        """Close the connection; the next task gets a new one."""
        self.engine.dispose()
        self._served = 0

    def _telling(self, key: str) -> Callable[[str, int, int], None]:
        last = 0.0

        def tell(step: str, rows: int, percent: int) -> None:
            nonlocal last
            if self.tell is not None and (now := monotonic()) - last >= _TOLD_EVERY:
                last = now
                self.tell(Advance(key=key, step=step, rows=rows, percent=percent))

        return tell

    def _attempt(self, connection: Connection, task: Task, seen: list[Heads], recorder: Recorder | None) -> None:
        """Run the task once, noting in *seen* where the placement was and came to."""

        def steps(current: Heads, _: object) -> Sequence[MigrationStep]:
            seen.append(tuple(current))
            if task.expected is not None and set(current) != set(task.expected):
                raise ConfigurationError(
                    f"it has moved on since this was planned, to {join(tuple(current)) or 'base'}, and was not "
                    "touched. Run the same again to see what is possible now"
                )
            steps = plan(self.line, task.command, task.target, tuple(current))
            if recorder is None:
                return steps
            recorder.before = tuple(sorted(current))
            return [recorder.watch(step) for step in steps]

        def applied(*, heads: set[str], **_: object) -> None:
            seen.append(tuple(heads))
            if recorder is not None:
                recorder.applied(tuple(sorted(heads)))

        def before_commit(connection: Connection) -> None:
            if recorder is not None:
                recorder.before_commit(connection)
            if task.run_id:
                done = ledger.done(
                    task.run_id,
                    task.tenant_id,
                    engine="alembic",
                    from_revision=join(seen[0]),
                    to_revision=join(seen[-1]),
                    attempts=task.attempt,
                )
                connection.exec_driver_sql(done.replace("%", "%%"))

        connection.execution_options(**{TELL: self._telling(task.key)})
        try:
            run(
                connection,
                self.line,
                task.site,
                steps,
                limits=self.limits,
                recorder=recorder,
                before_commit=before_commit,
                on_version_apply=applied,
            )
        except Exception:
            connection.rollback()
            with suppress(SQLAlchemyError):  # what it could not build would be in the way of the next try
                drop_invalid_indexes(connection, task.site.schema)
            raise
        finally:
            connection.rollback()
