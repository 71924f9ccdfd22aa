"""The parent's side of worker processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from socket import SHUT_WR, socketpair
from time import monotonic
from typing import TYPE_CHECKING

from tenantkit.cancellation import SIGNALS
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.graph.places import Place
from tenantkit.migrations.results.progress import StepProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantkit.migrations.executors.worker import WorkerConfig
    from tenantkit.migrations.results.outcome import Outcome
    from tenantkit.migrations.tasks.task import Retry, Task

_log = logging.getLogger("tenantkit.migrations")

_MAIN = """
import signal
signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
for number in signals:
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
from tenantkit.garbage import paused
with paused():
    from tenantkit.migrations.executors.worker import main
main()
"""
"""The program of a worker. No garbage is collected during its imports.

Ctrl-C reaches all processes of a terminal, but the parent decides whether the run ends.

Processes that a revision starts react to signals as usual: they do not inherit handlers, as they would SIG_IGN.
"""

_PATIENCE = 5.0
"""Seconds for a process to end after an interruption."""

END_LIMIT = 30.0
"""Seconds for a process to end after its last task, for example to execute what libraries have registered for that."""


class Worker:
    """Executes tasks with Alembic in another process; if that dies, its task has failed and a new process continues."""

    def __init__(self, setup: WorkerConfig, tell: Callable[[StepProgress], object] | None = None) -> None:
        self._setup = setup
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._interrupted_at: float | None = None

    def __call__(self, task: Task) -> Outcome | Retry:
        """Execute *task* in the process; after `interrupt`, with a failure that is no result."""
        if self._process is None:
            self._start()
        try:
            self._pipe.send(task)
        except OSError:
            return self._lost(task)
        place: Place | None = None
        while True:
            try:
                result: Outcome | Retry | StepProgress | Place = self._pipe.recv()
            except (EOFError, OSError):
                return self._lost(task, place)
            match result:
                case Place():
                    place = result
                case StepProgress():
                    if self._tell is not None:
                        self._tell(result)
                case _:
                    return result

    def interrupt(self) -> None:
        """Let the process cancel its task and end, as if this process had died; its answer may still arrive."""
        if (process := self._process) is not None:
            self._interrupted_at = self._interrupted_at or monotonic()
            if not self._is_ready or monotonic() - self._interrupted_at > _PATIENCE:
                process.kill()
            self._end.shutdown(SHUT_WR)

    def close(self) -> int:
        """Let the process end, and return its exit code."""
        if self._process is None:
            return 0
        self._pipe.close()
        self._end.close()
        process, self._process = self._process, None
        try:
            return process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            _log.warning(
                "A worker process is killed, as it has not ended %g seconds after its last task. A revision, or env.py,"
                " may have left a thread running that is no daemon.",
                END_LIMIT,
            )
            process.kill()
            return process.wait()

    def _start(self) -> None:
        self._end, theirs = socketpair()
        self._pipe = Pipe(os.dup(self._end.fileno()))
        self._is_ready = False
        # No signal may reach the worker before it can handle it: it would be reported as dead.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with theirs:
                command = [sys.executable, "-c", _MAIN, str(theirs.fileno())]
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            self._pipe.send(self._setup)
            self._pipe.recv()
            self._is_ready = True
        except (EOFError, OSError) as error:
            exit_code = self.close()
            raise ConfigurationError(
                f"A worker process could not start (exit code {exit_code}). Its output has the reason; "
                "jobs=0 migrates in this process."
            ) from error

    def _lost(self, task: Task, place: Place | None = None) -> Outcome:
        return replace(
            task.outcome(engine="alembic"),
            error=f"the worker process died (exit code {self.close()}); its open transaction was rolled back",
            revision=None if place is None else place.revision,
            file=None if place is None else place.file,
        )
