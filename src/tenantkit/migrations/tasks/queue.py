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
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.concurrency import ConcurrencyLimit
from tenantkit.migrations.tasks.task import Retry, Task


class Executor(Protocol):
    """Does one task at a time, in the thread that calls it."""

    def __call__(self, task: Task) -> Outcome | Retry:
        """Do it."""
        ...

    def interrupt(self) -> None:
        """End what is being done, and keep nothing of it. Called from another thread, repeatedly until it has ended."""

    def close(self) -> object:
        """Let go of processes and connections."""


def run_tasks(
    tasks: Sequence[Task],
    executors: Sequence[Callable[[], Executor]],
    stop: Event | None = None,
    concurrency: ConcurrencyLimit | None = None,
    cancellation: Cancellation | None = None,
) -> Generator[Outcome]:
    """Do *tasks*, and yield the outcome of each as it ends.

    As many are done at a time as there are executors, or as *concurrency* says if that is less.
    An executor is made in its own thread, when there is something for it to do. When the caller stops early,
    or once *stop* is set, tasks that have begun are finished and no others are begun. With *stop*, none is begun after
    a failure until the caller, who may set it, asks for the next outcome. What an executor raises is raised here.

    :raises KeyboardInterrupt: if the run is cancelled, after the outcomes of the tasks that were done nevertheless.
    """
    cancellation = cancellation or Cancellation()
    queue = _TaskQueue(tasks, stop, concurrency)
    done: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
    made: list[Executor] = []
    threads = [
        Thread(target=_work, args=(number, make, made, queue, done), name=f"tenantkit-migration-{number}")
        for number, make in enumerate(executors[: len(tasks)])
    ]

    def interrupt() -> None:
        queue.stop()
        for executor in made:
            with suppress(Exception):  # it may end at the same time
                executor.interrupt()

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
                queue.settle(result)
        except KeyboardInterrupt:
            cancellation.request()  # by a signal, or by what a thread raised
            raise
        finally:
            queue.stop()
            for thread in filter(Thread.is_alive, threads):
                thread.join()
    cancellation.check()


def _results(done: SimpleQueue[Outcome | BaseException | None], threads: int) -> Iterator[Outcome | BaseException]:
    """Yield what threads put on *done*, until each has put ``None``."""
    for _ in range(threads):
        while (result := done.get()) is not None:
            yield result


def _work(
    number: int,
    make: Callable[[], Executor],
    made: list[Executor],
    queue: _TaskQueue,
    done: SimpleQueue[Outcome | BaseException | None],
) -> None:
    """Take tasks until there are none, and put the outcome of each on *done*, then ``None``."""
    executor: Executor | None = None
    try:
        while (task := queue.take(number)) is not None:
            if executor is None:
                executor = make()
                made.append(executor)
            result = executor(task)
            step = result.next(task) if isinstance(result, Retry) else result
            if isinstance(step, Outcome):
                queue.finish(step)
                done.put(step)
            else:
                queue.put_back(*step)
    except BaseException as error:  # noqa: BLE001 - an exit too is raised again, where it can be handled
        done.put(error)
    finally:
        done.put(None)
        if executor is not None:
            executor.close()


class _TaskQueue:
    """Tasks that wait, some of them until a moment has come."""

    def __init__(self, tasks: Sequence[Task], stop: Event | None, concurrency: ConcurrencyLimit | None) -> None:
        self._stop = stop
        self._concurrency = concurrency
        self._unsettled = 0
        self._waiting = [(0.0, number, task) for number, task in enumerate(tasks)]
        heapify(self._waiting)
        self._number = len(tasks)
        self._unfinished = len(tasks)
        lock = RLock()
        self._changed = Condition(lock)
        self._turns_changed = Condition(lock)
        """Those whose turn it is not are woken up for nothing else, or there would be no end of it."""
        if concurrency is not None:
            concurrency.start(monotonic())

    def take(self, number: int) -> Task | None:
        """Return the next task for an executor, by its number from 0; ``None`` when there will be none.

        Waits for one if all the others are in work, and while fewer executors are to work.
        """
        with self._changed:
            while not self._is_over:
                if self._concurrency is not None and number >= self._concurrency.width:
                    self._await_turn(self._concurrency)
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
            self._tell(turns=self._concurrency is not None and self._concurrency.finished(monotonic()))

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

    def _await_turn(self, concurrency: ConcurrencyLimit) -> None:
        patience = concurrency.patience(monotonic())
        if patience == 0:
            concurrency.widen(monotonic())
            self._turns_changed.notify_all()
        else:
            self._turns_changed.wait(patience)
