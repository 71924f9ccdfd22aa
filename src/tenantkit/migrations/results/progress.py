"""Progress of a run: what it tells its caller while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import Wave


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """How far a long step of one tenant's migration is."""

    key: str
    step: str
    """What is being done: ``backfill of note``."""
    rows: int
    """How many rows have been set."""
    percent: int
    """How much of the table has been gone through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A session that others wait for."""

    pid: int
    """Its process at the server; 0 for a prepared transaction."""
    user: str | None = None
    application: str | None = None
    state: str | None = None
    """What it does, as ``pg_stat_activity`` has it: ``active`` or ``idle in transaction``."""
    seconds: int | None = None
    """The age of its transaction."""

    @override
    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction"
        since = None if self.seconds is None else f"for {self.seconds} s"
        state = " ".join(filter(None, (self.state, since)))
        details = ", ".join(filter(None, (self.application, self.user and f"user {self.user}", state)))
        return f"process {self.pid} ({details})" if details else f"process {self.pid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What one tenant's migration waits for."""

    key: str
    blockers: tuple[Blocker, ...]
    """The sessions that hold the lock, or are before it in the queue."""

    @override
    def __str__(self) -> str:
        return f"waits for {' and '.join(map(str, self.blockers))}"


class Progress:
    """Hears how a run goes. Override the methods that are of interest: the others do nothing.

    Methods are called in the caller's thread, but for those that say otherwise.
    """

    def started(self, total: int) -> None:
        """Hear how many tenants have something to do."""

    def finished(self, outcome: Outcome) -> None:
        """Hear that one of them is done, or has failed."""

    def wave_ended(self, wave: Wave) -> None:
        """Hear that a wave is done, and another is to follow."""

    def lost(self, outcomes: Sequence[Outcome]) -> None:
        """Hear which outcomes a server that crashed has lost. Unless the run stops, the tenants are done again."""

    def advanced(self, step: StepProgress) -> None:
        """Hear how far a long step is: at most twice a second, and in another thread if a process does the work."""

    def waiting(self, waiting: Waiting) -> None:
        """Hear which sessions a migration waits for: when that begins and every ten seconds, in another thread.

        A run whose progress overrides this takes one more connection.
        """

    @property
    def watches_waits(self) -> bool:
        """Whether `waiting` is overridden."""
        return type(self).waiting is not Progress.waiting
