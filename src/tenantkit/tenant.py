"""What a tenant is: values only, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Isolation(StrEnum):
    """How a tenant's rows are kept apart from those of others."""

    SCHEMA = "schema"


class Status(StrEnum):
    """Where a tenant stands in its life."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    MAINTENANCE = "maintenance"
    DROPPING = "dropping"
    FAILED = "failed"

    def may_become(self, wanted: Status) -> bool:
        """Return whether a tenant may go from this status to *wanted*."""
        return wanted in _TRANSITIONS[self]


_TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PROVISIONING: frozenset({Status.ACTIVE, Status.FAILED, Status.DROPPING}),
    Status.ACTIVE: frozenset({Status.SUSPENDED, Status.MAINTENANCE, Status.DROPPING}),
    Status.SUSPENDED: frozenset({Status.ACTIVE, Status.DROPPING}),
    Status.MAINTENANCE: frozenset({Status.ACTIVE, Status.DROPPING}),
    Status.DROPPING: frozenset(),
    Status.FAILED: frozenset({Status.PROVISIONING, Status.DROPPING}),
}

SERVED = frozenset({Status.ACTIVE})
"""The states in which a tenant's sessions may be opened."""

MIGRATED = frozenset({Status.ACTIVE, Status.SUSPENDED, Status.MAINTENANCE})
"""The states in which a tenant has a complete placement, so that migrations include it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tenant's tables live."""

    database: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer, as the registry knew it when it was read.

    Tenants are compared by all of their values. ``id`` never changes and is
    never used again in its registry, so the two identify a tenant.
    """

    id: int
    key: str
    name: str
    status: Status
    placement: Placement
    created_at: datetime
    updated_at: datetime
    registry: str = ""
    """The identity of the registry that the tenant was read from; empty if it was read from none."""
    isolation: Isolation = Isolation.SCHEMA
    domains: tuple[str, ...] = ()
    """The primary domain first, the others in alphabetical order."""
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    @property
    def identity(self) -> str:
        """The tenant among those of all registries: for cookies, caches and files that several applications share."""
        return f"{self.registry}/{self.id}"

    @property
    def schema(self) -> str:
        """The real name of the schema that holds this tenant's tables."""
        return self.placement.schema

    @property
    def primary_domain(self) -> str | None:
        """The domain to use in links, if the tenant has any."""
        return self.domains[0] if self.domains else None
