"""Worker processes of migrations, forked by the fork server: for tests that are about what a run does with them.

Those about signals, or the start of a worker, use new processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.commands import fork_server
from tests.support.commands.forked import ForkedProcess, Refused

DEVNULL, TimeoutExpired = subprocess.DEVNULL, subprocess.TimeoutExpired

_PYTHON = sys.executable


def Popen(command: Sequence[str], *, pass_fds: Sequence[int], stdin: int) -> Any:  # noqa: N802 - the name of what it replaces
    """Fork a worker, or start a new process if its interpreter would have other settings."""
    if command[0] == _PYTHON:
        with Path(os.devnull).open() as nothing, suppress(Refused):
            fds = [nothing.fileno(), 1, 2, *pass_fds]
            return ForkedProcess(fork_server(), ["-c", command[2], "3"], Path.cwd(), os.environ, fds)
    return subprocess.Popen(command, pass_fds=pass_fds, stdin=stdin)
