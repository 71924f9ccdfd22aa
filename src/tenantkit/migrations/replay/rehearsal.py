"""Rehearsal: Alembic migrates the first placements of a group, to find the script for the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantkit.cancellation import Cancellation
from tenantkit.migrations.replay.recorder import Recorder
from tenantkit.migrations.tasks.task import Retry, Task, run_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenantkit.migrations.replay.script import Script
    from tenantkit.migrations.results.outcome import Outcome

_TRIES = 3
"""Number of failures in a row after which the rehearsal ends."""


@dataclass(frozen=True, slots=True)
class RehearsalResult:
    """The result of a rehearsal for a group of placements at one revision."""

    script: Script | None
    """The script for the others: complete, or up to the first step that cannot be in a transaction."""
    obstacle: str | None
    """Why there is no script; ``None`` if there is one."""
    autocommit: str | None
    """The revision that has steps outside of a transaction, if there is one."""
    touches_shared: bool


def rehearse(
    tasks: Sequence[Task],
    alembic: Callable[..., Outcome | Retry],
    cancellation: Cancellation | None = None,
    *,
    record: bool = True,
) -> Iterator[tuple[Outcome, RehearsalResult | None]]:
    """Execute the first of *tasks* with Alembic, and yield the outcome of each, the last one with the result.

    With *record*, it ends after two tasks with equal statements. A task on which another run works is moved to the end,
    so that the fleet does not wait for it.
    """
    first: Recorder | None = None
    failures = 0
    busy: set[str] = set()
    queue = deque(tasks)
    while queue:
        task = queue.popleft()
        recorder = Recorder(task.target.schema)

        def perform(task: Task, recorder: Recorder = recorder) -> Outcome | Retry:
            return alembic(task, recorder)

        result = perform(task)
        if isinstance(result, Retry) and result.busy and task.key not in busy and queue:
            busy.add(task.key)
            queue.append(task)
            continue
        outcome = run_task(task, perform, cancellation) if isinstance(result, Retry) else result
        if not outcome.ok:
            # The error may be due to the recording. After a step outside of a transaction, the error of the second
            # attempt misleads instead, because that step is done already.
            recorder.refuse("a revision fails while it is recorded")
            again = run_task(task, alembic, cancellation)
            outcome = again if again.ok or recorder.autocommit is None else outcome
        if outcome.ok and not outcome.has_moved:
            found = None  # another run has migrated it, and there was nothing to record
        elif not outcome.ok:
            failures += 1
            found = _give_up(failures)
        elif first is None and record and recorder.obstacle is None:
            first, failures, found = recorder, 0, None
        else:
            found = _compare(first or recorder, recorder, record=record)
        yield outcome, found
        if found is not None:
            return


def _give_up(failures: int) -> RehearsalResult | None:
    if failures < _TRIES:
        return None
    return RehearsalResult(None, f"the first {failures} tenants failed", autocommit=None, touches_shared=False)


def _compare(first: Recorder, second: Recorder, *, record: bool) -> RehearsalResult:
    script, again = first.script(), second.script()
    obstacle = second.obstacle
    if not record:
        obstacle = "engine='alembic' was given"
    elif obstacle is None and script.steps != again.steps:
        differs = next(
            (step.revision for step, other in zip(script.steps, again.steps, strict=False) if step != other), ""
        )
        obstacle = f"revision {differs} does not send the same statements each time"
    return RehearsalResult(
        script=script if obstacle is None else None,
        obstacle=obstacle,
        autocommit=second.autocommit,
        touches_shared=script.touches_shared or again.touches_shared,
    )
