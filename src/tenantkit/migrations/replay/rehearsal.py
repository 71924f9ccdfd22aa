"""Finding out, with the first placements of many alike, what the others need."""

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
    """What is known of a group of placements that are at the same revision."""

    script: Script | None
    """What to send to the others: everything, or up to the first step that cannot be in a transaction."""
    obstacle: str | None
    """Why there is no script, if there is none."""
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
    """Have Alembic do some of *tasks* from their beginning, and yield the outcome of each.

    With the last one comes what was found out: with *record*, after two that needed the very same statements. One that
    another run is at work on comes last: the fleet does not wait for it.
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
            # What it says may be about the recording only. After a step outside of a transaction, it is the next
            # attempt whose error misleads: that step has been done.
            recorder.refuse("a revision fails while it is recorded")
            again = run_task(task, alembic, cancellation)
            outcome = again if again.ok or recorder.autocommit is None else outcome
        if outcome.ok and not outcome.has_moved:
            found = None  # another run was here, and there was nothing to record
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
        obstacle = "engine='alembic' was asked for"
    elif obstacle is None and script.steps != again.steps:
        differs = next(
            (step.revision for step, other in zip(script.steps, again.steps, strict=False) if step != other), ""
        )
        obstacle = f"revision {differs} does not send the same each time"
    return RehearsalResult(
        script=script if obstacle is None else None,
        obstacle=obstacle,
        autocommit=second.autocommit,
        touches_shared=script.touches_shared or again.touches_shared,
    )
