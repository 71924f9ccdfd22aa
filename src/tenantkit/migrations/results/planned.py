"""What a migration would do: values."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenantkit.migrations.results.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One revision that would be applied, or taken back."""

    revision: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPlacement:
    """One tenant that would be migrated."""

    key: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What is sent to placements at one revision, as far as that can be known without keeping anything of it."""

    script: str | None
    """The transaction for the first of them; what the others get differs in the name of the schema only."""
    obstacle: str | None = None
    """Why there is no script that could be replayed, if so: Alembic runs for each placement."""
    autocommit: str | None = None
    """The first revision with a step outside of a transaction. Nothing from there on is rehearsed: it could not be
    undone."""
    failures: tuple[Outcome, ...] = ()
    """Placements in which the rehearsal failed, as a migration would now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGroup:
    """Placements that are at the same revision, and so have the same to do."""

    from_revision: str | None
    """Where they are; ``None`` if at no revision. Several heads are joined by commas."""
    to_revision: str | None
    """Where they would be then."""
    steps: tuple[PlannedStep, ...]
    placements: tuple[PlannedPlacement, ...] = field(repr=False)
    rehearsal: Rehearsal | None = None
    """What would be sent, if that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a migration would do."""

    command: str
    target: str
    registry_is_current: bool
    """Whether the registry itself has nothing to do."""
    shared: PlannedGroup | None
    """What the shared tables have to do; ``None`` if nothing."""
    groups: tuple[PlannedGroup, ...]
    refused: tuple[Outcome, ...]
    """The tenants that would fail before anything is tried."""
    unchanged: int
    """How many tenants have nothing to do."""

    @property
    def would_change(self) -> int:
        """How many tenants have something to do."""
        return sum(len(group.placements) for group in self.groups)

    @property
    def would_fail(self) -> tuple[Outcome, ...]:
        """What is known to fail: tenants that are refused, and rehearsals."""
        groups = [group for group in (self.shared, *self.groups) if group is not None]
        return self.refused + tuple(
            outcome for group in groups if group.rehearsal is not None for outcome in group.rehearsal.failures
        )
