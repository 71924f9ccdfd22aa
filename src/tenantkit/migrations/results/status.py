"""The state of a fleet: the revisions of its placements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tenantkit.migrations.graph.revision_graph import Heads


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementStatus:
    """The revision of one tenant, and its state."""

    key: str
    database: str
    schema: str
    status: str
    """The tenant's own status, such as ``active``."""
    revision: str | None
    state: str
    """``current``, ``behind``, ``unknown`` (a revision that this checkout does not have), ``missing`` (no schema) or
    ``unreachable`` (its database is down)."""
    error: str | None = None
    """Why its last migration failed, if it did and the tenant is not current; or why it cannot be migrated."""
    drop_at: datetime | None = None
    """The time after which it is dropped, if its drop is scheduled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStatus:
    """One database, with its tenants."""

    name: str
    tenants: int
    """Number of tenants that the registry has in it, whatever their status."""
    size: int | None
    """Its size in bytes; ``None`` if it is down."""
    revisions: Mapping[str | None, int]
    """Number of complete tenants at each revision, the most frequent first; empty if it is down."""
    error: str | None
    """Why it cannot be reached; ``None`` if it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """The state of a fleet."""

    heads: Heads
    shared_heads: Heads
    shared_revision: str | None
    shared_is_current: bool
    """Whether the shared tables are at their newest revision, or at the last one of the given phase."""
    placements: tuple[PlacementStatus, ...] = field(repr=False)

    @property
    def behind(self) -> tuple[PlacementStatus, ...]:
        """The tenants that are not at the newest revision, or the last one of the phase, for any reason."""
        return tuple(placement for placement in self.placements if placement.state != "current")

    @property
    def failed(self) -> tuple[PlacementStatus, ...]:
        """The tenants whose last migration failed."""
        return tuple(placement for placement in self.placements if placement.error is not None)

    @property
    def counts(self) -> dict[str | None, int]:
        """Number of tenants at each revision, the most frequent first."""
        return dict(Counter(placement.revision for placement in self.placements).most_common())

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to migrate."""
        return self.shared_is_current and not self.behind
