"""Worker processes of migrations, forked by the fork server: for tests that are about what a run does with them.

Those about signals, or the start of a worker, use new processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.commands import fork_server
from tests.support.commands.client import send
from tests.support.commands.server import interpreter_settings

DEVNULL = subprocess.DEVNULL

_PYTHON = sys.executable
_SETTINGS = interpreter_settings(os.environ)


class _Forked:
    """A worker, with what `subprocess.Popen` has of it."""

    def __init__(self, code: str, fd: int) -> None:
        with Path(os.devnull).open() as nothing:
            self._connection = send(
                fork_server(), ["-c", code, "3"], str(Path.cwd()), os.environ, [nothing.fileno(), 1, 2, fd]
            )

    def kill(self) -> None:
        with suppress(BrokenPipeError):  # it has ended
            self._connection.sendall(bytes([signal.SIGKILL]))

    def wait(self) -> int:
        with self._connection:
            return int(self._connection.recv(64))


def Popen(command: Sequence[str], *, pass_fds: Sequence[int], stdin: int) -> Any:  # noqa: N802 - the name of what it replaces
    """Fork a worker, or start a new process if its interpreter would have other settings."""
    if command[0] == _PYTHON and interpreter_settings(os.environ) == _SETTINGS:
        return _Forked(command[2], *pass_fds)
    return subprocess.Popen(command, pass_fds=pass_fds, stdin=stdin)
