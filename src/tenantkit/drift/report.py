"""Results of a check: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tenantkit.drift.compare import Difference
from tenantkit.drift.repair.script import RepairScript


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """Tenants that differ from the standard in the same way."""

    schemas: Mapping[str, str]
    """The schema of each tenant, by its key."""
    differences: tuple[Difference, ...]
    """Their differences; `str` returns each in words."""
    scripts: Mapping[str, RepairScript] = field(repr=False)
    """The repair script of each tenant, by its key; empty without ``scripts``."""

    def script(self, key: str) -> str:
        """Return the SQL that repairs the tenant *key*, in a transaction. Read it before you run it.

        Changes that no script can make without loss are comments at its beginning, which start with ``By hand``.
        """
        return self.scripts[key].script(self.schemas[key])


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The tenants at one revision."""

    revision: str | None
    """``None`` if they are at none."""
    standard: Literal["majority", "revisions", "models", "nothing"]
    """The standard: the most frequent shape, the one that revisions or models build, or none."""
    tenants: int
    alike: int
    """The number of tenants without a difference."""
    odd: tuple[Odd, ...]
    alone: tuple[str, ...] = ()
    """Tenants that are compared with nothing, because no other is at this revision, or in these common tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """The result of a check of a fleet."""

    groups: tuple[Group, ...]
    """The largest first."""
    models: tuple[Difference, ...] = ()
    """The differences of the newest revisions from the models."""
    missing: tuple[str, ...] = ()
    """Tenants that have no schema, or none that this version of tenantkit can reach."""
    unreachable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tenants whose database is down, by key, with the reason. They are not compared."""
    left_out: tuple[str, ...] = ()
    """The foreign keys of the models to shared tables, if tenants in other databases are without them."""
    moving: tuple[str, ...] = ()
    """Tenants that were migrated during the check, and are not compared."""
    unused_indexes: tuple[str, ...] = ()
    """The indexes of common tables that row security switches off: not used to find rows of a tenant."""
    names_in_text: tuple[str, ...] = ()
    """Where the name of a tenant's schema is text, such as the body of a function: the schema cannot be renamed."""
    guard_obstacle: str | None = None
    """Why the login of the check could not make the roles of tenants that ``guard=`` needs."""

    @property
    def odd(self) -> tuple[Odd, ...]:
        """All tenants that differ, of every revision."""
        return tuple(odd for group in self.groups for odd in group.odd)

    @property
    def alone(self) -> tuple[str, ...]:
        """All tenants that are compared with nothing, because no other is at their revision."""
        return tuple(key for group in self.groups for key in group.alone)

    @property
    def has_drift(self) -> bool:
        """Whether anything differs, is missing or cannot be reached; `alone` does not count."""
        return bool(self.odd or self.models or self.missing or self.unreachable)
