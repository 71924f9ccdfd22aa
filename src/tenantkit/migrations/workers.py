"""The parent's side of worker processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from multiprocessing import Pipe
from typing import TYPE_CHECKING

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.report import Advance, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantkit.migrations.tasks import Again, Task
    from tenantkit.migrations.worker import Setup

_MAIN = """
import signal
if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
from tenantkit.migrations.worker import main
main()
"""
"""Interrupted while it still imports, a worker just ends; `main` takes more care, as there may be a query to cancel.

A worker of a process that ignores SIGINT, such as a background job of a shell script, ignores it too: Ctrl-C reaches
both, and would fail the tenants of a run that goes on.
"""


class Worker:
    """Does tasks with Alembic in a process of its own; if that dies, its tenant has failed and a new one goes on."""

    def __init__(self, setup: Setup, tell: Callable[[Advance], object] | None = None) -> None:
        self._setup = setup
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, task: Task) -> Outcome | Again:
        """Have *task* done."""
        if self._process is None:
            self._start()
        try:
            self._pipe.send(task)
        except OSError:
            return _lost(task, self.close())
        while True:
            try:
                result: Outcome | Again | Advance = self._pipe.recv()
            except (EOFError, OSError):
                return _lost(task, self.close())
            if not isinstance(result, Advance):
                return result
            if self._tell is not None:
                self._tell(result)

    def interrupt(self) -> None:
        """Have the process end at once, as Ctrl-C does."""
        if (process := self._process) is not None:
            process.send_signal(signal.SIGINT)

    def close(self) -> int:
        """Let the process end, and return its exit code."""
        if self._process is None:
            return 0
        self._pipe.close()
        exit_code = self._process.wait()
        self._process = None
        return exit_code

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-c", _MAIN, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603
        try:
            self._pipe.send(self._setup)
            self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ConfigurationError(
                f"A worker process could not start (exit code {self.close()}). What it printed says why; "
                "jobs=0 migrates in this process."
            ) from error


def _lost(task: Task, exit_code: int) -> Outcome:
    return Outcome(
        key=task.key,
        schema=task.site.schema,
        from_revision=None,
        to_revision=None,
        engine="alembic",
        attempts=task.attempt,
        error=f"the worker process died (exit code {exit_code}); what it had not committed was rolled back",
    )
