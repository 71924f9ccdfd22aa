"""What each tenant must find: its rows, each with the tenant's canary in its title."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from tenantkit import Tenant
from tests.isolation.contract.isolations import Kind

if TYPE_CHECKING:
    from tests.isolation.leaks.visits import Visit

Rows = dict[int, str]
"""Titles of tasks, by primary key."""

_NUMBERS = count(1)


class LeakError(AssertionError):
    """A tenant has found, or has, other rows than its own."""


@dataclass(eq=False)
class Owner:
    """A tenant, and the rows that it has committed."""

    tenant: Tenant
    kind: Kind
    generation: int = 1
    """Which of the tenants that have had this key it is."""
    rows: Rows = field(default_factory=dict)
    is_suspended: bool = False
    is_dropped: bool = False
    writer: Visit | None = None
    """The open session that has changed rows and has not committed: another one would wait for it."""

    @property
    def key(self) -> str:
        return self.tenant.key

    @property
    def canary(self) -> str:
        """The beginning of all titles of this tenant."""
        return f"{self.key}g{self.generation}x"

    def new_title(self) -> str:
        """Return a title that no row has had. All have the same length, so that the database orders them likewise."""
        return f"{self.canary}{next(_NUMBERS):08d}"

    def require_own(self, titles: Iterable[str | None], way: str) -> None:
        """Raise if rows that were found are not this tenant's."""
        if foreign := {title for title in titles if title and not title.startswith(self.canary)}:
            raise LeakError(f"{self.key} has found by {way}: {sorted(foreign)}")

    def compare(self, way: str, found: Iterable[str | None], rows: Rows) -> None:
        """Raise unless what was *found* by a way to read is what it finds in *rows*.

        :raises LeakError: if it is not.
        """
        titles = {title for title in found if title}
        expected = {title for title in rows.values() if title}
        match way:
            case "aggregate":
                # An empty title is counted, and is the first.
                edges = {min(rows.values()), max(rows.values())} if rows else set()
                expected = {title for title in edges | ({f"{len(rows)} tasks"} if len(rows) > 1 else set()) if title}
            case "get":
                expected = {title for title in [rows.get(1)] if title}
            case "window":
                expected = titles if titles <= expected and len(titles) <= 1 else expected
            case "trigger":  # which keeps former titles
                self.require_own(titles, way)
                expected |= titles
            case _:
                pass
        if titles != expected:
            raise LeakError(f"{self.key} has found by {way}: {sorted(titles)}, not {sorted(expected)}")
