"""The tenants of the state machine: two of each isolation, and those of deployments with guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.isolation.contract.isolations import (
    DATABASE,
    LOGIN,
    ROLE,
    ROW,
    SCHEMA,
    SECOND_DATABASE,
    TWO_DATABASES,
    Kind,
)

ISOLATIONS: Mapping[str, Kind] = {
    "schema": SCHEMA,
    "eu": SECOND_DATABASE,
    "database": DATABASE,
    "row": ROW,
}
"""The isolations, by the beginning of their tenants' keys."""

KINDS: Mapping[str, Kind] = {f"{name}{number}": kind for name, kind in ISOLATIONS.items() for number in (1, 2)}
"""The isolation of each tenant, by its key."""

ALL = Kind(
    name="all",
    databases=TWO_DATABASES.databases,
    make=TWO_DATABASES.make,
    make_async=TWO_DATABASES.make_async,
    tenants={key: next(iter(kind.tenants.values())) for key, kind in KINDS.items()},
    lacks=frozenset(),
)
"""The deployment that has all of them."""

GUARDED: Mapping[str, Mapping[str, Kind]] = {
    guard: {f"schema{number}": kind for number in (1, 2, 3)} for guard, kind in {"role": ROLE, "login": LOGIN}.items()
}
"""The isolation of each tenant of a deployment with a guard, by its key."""


def all_of(kinds: Mapping[str, Kind], like: Kind) -> Kind:
    """Return the deployment with tenants of these *kinds*, which is otherwise *like* that of one kind."""
    tenants = {key: next(iter(kind.tenants.values())) for key, kind in kinds.items()}
    return replace(like, name=f"all, {like.name}", tenants=tenants)


GUARDED_DEPLOYMENTS = {"role": all_of(GUARDED["role"], ROLE), "login": all_of(GUARDED["login"], LOGIN)}
"""The deployment with each guard."""
