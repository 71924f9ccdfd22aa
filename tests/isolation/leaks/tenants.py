"""The tenants of the state machine: two of each isolation."""

from __future__ import annotations

from collections.abc import Mapping

from tests.isolation.contract.isolations import DATABASE, ROW, SCHEMA, SECOND_DATABASE, TWO_DATABASES, Kind

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
