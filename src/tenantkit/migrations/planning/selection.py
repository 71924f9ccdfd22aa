"""Selection and order of the tenants of a run."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from tenantkit.exceptions import ConfigurationError, TenantNotFoundError
from tenantkit.registry import store
from tenantkit.status import MIGRATED
from tenantkit.tenant import Tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

Order: TypeAlias = Literal["key", "newest", "oldest", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The tenants of a run: some of the fleet, or all."""

    tenants: Collection[str] | None = None
    """Keys; ``None`` for all."""
    exclude: Collection[str] = ()
    """Keys of tenants to leave out."""
    where: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Attributes that the tenants must have."""
    order: Order = "key"

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise ConfigurationError(f"There is no order {self.order!r}. Use one of {', '.join(get_args(Order))}.")

    def find(self, connection: Connection) -> list[Tenant]:
        """Return the selected tenants of the registry.

        :raises TenantNotFoundError: if a key is not that of a tenant that can be migrated.
        :raises ConfigurationError: if no tenant is left.
        """
        fleet = store.find(connection, status=MIGRATED)
        matching = store.find(connection, status=MIGRATED, attributes=self.where) if self.where else fleet
        return self.choose(fleet, {tenant.id for tenant in matching})

    def choose(self, fleet: Sequence[Tenant], matching: Collection[int]) -> list[Tenant]:
        """Return the selected tenants of *fleet*; *matching* has the ids of those with the attributes.

        Raises as `find` does.
        """
        known = {tenant.key for tenant in fleet}
        for key in sorted({*(self.tenants or ()), *self.exclude} - known):
            raise TenantNotFoundError(key=key)
        named = [tenant for tenant in fleet if self.tenants is None or tenant.key in self.tenants]
        chosen = [tenant for tenant in named if tenant.id in matching and tenant.key not in self.exclude]
        if named and not chosen:
            raise ConfigurationError(
                f"{self._narrowing()} leave no tenant. 'tenantkit list --json' shows what they have."
            )
        return _sorted(chosen, self.order)

    def _narrowing(self) -> str:
        attributes = ", ".join(f"{name}={value}" for name, value in self.where.items())
        parts = [f"the attributes {attributes}" if attributes else "", "the tenants to exclude" if self.exclude else ""]
        text = " and ".join(part for part in parts if part)
        return text[:1].upper() + text[1:]


def _sorted(tenants: list[Tenant], order: Order) -> list[Tenant]:
    match order:
        case "key":
            return sorted(tenants, key=lambda tenant: tenant.key)
        case "oldest" | "newest":
            return sorted(tenants, key=lambda tenant: tenant.id, reverse=order == "newest")
        case "random":
            return random.sample(tenants, len(tenants))
