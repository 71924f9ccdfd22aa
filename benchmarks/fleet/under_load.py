"""The times and failures of requests while their fleet is migrated."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, nan
from statistics import median

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.build import settle
from benchmarks.fleet.climb import verify
from benchmarks.fleet.revisions import Change
from benchmarks.fleet.rows import Row
from tenantkit.exceptions import MigrationError

TABLE = 0
"""The client reads from this table and writes to the next; the migrations alter both."""

_THREADS = 8
NO_MIGRATION = "no migration"


@dataclass(frozen=True)
class Request:
    """One request: its due time, its duration from then, in seconds, and its error."""

    due: float
    seconds: float
    error: str | None


@dataclass
class Phase:
    """The requests during all migrations by one row."""

    name: str
    times: list[tuple[float, float]] = field(default_factory=list)
    """The begin and the end of each migration."""
    requests: list[Request] = field(default_factory=list)
    failed_tenants: int = 0

    @property
    def seconds(self) -> float:
        """The median time of a migration."""
        return median(end - start for start, end in self.times)

    @property
    def errors(self) -> list[str]:
        """The errors of failed requests."""
        return [request.error for request in self.requests if request.error is not None]

    def percentile(self, percent: int) -> float:
        """Return the time of a percentile of the requests, in seconds."""
        ordered = sorted(request.seconds for request in self.requests)
        return ordered[ceil(percent / 100 * len(ordered)) - 1] if ordered else nan


def measure(
    fleet: Fleet,
    rows: Sequence[Row],
    changes: Iterator[Change],
    *,
    rate: float,
    idle: float,
    rounds: int,
    tick: Callable[[str], None],
) -> list[Phase]:
    """Return the requests without a migration, and during migrations by each of *rows*, in several rounds."""
    baseline, *busy = phases = [Phase(NO_MIGRATION), *(Phase(row.name) for row in rows)]
    with _client(fleet, rate) as requests:
        for _ in range(rounds):
            for row, phase in zip(rows, busy, strict=True):
                tick(f"{row.name}, under load")
                change = next(changes)
                settle(fleet)
                with _timing(baseline):
                    time.sleep(idle)
                with _timing(phase):
                    failed = _failures(fleet, row, change)
                phase.failed_tenants += failed
                if not failed:
                    verify(fleet, change)
    for phase in phases:
        phase.requests += [
            request for request in requests if any(start <= request.due < end for start, end in phase.times)
        ]
    return phases


@contextmanager
def _timing(phase: Phase) -> Iterator[None]:
    start = time.monotonic()
    yield
    phase.times.append((start, time.monotonic()))


def _failures(fleet: Fleet, row: Row, change: Change) -> int:
    """Migrate the fleet, and return the number of failed tenants."""
    try:
        row.run(fleet, change, fleet.schemas)
    except MigrationError as error:
        return len(error.report.failures)
    return 0


@contextmanager
def _client(fleet: Fleet, rate: float) -> Iterator[list[Request]]:
    """Run a client of every tenant; after the block, the yielded list has its requests."""
    command = [sys.executable, "-m", "benchmarks.fleet.client", str(rate), str(_THREADS), str(TABLE)]
    requests: list[Request] = []
    with subprocess.Popen(
        command, env=fleet.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "warm\n"
            yield requests
        finally:
            process.stdin.close()
            shown = process.stdout.read()
        requests += [Request(*each) for each in json.loads(shown)]
