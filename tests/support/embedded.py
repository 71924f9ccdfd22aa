"""Processes that use an embedded server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Self

from tenantkit.testing.servers import memory
from tests.support.processes import unmeasured

USE = """
import sys
import psycopg
from tenantkit.embedded import embedded_database
url = embedded_database(*sys.argv[1:])
with psycopg.connect(host=url.query["host"], user=url.username, dbname=url.database) as connection:
    answer = connection.execute("SELECT pg_postmaster_start_time(), current_database()").fetchone()
print(answer, flush=True)
sys.stdin.read()
"""


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Yield a folder that other accounts may enter, unlike ``tmp_path``: run by root, the server needs that."""
    with tempfile.TemporaryDirectory(prefix="tk-", dir=memory(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


class ServerUser:
    """A process that uses the embedded server in a folder until it is told to exit."""

    def __init__(self, folder: Path, *arguments: str, is_measured: bool = True, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USE, str(folder), *arguments],
            env={**(os.environ if is_measured else unmeasured()), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        """Return when the server started, and the database's name."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def terminate(self, *, times: int = 1) -> int:
        """Tell it to stop, so often; return its exit code."""
        for _ in range(times):
            self.process.terminate()
            sleep(0.1)  # by then it has begun to
        self.process.communicate(timeout=60)
        return self.process.returncode

    def exit(self) -> tuple[int, str]:
        """Let it exit; return its exit code and what it said on stderr."""
        _, stderr = self.process.communicate("", timeout=60)
        return self.process.returncode, stderr

    def kill(self) -> None:
        """Kill it as ``kill -9`` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.exit()
