"""A process that the fork server has started, with what `subprocess.Popen` has of it."""

from __future__ import annotations

import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.commands.client import answer, send
from tests.support.commands.server import REFUSED


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """The process would need an interpreter with other settings than those of the fork server."""


class ForkedProcess:
    """It leads a process group of its own, and is killed when this object goes away."""

    def __init__(
        self, server: str, command: Sequence[str], cwd: Path, environment: Mapping[str, str], fds: Sequence[int]
    ) -> None:
        """Fork it.

        :raises Refused: if only a new interpreter can run it.
        """
        self.command = command
        self.returncode: int | None = None
        self._connection = send(server, command, str(cwd), environment, fds)
        if (first := answer(self._connection)) == REFUSED:
            self._connection.close()
            raise Refused
        self.pid = int(first)

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return its exit code.

        :raises subprocess.TimeoutExpired: if it has not after *timeout* seconds.
        """
        if self.returncode is None:
            if timeout is not None and not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.command, timeout)
            with self._connection:
                code = answer(self._connection)
            assert code, f"the process that watches {self.command} died"
            self.returncode = int(code)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        with suppress(OSError):
            self._connection.sendall(bytes([number]))

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        self.send_signal(signal.SIGKILL)
