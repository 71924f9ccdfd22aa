"""Results of a fleet migration: values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from typing_extensions import override

from tenantkit.exceptions import as_clause
from tenantkit.migrations.graph.revision_graph import Heads
from tenantkit.migrations.results.failures import FailureGroup, group_failures
from tenantkit.user_code import describe_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of migrating one tenant."""

    key: str
    schema: str
    from_revision: str | None
    """Where the tenant was; ``None`` if at no revision. Several heads are joined by commas."""
    to_revision: str | None
    """Where it is now; after a failure, where it still is."""
    engine: str | None = None
    """What migrated it: ``replay`` or ``alembic``."""
    attempts: int = 1
    """How often it was tried, because locks stood in the way."""
    duration_ms: int = 0
    sqlstate: str | None = None
    error: str | None = None
    """Why it failed, in one line; ``None`` if it did not."""
    revision: str | None = None
    """The revision that failed, if one did; at a commit, the first and the last of those that it was for."""
    file: str | None = None
    """The file in which it failed: the revision's, or ``env.py``."""
    line: int | None = None
    """The line of that file."""
    traceback: str | None = None
    """The traceback of the failure, if Python code failed. It holds no parameters of statements."""

    @property
    def reason(self) -> str:
        """Why it failed and where, in one line; an empty string if it did not fail."""
        error = self.error or ""
        return f"{as_clause(error)} ({self.place})" if self.place else error

    @property
    def place(self) -> str:
        """Revision, file and line of the failure, in words, as far as they are known; else an empty string."""
        return describe_place(self.revision, self.file, self.line)

    @property
    def ok(self) -> bool:
        """Whether the tenant is where it should be."""
        return self.error is None

    @property
    def has_moved(self) -> bool:
        """Whether this run brought it from one revision to another."""
        return self.from_revision != self.to_revision


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A part of a run that has been done."""

    run_id: int
    number: int
    """Which it is, from 1."""
    count: int
    """How many waves the run has."""
    outcomes: tuple[Outcome, ...]
    """The result for each of its tenants."""

    @property
    def done(self) -> int:
        """How many of its tenants did not fail."""
        return len(self.outcomes) - len(self.failures)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Those of its tenants that failed."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """The result of one run over a fleet."""

    run_id: int
    command: str
    target: str
    shared: Outcome | None
    """What happened to the shared tables; ``None`` if they were not part of the run."""
    outcomes: tuple[Outcome, ...]
    """The tenants that had something to do, in the order in which they finished."""
    unchanged: int
    """How many tenants were there already, or were brought there by another run at the same time."""
    not_replayed: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why Alembic ran for tenants one by one, and for how many: by reason."""
    stopped: str | None = None
    """Why the run was stopped before it was through; ``None`` if it was not."""
    left: int = 0
    """How many tenants it had not begun, or not finished, when it was stopped; they are whole, and can be taken up."""

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The tenants that failed."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)

    @property
    def migrated(self) -> tuple[Outcome, ...]:
        """The tenants that were changed."""
        return tuple(outcome for outcome in self.outcomes if outcome.ok)

    @property
    def stop(self) -> str | None:
        """Why the run was stopped, what that left, and how to go on; ``None`` if it was not."""
        if self.stopped is None:
            return None
        again = (
            f"'tenantkit migrate --resume {self.run_id}' with the same options"
            if self.command == "migrate"
            else "The same command again"
        )
        left = f"{self.left} tenant{' was' if self.left == 1 else 's were'} not begun"
        return f"stopped because {self.stopped}; {left}. {again} goes on with those that are not done."

    @property
    def failure_groups(self) -> tuple[FailureGroup, ...]:
        """The failures by their reason, the most frequent first."""
        return group_failures(self.failures)

    @property
    def engines(self) -> dict[str, int]:
        """How many tenants each engine migrated."""
        return dict(Counter(outcome.engine for outcome in self.migrated if outcome.engine is not None))

    @override
    def __str__(self) -> str:
        """Say how it went, in one line."""
        counts = f"{len(self.migrated)} migrated, {self.unchanged} unchanged, {len(self.failures)} failed"
        if self.stop is not None:
            return f"{counts}; {self.stop}"
        if not self.failures:
            return counts
        first = self.failures[0]
        return (
            f"{counts}; the first: {first.key}: {as_clause(first.reason)}. "
            "Fix the cause, then run the same command again: tenants that are done are not touched again."
        )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementStatus:
    """Where one tenant stands in the line of revisions."""

    key: str
    schema: str
    status: str
    """The tenant's own status, such as ``active``."""
    revision: str | None
    state: str
    """``current``, ``behind``, ``unknown`` (a revision that this checkout does not have) or ``missing`` (no schema)."""
    error: str | None = None
    """Why its last migration failed, if it did and the tenant is not current; or why it cannot be migrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """Where a fleet stands."""

    heads: Heads
    shared_heads: Heads
    shared_revision: str | None
    shared_is_current: bool
    """Whether the shared tables are at their newest revision, or at the last of the phase that was asked about."""
    placements: tuple[PlacementStatus, ...] = field(repr=False)

    @property
    def behind(self) -> tuple[PlacementStatus, ...]:
        """The tenants that are not at the newest revision, or the last of the phase, whatever the reason."""
        return tuple(placement for placement in self.placements if placement.state != "current")

    @property
    def failed(self) -> tuple[PlacementStatus, ...]:
        """The tenants whose last migration failed."""
        return tuple(placement for placement in self.placements if placement.error is not None)

    @property
    def counts(self) -> dict[str | None, int]:
        """How many tenants are at each revision, the most frequent first."""
        return dict(Counter(placement.revision for placement in self.placements).most_common())

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to migrate."""
        return self.shared_is_current and not self.behind


def format_heads(heads: Heads) -> str:
    """Return revisions as one string."""
    return ",".join(sorted(heads))


def parse_heads(joined: str | None) -> Heads:
    """Return the revisions in what `join` returned; none for none."""
    return tuple(joined.split(",")) if joined else ()
