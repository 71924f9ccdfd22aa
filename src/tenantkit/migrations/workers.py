"""The parent's side of worker processes."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import Pipe
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeAlias

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.report import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tenantkit.migrations.apply import Task
    from tenantkit.migrations.worker import Setup

_MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); from tenantkit.migrations.worker import main; main()"
)
"""Interrupted while it still imports, a worker just ends; `main` takes more care, as there may be a query to cancel."""

_Result: TypeAlias = "Outcome | Exception"


def apply_in_workers(setup: Setup, tasks: Sequence[Task], *, jobs: int) -> Iterator[Outcome]:
    """Have *tasks* done by worker processes, *jobs* at a time, and yield what came of each as it ends.

    When the caller stops early, tasks that have begun are finished and no others are begun.

    :raises ConfigurationError: if a worker cannot start.
    """
    todo: SimpleQueue[Task] = SimpleQueue()
    for task in tasks:
        todo.put(task)
    done: SimpleQueue[_Result] = SimpleQueue()
    stop = Event()
    drivers = [
        Thread(target=_drive, args=(setup, todo, done, stop), name=f"tenantkit-worker-{number}")
        for number in range(min(jobs, len(tasks)))
    ]
    for driver in drivers:
        driver.start()
    try:
        for _ in tasks:
            result = done.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        stop.set()
        for driver in drivers:
            driver.join()


def _drive(setup: Setup, todo: SimpleQueue[Task], done: SimpleQueue[_Result], stop: Event) -> None:
    """Keep one worker busy; if it dies, its tenant has failed and a new one goes on with the rest."""
    worker: _Worker | None = None
    try:
        while not stop.is_set():
            task = todo.get_nowait()
            worker = worker or _Worker(setup)
            try:
                done.put(worker.apply(task))
            except (EOFError, OSError):
                done.put(_lost(task, worker.close()))
                worker = None
    except Empty:
        pass
    except Exception as error:  # noqa: BLE001 - raised again where it can be handled
        done.put(error)
    finally:
        if worker is not None:
            worker.close()


def _lost(task: Task, exit_code: int) -> Outcome:
    return Outcome(
        key=task.key,
        schema=task.site.schema,
        from_revision=None,
        to_revision=None,
        error=f"the worker process died (exit code {exit_code}); what it had not committed was rolled back",
    )


class _Worker:
    """One worker process."""

    def __init__(self, setup: Setup) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-c", _MAIN, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603
        try:
            self._pipe.send(setup)
            self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ConfigurationError(
                f"A worker process could not start (exit code {self.close()}). What it printed says why; "
                "jobs=0 migrates in this process."
            ) from error

    def apply(self, task: Task) -> Outcome:
        """Have *task* done; raises `EOFError` or `OSError` if the process died."""
        self._pipe.send(task)
        outcome: Outcome = self._pipe.recv()
        return outcome

    def close(self) -> int:
        """Let the process end, and return its exit code."""
        self._pipe.close()
        return self._process.wait()
