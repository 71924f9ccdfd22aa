"""A large fleet at its head: the time of a query of its status, and the memory of its migration."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.climb import server_seconds, verify
from benchmarks.fleet.processes import Ran, run_watched
from benchmarks.fleet.revisions import write_changes
from benchmarks.fleet.rows import tenantkit_command


@dataclass
class Command:
    """A command for the fleet, and its measurements."""

    name: str
    ran: list[Ran] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    """The server's seconds in statements, of all connections together."""

    @property
    def seconds(self) -> float:
        """The median time, including the start of the command."""
        return statistics.median(ran.seconds for ran in self.ran)

    @property
    def database_seconds(self) -> float:
        """The median time of the database."""
        return statistics.median(self.database)

    @property
    def runner(self) -> int:
        """The maximum memory of the command itself, in bytes."""
        return max(ran.runner for ran in self.ran)

    @property
    def workers(self) -> tuple[int, ...]:
        """The memory of each worker process, in bytes, in the run with most of them."""
        return max(self.ran, key=lambda ran: len(ran.workers)).workers


def measure(fleet: Fleet, *, samples: int) -> list[Command]:
    """Measure ``status`` and ``migrate`` at the head, and migrations of all tenants."""
    at_head = [Command("status"), Command("migrate")]
    for _ in range(samples):
        for command in at_head:
            _run(fleet, command, [command.name])
    replayed, by_workers = Command("migrate, one revision"), Command("migrate, one revision, by Alembic")
    first, second = write_changes(fleet, [0, 1])
    _run(fleet, replayed, ["migrate", first.id, "--jobs", "4"])
    verify(fleet, first)
    _run(fleet, by_workers, ["migrate", second.id, "--jobs", "2", "--engine", "alembic"])
    verify(fleet, second)
    return [*at_head, replayed, by_workers]


def _run(fleet: Fleet, command: Command, words: Sequence[str]) -> None:
    before = server_seconds(fleet)
    command.ran.append(run_watched([*tenantkit_command(), *words], fleet.environment))
    command.database.append(server_seconds(fleet) - before)
