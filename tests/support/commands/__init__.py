"""Commands of the console script, run by a fork server: for tests that are about what a command does.

Those about signals, terminals, the interpreter's settings or its start use real processes.
"""

from __future__ import annotations

import atexit
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.support.commands.client import send
from tests.support.commands.server import REFUSED

SCRIPT = Path(sys.executable).with_name("tenantkit")

_HERE = Path(__file__).parent
_LIMIT = 300
"""Seconds that a command may take."""


def run(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the console script with an empty stdin.

    :raises subprocess.TimeoutExpired: if it hangs; it is killed.
    """
    command = [str(SCRIPT), *arguments]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        Path(os.devnull).open() as nothing,
    ):
        fds = [nothing.fileno(), out.fileno(), err.fileno()]
        with send(fork_server(), command, str(cwd), environment, fds) as connection:
            connection.settimeout(_LIMIT)
            try:
                answer = connection.recv(64)
            except TimeoutError:
                answer = None
        if answer == REFUSED:
            return run_anew(*arguments, cwd=cwd, environment=environment)
        out.seek(0)
        err.seek(0)
        if answer is None:
            raise subprocess.TimeoutExpired(command, _LIMIT, out.read(), err.read())
        assert answer, f"the process that runs {command} died"
        return subprocess.CompletedProcess(command, int(answer), out.read(), err.read())


def run_anew(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the console script in a new interpreter, with an empty stdin."""
    return subprocess.run(
        [SCRIPT, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT,
    )


def write_script(folder: Path) -> None:
    """Write a ``tenantkit`` that has the fork server run the real one, for a shell."""
    command = shlex.join([sys.executable, "-IS", str(_HERE / "client.py"), fork_server(), str(SCRIPT)])
    file = folder / SCRIPT.name
    file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    file.chmod(0o755)


@cache
def fork_server() -> str:
    """Start it, one for each process of pytest, and return the path of its socket."""
    folder = tempfile.TemporaryDirectory(prefix="tk-")
    path = str(Path(folder.name) / "commands")
    process = subprocess.Popen(
        [sys.executable, _HERE / "server.py", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def stop() -> None:
        with folder, process:
            process.kill()  # it would write a file of coverage data after all others have been combined

    atexit.register(stop)
    assert process.stdout
    assert process.stdout.readline() == "ready\n", "the fork server did not start"
    return path
