"""The order of a new tenant, checked before the database is asked for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from tenantkit.arguments import JSON_OBJECT, STORABLE_NAME, TEXTS_IN_ORDER, one_of, optional, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.lifecycle.choose import require_known
from tenantkit.naming import validate_key
from tenantkit.placement import PlacementPolicy
from tenantkit.registry.applications import Application
from tenantkit.registry.directory import Directory
from tenantkit.registry.history import Event
from tenantkit.status import Status
from tenantkit.tenant import ROW_VALUE, Isolation, NewTenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The validated properties of a new tenant."""

    key: str
    name: str
    application: Application
    domains: Sequence[str]
    attributes: Mapping[str, Any]
    wanted: str | None
    """The name of the database to create it in; ``None`` for the one that the *policy* chooses."""
    isolation: str | None
    row_value: str | None
    """Its value of the tenant column; ``None`` for its id."""
    policy: PlacementPolicy | None
    """Without it, all tenants are in the main database."""
    becomes: Status = Status.ACTIVE
    """Its status when it is complete."""
    placed_as: str | None = None
    """The key that names its placement, if that is another one."""
    origin: tuple[Event, Mapping[str, Any]] | None = None
    """What its history says of the backup, or the tenant, that its rows are from."""

    def new_tenant(self, number: int = 1) -> NewTenant:
        """Return the properties that decide the placement of the *number*-th tenant with the key."""
        key = self.placed_as or self.key
        new = NewTenant(key=key, number=number, attributes=self.attributes, isolation=self.isolation)
        return new if self.wanted is None else replace(new, database=self.wanted)


def check_order(
    directory: Directory,
    key: str,
    *,
    name: str | None,
    domains: Sequence[str],
    attributes: Mapping[str, Any] | None,
    database: str | None,
    isolation: str | None,
    row_value: str | int | UUID | None,
    policy: PlacementPolicy | None,
    reserved: frozenset[str],
) -> Order:
    """Return the order of a new tenant.

    :raises InvalidTenantKeyError: if the key breaks the rules.
    :raises ConfigurationError: if an argument cannot be used.
    """
    require(
        name=(name, optional(STORABLE_NAME)),
        domains=(domains, TEXTS_IN_ORDER),
        attributes=(attributes, optional(JSON_OBJECT)),
        isolation=(isolation, optional(one_of(*Isolation))),
        row_value=(row_value, optional(ROW_VALUE)),
    )
    if database is not None:
        require_known(directory.databases.keys, database, "database=")
    key = validate_key(key, reserved=reserved, prefix=directory.application.schema_prefix)
    hosts = [directory.free_domain(domain) for domain in domains]
    if twice := {host for host in hosts if hosts.count(host) > 1}:
        raise ConfigurationError(f"domains= holds {min(twice)!r} twice. Name it once.")
    order = Order(
        key=key,
        name=key if name is None else name,
        application=directory.application,
        domains=hosts,
        attributes=attributes or {},
        wanted=database,
        isolation=isolation,
        row_value=directory.isolations.row_column.new_value(row_value),
        policy=policy,
    )
    new = order.new_tenant()
    directory.isolations.for_new(new).place(new)
    return order
