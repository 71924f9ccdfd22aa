"""Commands of the console script, run by a fork server: for tests that are about what a command does.

Those about the interpreter's settings or its start use new processes. So do, while coverage is measured, those that
must not be: all commands that get signals.
"""

from __future__ import annotations

import atexit
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

from tests.support.commands.forked import ForkedProcess, Refused

Streams: TypeAlias = tuple[int, int, int]
"""File descriptors for stdin, stdout and stderr."""

SCRIPT = Path(sys.executable).with_name("tenantkit")

_HERE = Path(__file__).parent
_LIMIT = 300
"""Seconds that a command may take."""


def start(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], streams: Streams
) -> ForkedProcess | subprocess.Popen[bytes]:
    """Start a script, or Python code after ``-c``, in a process group of its own.

    It is forked, unless its interpreter would have other settings.
    """
    try:
        return ForkedProcess(fork_server(), command, cwd, environment, streams)
    except Refused:
        program = [sys.executable, *command] if command[0] == "-c" else command
        return start_anew(program, cwd=cwd, environment=environment, streams=streams)


def start_anew(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], streams: Streams
) -> subprocess.Popen[bytes]:
    """Start any program likewise."""
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, process_group=0
    )


def run(
    *arguments: str, cwd: Path, environment: Mapping[str, str], program: str = str(SCRIPT)
) -> subprocess.CompletedProcess[str]:
    """Run the console script, or another *program* that `start` can, with an empty stdin.

    :raises subprocess.TimeoutExpired: if it hangs; it is killed.
    """
    command = [program, *arguments]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        Path(os.devnull).open() as nothing,
    ):
        process = start(
            command, cwd=cwd, environment=environment, streams=(nothing.fileno(), out.fileno(), err.fileno())
        )
        code = None
        try:
            code = process.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        if code is None:
            raise subprocess.TimeoutExpired(command, _LIMIT, out.read(), err.read())
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


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
