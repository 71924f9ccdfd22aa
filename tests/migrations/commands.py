"""The command line as a process of its own, which gets signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import URL

from tests.support import commands
from tests.support.commands.forked import ForkedProcess
from tests.support.processes import unmeasured

HANGS = 60.0
"""Seconds after which a process that should end is killed."""

_APPLICATION = """
import os
import threading
import time
from pathlib import Path

from sqlalchemy import MetaData, make_url

from tenantkit import Tenancy
from tenantkit.drivers.psycopg import Connection

URL = make_url(os.environ["DATABASE_URL"])

def connect():
    # As if a server did not answer, in threads only.
    if Path("hangs").exists() and threading.current_thread() is not threading.main_thread():
        Path("hangs").write_text("connecting")
        time.sleep(300)
    url = URL.set(drivername="postgresql").render_as_string(hide_password=False)
    return Connection.connect(url, application_name="victim")

def make_tenancy():
    return Tenancy(URL, tenant=MetaData(schema="tenant"), migrations="migrations", listen=False,
        engine_options={"creator": connect})
"""
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Command:
    """One command, in a process group of its own; where a *program* runs it, in a new interpreter."""

    def __init__(
        self, folder: Path, url: URL, *arguments: str, program: Sequence[str] = (), terminal: int | None = None
    ) -> None:
        """Start it; *terminal* is the file descriptor of its terminal, by default it has none."""
        self.arguments = " ".join(arguments)
        (folder / "victim.py").write_text(_APPLICATION)
        environment = {
            **unmeasured(),
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "TENANTKIT_APP": "victim:make_tenancy",
        }
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        self.process: ForkedProcess | subprocess.Popen[bytes]
        if terminal is not None:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, "-m", "tenantkit", *arguments],
                cwd=folder,
                env=environment,
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
            )
            return
        with self._out.open("w") as out, self._err.open("w") as err, Path(os.devnull).open() as nothing:
            start = commands.start_anew if program else commands.start
            command = [*(program or [str(commands.SCRIPT)]), *arguments]
            self.process = start(
                command, cwd=folder, environment=environment, streams=(nothing.fileno(), out.fileno(), err.fileno())
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def send(self, number: int, *, to_group: bool = False) -> None:
        """Send a signal to the process, or as a terminal does to its workers too."""
        with suppress(ProcessLookupError):
            # The process by itself, as its id may be another one's after its end.
            os.killpg(self.process.pid, number) if to_group else self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(HANGS)

    def kill(self) -> None:
        """Kill the process and its workers, if they still run."""
        self.send(signal.SIGKILL, to_group=True)
        self.process.wait()

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def done(self) -> tuple[int, int] | None:
        """The reported numbers of tenants that were done and that failed; ``None`` without a report."""
        found = re.search(r"^(\d+) of \d+ tenants? were done, (\d+) of them failed", self.err, re.MULTILINE)
        return (int(found[1]), int(found[2])) if found else None
