"""Progress of a run: the calls to its caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import Wave
from tenantkit.postgres.blockers import Blocker


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """The progress of a long step of one tenant's migration."""

    key: str
    step: str
    """The name of the step, such as ``backfill of note``."""
    rows: int
    """Number of rows that have been set."""
    percent: int
    """Percentage of the table that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The sessions for which one tenant's migration waits."""

    key: str
    blockers: tuple[Blocker, ...]
    """The sessions that hold the lock, or are ahead in its queue."""

    @override
    def __str__(self) -> str:
        return f"waits for {' and '.join(map(str, self.blockers))}"


class Progress:
    """Receives the progress of a run. Override the methods that you need: the others do nothing.

    Methods are called in the caller's thread, unless they say otherwise.
    """

    def started(self, total: int) -> None:
        """Receive the number of tenants to migrate."""

    def finished(self, outcome: Outcome) -> None:
        """Receive the outcome of one tenant."""

    def wave_ended(self, wave: Wave) -> None:
        """Receive a finished wave, if another one follows."""

    def lost(self, outcomes: Sequence[Outcome]) -> None:
        """Receive the outcomes that a server lost in a crash. Unless the run stops, the tenants are migrated again."""

    def advanced(self, step: StepProgress) -> None:
        """Receive the progress of a long step: at most twice a second, and in another thread if a process works."""

    def waiting(self, waiting: Waiting) -> None:
        """Receive the sessions for which a migration waits: at first and every ten seconds, in another thread.

        A run whose progress overrides this takes one more connection.
        """

    @property
    def watches_waits(self) -> bool:
        """Whether `waiting` is overridden."""
        return type(self).waiting is not Progress.waiting
