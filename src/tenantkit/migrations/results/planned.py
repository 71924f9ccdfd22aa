"""Results of a dry run: values."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenantkit.migrations.results.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One revision that would be applied or reverted."""

    revision: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPlacement:
    """One tenant that would be migrated."""

    key: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The script for placements at one revision, as far as a migration that is rolled back can find it."""

    script: str | None
    """The transaction for the first of them; those for the others differ in the name of the schema only."""
    obstacle: str | None = None
    """Why there is no script, so that Alembic runs for each placement; ``None`` if there is one."""
    autocommit: str | None = None
    """The first revision with a step outside of a transaction. The rehearsal ends before it, as it could not be rolled
    back."""
    failures: tuple[Outcome, ...] = ()
    """Placements in which the rehearsal failed, as a migration would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGroup:
    """Placements at the same revision, which have the same steps."""

    from_revision: str | None
    """Their revision; ``None`` if they have none. Several heads are joined by commas."""
    to_revision: str | None
    """Their revision after the migration."""
    steps: tuple[PlannedStep, ...]
    placements: tuple[PlannedPlacement, ...] = field(repr=False)
    rehearsal: Rehearsal | None = None
    """The rehearsal, if scripts were requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The result of a dry run."""

    command: str
    target: str
    registry_is_current: bool
    """Whether the registry itself is up to date."""
    shared: PlannedGroup | None
    """The steps of the shared tables; ``None`` if there are none."""
    groups: tuple[PlannedGroup, ...]
    refused: tuple[Outcome, ...]
    """The tenants that would fail before an attempt."""
    unchanged: int
    """Number of tenants that are at the target."""

    @property
    def would_change(self) -> int:
        """Number of tenants to migrate."""
        return sum(len(group.placements) for group in self.groups)

    @property
    def would_fail(self) -> tuple[Outcome, ...]:
        """The known failures: refused tenants and failed rehearsals."""
        groups = [group for group in (self.shared, *self.groups) if group is not None]
        return self.refused + tuple(
            outcome for group in groups if group.rehearsal is not None for outcome in group.rehearsal.failures
        )
