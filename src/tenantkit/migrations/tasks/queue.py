"""Concurrent execution of tasks in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from queue import Empty, SimpleQueue
from threading import Condition, Event, RLock, Thread
from time import monotonic
from typing import Protocol

from tenantkit.cancellation import Cancellation
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.concurrency import ConcurrencyLimit
from tenantkit.migrations.tasks.task import Retry, Task


class Executor(Protocol):
    """Executes one task at a time, in the thread that calls it."""

    def __call__(self, task: Task) -> Outcome | Retry:
        """Do it."""
        ...

    def interrupt(self) -> None:
        """End the running task without a result. Called from another thread, repeatedly until the task has ended."""

    def close(self) -> object:
        """Close processes and connections."""


def run_tasks(
    tasks: Sequence[Task],
    executors: Sequence[Callable[[], Executor]],
    stop: Event | None = None,
    concurrency: ConcurrencyLimit | None = None,
    cancellation: Cancellation | None = None,
    *,
    patience: float | None = None,
) -> Generator[Outcome | None]:
    """Execute *tasks*, and yield the outcome of each as it ends.

    The number of tasks at a time is the number of executors, or *concurrency* if that is less. An executor is created
    in its own thread, when it has a task. When the caller stops early, or once *stop* is set, running tasks are
    finished and no others begin. With *stop*, no task begins after a failure until the caller, which may set it, asks
    for the next outcome. Exceptions of an executor are raised here.

    :param patience: the seconds without an outcome after which ``None`` is yielded, for a caller with other work.
    :raises KeyboardInterrupt: if the run is cancelled, after the outcomes of the tasks that were finished nevertheless.
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
            for result in _results(done, len(threads), patience):
                if result is None:
                    yield None
                    continue
                if cancellation.is_requested and not getattr(result, "ok", False):
                    continue  # the interruption caused the failure
                if isinstance(result, BaseException):
                    raise result
                yield result
                queue.settle(result)
        except KeyboardInterrupt:
            cancellation.request()  # after a signal, or an exception in a thread
            raise
        finally:
            queue.stop()
            for thread in filter(Thread.is_alive, threads):
                thread.join()
    cancellation.check()


def interleave(parts: Iterable[Generator[Outcome | None]]) -> Generator[Outcome]:
    """Yield the outcomes of several generators in turn, each of which may yield ``None`` while it waits.

    :raises KeyboardInterrupt: if one of them does, after the outcomes that the others have nevertheless.
    """
    pending, interruption = deque(parts), None
    try:
        while pending:
            part = pending.popleft()
            try:
                outcome = next(part)
            except StopIteration:
                continue
            except KeyboardInterrupt as error:
                interruption = error
                continue
            pending.append(part)
            if outcome is not None:
                yield outcome
        if interruption is not None:
            raise interruption
    finally:
        for part in pending:
            part.close()


def _results(
    done: SimpleQueue[Outcome | BaseException | None], threads: int, patience: float | None
) -> Iterator[Outcome | BaseException | None]:
    """Yield the items that threads put on *done*, until each has put ``None``; and ``None`` while there is none."""
    while threads:
        try:
            result = done.get(timeout=patience)
        except Empty:
            yield None
            continue
        if result is None:
            threads -= 1
        else:
            yield result


def _work(
    number: int,
    make: Callable[[], Executor],
    made: list[Executor],
    queue: _TaskQueue,
    done: SimpleQueue[Outcome | BaseException | None],
) -> None:
    """Execute tasks until there are none, and put the outcome of each on *done*, then ``None``."""
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
    """Pending tasks; some have a not-before time."""

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
        """Wakes threads above the concurrency limit, which need no other notification."""
        if concurrency is not None:
            concurrency.start(monotonic())

    def take(self, number: int) -> Task | None:
        """Return the next task for an executor, by the executor's number from 0; ``None`` at the end.

        Waits while all remaining tasks run, and while the executor is above the concurrency limit.
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
        """Add a task again, for a later attempt."""
        with self._changed:
            self._number += 1
            heappush(self._waiting, (monotonic() + pause, self._number, task))
            self._changed.notify()

    def finish(self, outcome: Outcome) -> None:
        """Count a finished task."""
        with self._changed:
            self._unfinished -= 1
            self._unsettled += self._matters(outcome)
            self._notify(turns=self._concurrency is not None and self._concurrency.finished(monotonic()))

    def settle(self, outcome: Outcome) -> None:
        """Continue after an outcome that the caller has seen."""
        with self._changed:
            self._unsettled -= self._matters(outcome)
            self._notify()

    def stop(self) -> None:
        """Begin no other task."""
        with self._changed:
            self._unfinished = 0
            self._notify()

    @property
    def _is_over(self) -> bool:
        return self._unfinished <= 0 or (self._stop is not None and self._stop.is_set())

    def _matters(self, outcome: Outcome) -> bool:
        return self._stop is not None and not outcome.ok

    def _notify(self, *, turns: bool = False) -> None:
        self._changed.notify_all()
        if turns or self._is_over:
            self._turns_changed.notify_all()

    def _await_turn(self, concurrency: ConcurrencyLimit) -> None:
        timeout = concurrency.patience(monotonic())
        if timeout == 0:
            concurrency.widen(monotonic())
            self._turns_changed.notify_all()
        else:
            self._turns_changed.wait(timeout)
