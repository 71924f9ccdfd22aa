"""Measurements of a command's memory and of its child processes, through ``/proc``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter

_INTERVAL = 0.02


@dataclass(frozen=True)
class Ran:
    """The measurements of a command."""

    seconds: float
    runner: int
    """The command's maximum resident memory, in bytes."""
    workers: tuple[int, ...]
    """The maximum resident memory of each child process."""


def run_watched(command: Sequence[str], environment: Mapping[str, str]) -> Ran:
    """Run *command*, and return its measurements.

    :raises RuntimeError: with the end of its output, if it fails.
    """
    peaks: dict[int, int] = {}
    with TemporaryFile() as printed:
        start = perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT
        )
        while True:
            for pid in (process.pid, *_below(process.pid)):
                # The kernel keeps the maximum, so the last read has it; before exec, it would be that of the parent.
                peaks[pid] = _peak(pid) or peaks.get(pid, 0)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_INTERVAL)
                break
        seconds = perf_counter() - start
        printed.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: ...{printed.read().decode()[-1000:]}")
    runner = peaks.pop(process.pid)
    return Ran(seconds, runner, tuple(sorted(peaks.values())))


def _below(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                yield child
                yield from _below(child)


def _peak(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0  # it has just ended
