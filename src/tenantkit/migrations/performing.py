"""Doing many tasks at once, in threads: the queue of a run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from queue import SimpleQueue
from threading import Condition, Event, RLock, Thread
from time import monotonic
from typing import Protocol

from tenantkit.cancellation import Cancellation
from tenantkit.migrations.pace import Pace
from tenantkit.migrations.report import Outcome
from tenantkit.migrations.tasks import Again, Task


class Performer(Protocol):
    """Does one task at a time, in the thread that calls it."""

    def __call__(self, task: Task) -> Outcome | Again:
        """Do it."""
        ...

    def interrupt(self) -> None:
        """End what is being done, and keep nothing of it. Called from another thread, repeatedly until it has ended."""

    def close(self) -> object:
        """Let go of processes and connections."""


def perform_all(
    tasks: Sequence[Task],
    performers: Sequence[Callable[[], Performer]],
    stop: Event | None = None,
    pace: Pace | None = None,
    cancellation: Cancellation | None = None,
) -> Generator[Outcome]:
    """Do *tasks*, and yield the outcome of each as it ends.

    As many are done at a time as there are performers, or as *pace* says if that is less.
    A performer is made in its own thread, when there is something for it to do. When the caller stops early,
    or once *stop* is set, tasks that have begun are finished and no others are begun. With *stop*, none is begun after
    a failure until the caller, who may set it, asks for the next outcome. What a performer raises is raised here.

    :raises KeyboardInterrupt: if the run is cancelled, after the outcomes of the tasks that were done nevertheless.
    """
    cancellation = cancellation or Cancellation()
    backlog = _Backlog(tasks, stop, pace)
    done: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
    made: list[Performer] = []
    threads = [
        Thread(target=_perform, args=(number, make, made, backlog, done), name=f"tenantkit-migration-{number}")
        for number, make in enumerate(performers[: len(tasks)])
    ]

    def interrupt() -> None:
        backlog.stop()
        for performer in made:
            with suppress(Exception):  # it may end at the same time
                performer.interrupt()

    with cancellation.cancelling(interrupt):
        try:
            for thread in threads:
                thread.start()
            for result in _results(done, len(threads)):
                if cancellation.is_requested and not getattr(result, "ok", False):
                    continue  # that is why it failed
                if isinstance(result, BaseException):
                    raise result
                yield result
                backlog.settle(result)
        except KeyboardInterrupt:
            cancellation.request()  # by a signal, or by what a thread raised
            raise
        finally:
            backlog.stop()
            for thread in filter(Thread.is_alive, threads):
                thread.join()
    cancellation.check()


def _results(done: SimpleQueue[Outcome | BaseException | None], threads: int) -> Iterator[Outcome | BaseException]:
    """Yield what threads put on *done*, until each has put ``None``."""
    for _ in range(threads):
        while (result := done.get()) is not None:
            yield result


def _perform(
    number: int,
    make: Callable[[], Performer],
    made: list[Performer],
    backlog: _Backlog,
    done: SimpleQueue[Outcome | BaseException | None],
) -> None:
    """Take tasks until there are none, and put the outcome of each on *done*, then ``None``."""
    performer: Performer | None = None
    try:
        while (task := backlog.take(number)) is not None:
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

    def __init__(self, tasks: Sequence[Task], stop: Event | None, pace: Pace | None) -> None:
        self._stop = stop
        self._pace = pace
        self._unsettled = 0
        self._waiting = [(0.0, number, task) for number, task in enumerate(tasks)]
        heapify(self._waiting)
        self._number = len(tasks)
        self._unfinished = len(tasks)
        lock = RLock()
        self._changed = Condition(lock)
        self._turns_changed = Condition(lock)
        """Those whose turn it is not are woken up for nothing else, or there would be no end of it."""
        if pace is not None:
            pace.start(monotonic())

    def take(self, number: int) -> Task | None:
        """Return the next task for a performer, by its number from 0; ``None`` when there will be none.

        Waits for one if all the others are in work, and while fewer performers are to work.
        """
        with self._changed:
            while not self._is_over:
                if self._pace is not None and number >= self._pace.width:
                    self._await_turn(self._pace)
                    continue
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
            self._tell(turns=self._pace is not None and self._pace.finished(monotonic()))

    def settle(self, outcome: Outcome) -> None:
        """Go on after an outcome that the caller has seen."""
        with self._changed:
            self._unsettled -= self._matters(outcome)
            self._tell()

    def stop(self) -> None:
        """Begin no other task."""
        with self._changed:
            self._unfinished = 0
            self._tell()

    @property
    def _is_over(self) -> bool:
        return self._unfinished <= 0 or (self._stop is not None and self._stop.is_set())

    def _matters(self, outcome: Outcome) -> bool:
        return self._stop is not None and not outcome.ok

    def _tell(self, *, turns: bool = False) -> None:
        self._changed.notify_all()
        if turns or self._is_over:
            self._turns_changed.notify_all()

    def _await_turn(self, pace: Pace) -> None:
        patience = pace.patience(monotonic())
        if patience == 0:
            pace.widen(monotonic())
            self._turns_changed.notify_all()
        else:
            self._turns_changed.wait(patience)
