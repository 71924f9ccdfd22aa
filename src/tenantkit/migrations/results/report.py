"""Results of a fleet migration: values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from typing_extensions import override

from tenantkit.exceptions.base import as_clause
from tenantkit.migrations.results.failures import FailureGroup, group_failures
from tenantkit.migrations.results.heads import is_relative
from tenantkit.migrations.results.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A finished part of a run."""

    run_id: int
    number: int
    """Its number, from 1."""
    count: int
    """Number of waves of the run."""
    outcomes: tuple[Outcome, ...]
    """The result for each of its tenants."""

    @property
    def done(self) -> int:
        """Number of its tenants that did not fail."""
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
    """The outcome of the shared tables; ``None`` if they were not part of the run."""
    outcomes: tuple[Outcome, ...]
    """The outcomes of the tenants to migrate, in the order in which they finished."""
    unchanged: int
    """Number of tenants that were at the target already, or that a concurrent run brought there."""
    not_replayed: Mapping[str, int] = field(default_factory=dict[str, int])
    """Number of tenants that were not replayed, by reason."""
    stopped: str | None = None
    """Why the run was stopped before its end; ``None`` if it was not."""
    left: int = 0
    """Number of tenants that a stopped run did not begin or finish; another run can migrate them."""

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
        """Why the run was stopped, the tenants that are left, and how to continue; ``None`` if it was not."""
        if self.stopped is None:
            return None
        again = (
            f"'tenantkit migrate --resume {self.run_id}' with the same options"
            if self.command == "migrate" and not is_relative(self.target)
            else f"{self.again[:1].upper()}{self.again[1:]}"
        )
        left = f"{self.left} tenant{' was' if self.left == 1 else 's were'} not begun"
        return f"stopped because {self.stopped}; {left}. {again} continues with those that are not done."

    @property
    def again(self) -> str:
        """The command that continues with the tenants that are not done, and does not touch the others."""
        if not is_relative(self.target) or not self.run_id:  # the shared tables alone have no run
            return "the same command again"
        return (
            f"'tenantkit {self.command} REVISION --tenants KEYS' ('tenantkit runs show {self.run_id}' has both; "
            f"{self.target} would take the others further)"
        )

    @property
    def failure_groups(self) -> tuple[FailureGroup, ...]:
        """The failures by their reason, the most frequent first."""
        return group_failures(self.failures)

    @property
    def engines(self) -> dict[str, int]:
        """Number of tenants that each engine migrated."""
        return dict(Counter(outcome.engine for outcome in self.migrated if outcome.engine is not None))

    @override
    def __str__(self) -> str:
        """Return a summary in one line."""
        counts = f"{len(self.migrated)} migrated, {self.unchanged} unchanged, {len(self.failures)} failed"
        if self.stop is not None:
            return f"{counts}; {self.stop}"
        if not self.failures:
            return counts
        first = self.failures[0]
        return (
            f"{counts}; the first: {first.key}: {as_clause(first.reason)}. "
            f"Fix the cause, then run {self.again}: tenants that are done are not touched again."
        )
