"""Progress of a run: what it tells its caller while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from typing_extensions import override

from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import Wave


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
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


class Progress(Protocol):
    """Is told how a run goes, in the caller's thread."""

    def started(self, total: int) -> None:
        """*total* tenants have something to do."""

    def finished(self, outcome: Outcome) -> None:
        """One of them is done."""


@runtime_checkable
class WaveProgress(Progress, Protocol):
    """Is told of waves too."""

    def wave_ended(self, wave: Wave) -> None:
        """Hear that a wave is done, and another is to follow."""


@runtime_checkable
class AdvanceProgress(Progress, Protocol):
    """Is told too how far long steps are."""

    def advanced(self, advance: Advance) -> None:
        """Hear it, at most twice a second, and not in the caller's thread if a process is at work on the tenant."""


@runtime_checkable
class WaitProgress(Progress, Protocol):
    """Is told too which sessions a migration waits for."""

    def waiting(self, waiting: Waiting) -> None:
        """Hear it, when it begins and every ten seconds, in another thread. It takes one more connection."""


@runtime_checkable
class LossProgress(Progress, Protocol):
    """Is told too when the server has crashed and what it had done last is lost."""

    def lost(self, outcomes: Sequence[Outcome]) -> None:
        """Hear that these, which were told, do not hold any more. Unless the run stops, the tenants are done again."""


class NoProgress:
    """Keeps what it is told to itself."""

    def started(self, total: int) -> None:
        """Ignore it."""

    def finished(self, outcome: Outcome) -> None:
        """Ignore it."""
