"""Tenants and placements: values, without I/O."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from inspect import isawaitable
from typing import Any, TypeVar
from uuid import UUID

from tenantkit.arguments import TEXT, Kind, instance
from tenantkit.frozen import EMPTY, freeze
from tenantkit.status import Status

MAIN_DATABASE = "main"
"""The name of the database with the registry and the shared tables."""


class Isolation(StrEnum):
    """The way in which a tenant's rows are kept apart from those of others."""

    SCHEMA = "schema"
    DATABASE = "database"
    ROW = "row"


_Word = TypeVar("_Word", bound=StrEnum)


def _parse_word(kind: type[_Word], word: str) -> _Word | str:
    """Return *word* as a member of *kind*, or as it is if a newer version of tenantkit has written it."""
    try:
        return kind(word)
    except ValueError:
        return sys.intern(word)


@dataclass(frozen=True, slots=True)
class Placement:
    """The location of a tenant's tables: a database and a schema."""

    database: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTenant:
    """What decides where a new tenant's tables go."""

    key: str
    number: int = 1
    """Which of the tenants that have had this key it is."""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    database: str = MAIN_DATABASE
    """The database that was chosen for it; a placement policy, which chooses it, finds the main one here."""
    isolation: str | None = None
    """The isolation that was asked for; ``None`` for the deployment's own choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One customer, as read from the registry.

    Tenants are compared by all of their values. ``id`` never changes and is
    never used again in its registry, so the two identify a tenant. A tenant is
    a plain value: it can be pickled, copied, and given to
    ``dataclasses.asdict`` or to a web framework as JSON.
    """

    id: int
    key: str
    name: str
    status: Status | str
    """A plain string if a newer version of tenantkit has set a status that this one does not know."""
    placement: Placement
    created_at: datetime
    updated_at: datetime
    registry: str = ""
    """The identity of the registry that the tenant was read from; empty if it was read from none."""
    isolation: Isolation | str = Isolation.SCHEMA
    """A plain string if this version of tenantkit does not know it."""
    row_value: str | None = None
    """Its value of the tenant column that the models declare, as text; ``None`` if that is its id."""
    message: str | None = None
    """What its visitors are told while it is suspended, read-only or in maintenance."""
    until: datetime | None = None
    """The announced end of that. It does not end by itself then."""
    domains: tuple[str, ...] = ()
    """The primary domain first, the others in alphabetical order."""
    attributes: Mapping[str, Any] = field(default_factory=lambda: EMPTY, hash=False)
    """Read-only, as are the dicts and lists in it; change them with `tenantkit.Tenancy.update`."""
    drop_at: datetime | None = None
    """The time after which ``tenantkit drop --due`` removes it, if its drop is scheduled."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", _parse_word(Status, self.status))
        object.__setattr__(self, "isolation", _parse_word(Isolation, self.isolation))
        object.__setattr__(self, "attributes", freeze(self.attributes))

    def __deepcopy__(self, _memo: dict[int, Any]) -> Tenant:
        return self  # nothing in it can be changed

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


def _advise_tenant(_name: str, value: object) -> str | None:
    if isawaitable(value):
        return "Await it first."
    return f"Look it up: tenancy.get({value!r})." if isinstance(value, str) else None


def _advise_key(_name: str, value: object) -> str | None:
    return f"Pass its key: {value.key!r}." if isinstance(value, Tenant) else None


TENANT = instance(Tenant, "a Tenant", _advise_tenant)
ROW_VALUE = Kind(
    "a string, an integer or a UUID", lambda value: isinstance(value, str | int | UUID) and not isinstance(value, bool)
)
KEY = Kind("a tenant's key, a string", TEXT.has_type, advice=_advise_key)
