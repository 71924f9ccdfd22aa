"""Canaries: values that are recognised wherever they appear, each with its tenant and its column."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Table

from tenantkit.testing.models import table_of

_LETTERS = "bcdfghjkmpqrtvwxz"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_WORD = 6

Rows = dict[Table, list[Mapping[str, Any]]]
"""The rows that were planted, by table; rows of the same number belong together."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A value and where it was planted."""

    tenant: str | None
    """The key of the tenant; ``None`` for a row of a shared table that belongs to none."""
    place: str
    """The table and the column, such as ``note.text``, or the request that it was sent with."""
    value: str
    """The value as text, in lower case."""

    def is_in(self, text: str) -> bool:
        """Return whether *text*, in lower case, has the value; of a number, not as a part of another one."""
        if self.value not in text:
            return False
        return not self.value.isdigit() or re.search(rf"(?<!\d){self.value}(?!\d)", text) is not None


@dataclass(slots=True)
class Canaries:
    """The canaries of all tenants, and the rows that hold them."""

    rows: dict[str | None, Rows] = field(default_factory=dict[str | None, Rows])
    """The rows of each tenant, and of shared tables, whose key is ``None``."""
    _planted: dict[str | None, list[Canary]] = field(default_factory=dict[str | None, list[Canary]])
    _words: dict[str | None, str] = field(default_factory=dict[str | None, str])
    _random: random.Random = field(default_factory=random.SystemRandom)

    def rows_of(self, tenant: str | None, model: Any) -> list[Mapping[str, Any]]:
        """Return the rows of a tenant, by its key, that were planted for a model or in a table."""
        return self.rows[tenant].get(table_of(model), [])

    def text(self, tenant: str | None, place: str) -> str:
        """Return a new canary: a word of the tenant's and a number, of 8 letters and digits while they suffice."""
        if tenant not in self._words:
            self._words[tenant] = "".join(self._random.choices(_LETTERS, k=_WORD))
        high, low = divmod(len(self._planted.get(tenant, ())), len(_DIGITS))
        first = _DIGITS[high] if high < len(_DIGITS) else f"z{high}z"
        return self._add(tenant, place, f"{self._words[tenant]}{first}{_DIGITS[low]}")

    def number(self, tenant: str | None, place: str) -> int:
        """Return a new canary of nine digits."""
        return int(self._add(tenant, place, str(self._random.randrange(10**8, 10**9))))

    def uuid(self, tenant: str | None, place: str) -> UUID:
        """Return a new canary that is a UUID."""
        made = UUID(int=self._random.getrandbits(128), version=4)
        self._add(tenant, place, made.hex)
        return UUID(self._add(tenant, place, str(made)))

    def of_others(self, text: str, tenant: str, *, sent: str = "") -> list[Canary]:
        """Return the canaries in *text* that belong to another tenant, except for those that were *sent*."""
        others = [each for key in self._planted if key not in {tenant, None} for each in self._planted[key]]
        return _find(others, text, sent)

    def of(self, tenant: str, text: str, *, sent: str = "") -> list[Canary]:
        """Return the canaries in *text* that belong to *tenant*, except for those that were *sent*."""
        return _find(self._planted.get(tenant, []), text, sent)

    def _add(self, tenant: str | None, place: str, value: str) -> str:
        self._planted.setdefault(tenant, []).append(Canary(tenant, place, value))
        return value


def _find(canaries: list[Canary], text: str, sent: str) -> list[Canary]:
    lower, known = text.lower(), sent.lower()
    return [each for each in canaries if each.is_in(lower) and each.value not in known]
