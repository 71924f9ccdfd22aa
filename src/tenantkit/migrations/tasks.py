"""What is to be done to one placement, and doing many such things at once: the queue of a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from queue import SimpleQueue
from threading import Condition, Event, Thread
from time import monotonic, perf_counter, sleep
from typing import Literal, Protocol, TypeAlias

from tenantkit.migrations.environment import Site
from tenantkit.migrations.lines import Heads
from tenantkit.migrations.report import Outcome
from tenantkit.provisioning.locks import reason, sqlstate

Command: TypeAlias = Literal["upgrade", "downgrade", "stamp"]

ATTEMPTS = 8
"""How often a placement is tried when locks stand in the way."""

PATIENCE = 60.0
"""For how many seconds a placement may be claimed by another run before this one calls it a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One placement's part of a run."""

    key: str
    site: Site
    command: Command
    target: str
    run_id: int = 0
    tenant_id: int = 0
    """Together they name the row of the ledger; 0 if there is none."""
    expected: Heads | None = None
    """Where it must be for this to be done; ``None`` for anywhere."""
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
        """Return what came of it: revisions as `join` has them, *start* by `perf_counter`, *error* if it failed."""
        return Outcome(
            key=self.key,
            schema=self.site.schema,
            from_revision=before or None,
            to_revision=after or None,
            engine=engine,
            attempts=self.attempt,
            duration_ms=0 if start is None else round((perf_counter() - start) * 1000),
            sqlstate=None if error is None else sqlstate(error),
            error=None if error is None else reason(error),
        )


@dataclass(frozen=True, slots=True)
class Again:
    """Not done, because somebody else was in the way: to be tried again."""

    error: str
    busy: bool = False
    """Whether another run is at work on the placement, rather than locks in the way."""
    sqlstate: str | None = None

    def next(self, task: Task) -> tuple[Task, float] | Outcome:
        """Return the task as it is to be tried again, and in how many seconds; or the failure, if it is enough.

        The pauses grow, and are random, so that those who were in each other's way do not meet again.
        """
        if self.busy:
            pause = random.uniform(0.05, 0.5)  # noqa: S311 - no secret
            if task.waited < PATIENCE:
                return replace(task, waited=task.waited + pause), pause
        elif task.attempt < ATTEMPTS:
            pause = random.uniform(0, min(2, 0.05 * 2**task.attempt))  # noqa: S311 - no secret
            return replace(task, attempt=task.attempt + 1), pause
        return replace(task.outcome(), sqlstate=self.sqlstate, error=self.error)


class Performer(Protocol):
    """Does one task at a time, in the thread that calls it."""

    def __call__(self, task: Task) -> Outcome | Again:
        """Do it."""
        ...

    def interrupt(self) -> None:
        """End what is being done, from another thread; nothing of it is kept."""

    def close(self) -> object:
        """Let go of processes and connections."""


def perform_one(task: Task, perform: Callable[[Task], Outcome | Again]) -> Outcome:
    """Do one task in this thread, again if need be."""
    while isinstance(result := perform(task), Again):
        step = result.next(task)
        if isinstance(step, Outcome):
            return step
        task, pause = step
        sleep(pause)
    return result


def perform_all(
    tasks: Sequence[Task], performers: Sequence[Callable[[], Performer]], stop: Event | None = None
) -> Iterator[Outcome]:
    """Do *tasks*, as many at a time as there are performers, and yield what came of each as it ends.

    A performer is made in its own thread, when there is something for it to do. When the caller stops early,
    or once *stop* is set, tasks that have begun are finished and no others are begun. With *stop*, none is begun after
    a failure until the caller, who may set it, asks for the next outcome. What a performer raises is raised here.
    """
    backlog = _Backlog(tasks, stop)
    done: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
    made: list[Performer] = []
    threads = [
        Thread(target=_perform, args=(make, made, backlog, done), name=f"tenantkit-migration-{number}")
        for number, make in enumerate(performers[: len(tasks)])
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            while (result := done.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
                backlog.settle(result)
    except KeyboardInterrupt:
        backlog.stop()
        for performer in made:
            performer.interrupt()
        raise
    finally:
        backlog.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _perform(
    make: Callable[[], Performer],
    made: list[Performer],
    backlog: _Backlog,
    done: SimpleQueue[Outcome | BaseException | None],
) -> None:
    """Take tasks until there are none, and put what came of each on *done*, then ``None``."""
    performer: Performer | None = None
    try:
        while (task := backlog.take()) is not None:
            if performer is None:
                performer = make()
                made.append(performer)
            result = performer(task)
            step = result.next(task) if isinstance(result, Again) else result
            if isinstance(step, Outcome):
                backlog.finish(step)
                done.put(step)
            else:
                backlog.put_back(*step)
    except BaseException as error:  # noqa: BLE001 - an exit too is raised again, where it can be handled
        done.put(error)
    finally:
        done.put(None)
        if performer is not None:
            performer.close()


class _Backlog:
    """Tasks that wait, some of them until a moment has come."""

    def __init__(self, tasks: Sequence[Task], stop: Event | None) -> None:
        self._stop = stop
        self._unsettled = 0
        self._waiting = [(0.0, number, task) for number, task in enumerate(tasks)]
        heapify(self._waiting)
        self._number = len(tasks)
        self._unfinished = len(tasks)
        self._changed = Condition()

    def take(self) -> Task | None:
        """Return the next task, waiting for one if all the others are in work; ``None`` when there will be none."""
        with self._changed:
            while self._unfinished > 0 and not (self._stop is not None and self._stop.is_set()):
                if self._unsettled:
                    self._changed.wait()
                    continue
                pause = self._waiting[0][0] - monotonic() if self._waiting else None
                if pause is not None and pause <= 0:
                    return heappop(self._waiting)[2]
                self._changed.wait(pause)
            return None

    def put_back(self, task: Task, pause: float) -> None:
        """Have a task done later."""
        with self._changed:
            self._number += 1
            heappush(self._waiting, (monotonic() + pause, self._number, task))
            self._changed.notify()

    def finish(self, outcome: Outcome) -> None:
        """Count a task as done."""
        with self._changed:
            self._unfinished -= 1
            self._unsettled += self._matters(outcome)
            self._changed.notify_all()

    def settle(self, outcome: Outcome) -> None:
        """Go on after an outcome that the caller has seen."""
        with self._changed:
            self._unsettled -= self._matters(outcome)
            self._changed.notify_all()

    def _matters(self, outcome: Outcome) -> bool:
        return self._stop is not None and not outcome.ok

    def stop(self) -> None:
        """Begin no other task."""
        with self._changed:
            self._unfinished = 0
            self._changed.notify_all()
