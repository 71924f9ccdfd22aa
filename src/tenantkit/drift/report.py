"""Results of a check: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tenantkit.drift.compare import Difference
from tenantkit.drift.repair.script import RepairScript


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """Tenants that differ from the others, all in the same way."""

    schemas: Mapping[str, str]
    """The schema of each tenant, by its key."""
    differences: tuple[Difference, ...]
    """What is wrong; `str` puts each in words."""
    scripts: Mapping[str, RepairScript] = field(repr=False)
    """The repair of each tenant, by its key; empty without ``scripts``."""

    def script(self, key: str) -> str:
        """Return the SQL that repairs the tenant *key*, in a transaction. Read it before you run it.

        What a script cannot do without loss stands in front of it, in comments that begin with ``By hand``.
        """
        return self.scripts[key].script(self.schemas[key])


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The tenants at one revision."""

    revision: str | None
    """``None`` if they are at none."""
    standard: Literal["majority", "revisions", "models", "nothing"]
    """What they are compared with: how most of them are, what revisions or models build, or nothing at all."""
    tenants: int
    alike: int
    """How many are as they should be."""
    odd: tuple[Odd, ...]
    alone: tuple[str, ...] = ()
    """The tenant that is compared with nothing, because no other one is at this revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """How the tenants of a fleet differ."""

    groups: tuple[Group, ...]
    """The largest first."""
    models: tuple[Difference, ...] = ()
    """What the models declare and the revisions do not build, or the reverse."""
    missing: tuple[str, ...] = ()
    """Tenants that have no schema, or none that this version of tenantkit can reach."""
    moving: tuple[str, ...] = ()
    """Tenants that were migrated during the check, about which nothing is said."""

    @property
    def odd(self) -> tuple[Odd, ...]:
        """All that differ, whatever their revision."""
        return tuple(odd for group in self.groups for odd in group.odd)

    @property
    def alone(self) -> tuple[str, ...]:
        """All that are compared with nothing, whatever their revision."""
        return tuple(key for group in self.groups for key in group.alone)

    @property
    def has_drift(self) -> bool:
        """Whether anything is not as it should be; nothing is known about those that are `alone`."""
        return bool(self.odd or self.models or self.missing)
