"""The statuses of a tenant, the permitted transitions between them, and their descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum


class Status(StrEnum):
    """The stage of a tenant's life."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    READ_ONLY = "read_only"
    """Served, by transactions that read only. See `tenantkit.Tenancy.suspend`."""
    SUSPENDED = "suspended"
    MAINTENANCE = "maintenance"
    DROP_SCHEDULED = "drop_scheduled"
    """Not served any more, and dropped after `Tenant.drop_at`, unless that is cancelled before."""
    DROPPING = "dropping"
    FAILED = "failed"
    SPARE = "spare"
    """No tenant yet: a schema with tables, ready for the next one. See `tenantkit.spares`."""

    def may_become(self, wanted: Status) -> bool:
        """Return whether a tenant may go from this status to *wanted*."""
        return wanted in _TRANSITIONS[self]


_TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PROVISIONING: frozenset({Status.ACTIVE, Status.FAILED, Status.DROPPING, Status.SPARE}),
    Status.ACTIVE: frozenset(
        {Status.READ_ONLY, Status.SUSPENDED, Status.MAINTENANCE, Status.DROP_SCHEDULED, Status.DROPPING}
    ),
    Status.READ_ONLY: frozenset(
        {Status.ACTIVE, Status.SUSPENDED, Status.MAINTENANCE, Status.DROP_SCHEDULED, Status.DROPPING}
    ),
    Status.SUSPENDED: frozenset({Status.ACTIVE, Status.READ_ONLY, Status.DROP_SCHEDULED, Status.DROPPING}),
    Status.MAINTENANCE: frozenset({Status.ACTIVE, Status.DROP_SCHEDULED, Status.DROPPING}),
    # Back to its status before by a cancellation only, so that a webhook's `resume` does not cancel it.
    Status.DROP_SCHEDULED: frozenset({Status.DROP_SCHEDULED, Status.DROPPING}),
    Status.DROPPING: frozenset(),
    Status.FAILED: frozenset({Status.PROVISIONING, Status.DROPPING}),
    Status.SPARE: frozenset({Status.DROPPING}),
}

SERVED = frozenset({Status.ACTIVE, Status.READ_ONLY})
"""The states in which a tenant's sessions may be opened."""

COMPLETE = frozenset({Status.ACTIVE, Status.READ_ONLY, Status.SUSPENDED, Status.MAINTENANCE, Status.DROP_SCHEDULED})
"""The states in which a tenant has a complete placement."""

WRITABLE = frozenset({Status.ACTIVE, Status.READ_ONLY, Status.MAINTENANCE})
"""The states of a tenant that is served now or soon, so that it has to be able to write to its tables."""

MIGRATED = COMPLETE | {Status.SPARE}
"""The states with a complete placement, so that migrations include it."""


def describe(status: str, message: str | None = None, until: datetime | None = None) -> str:
    """Return a status with what a tenant's visitors are told."""
    end = "" if until is None else f" until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{status!s}{end}" if message is None else f"{status!s}{end} ({message})"
