"""Failures, grouped by their cause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantkit.migrations.results.hints import hint_for

if TYPE_CHECKING:
    from tenantkit.migrations.results.outcome import Outcome

_VALUE = re.compile(r': "[^"]*"$')
"""The invalid value at the end of some of PostgreSQL's messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Tenants that failed for one reason."""

    error: str
    """The reason, with ``{schema}`` and ``{tenant}`` where each has its own name."""
    sqlstate: str | None
    keys: tuple[str, ...]
    """The tenants, in the order in which they failed."""
    places: tuple[str, ...] = ()
    """Revision, file and line of the failures, in words, as far as they are known."""
    traceback: str | None = None
    """The traceback of the first failure that has one."""

    @property
    def hint(self) -> str | None:
        """Advice, if the SQLSTATE has one."""
        return hint_for(self.sqlstate, self.error)


def group_failures(failures: Iterable[Outcome]) -> tuple[FailureGroup, ...]:
    """Return *failures* by their reason, the most frequent first."""
    failures = list(failures)
    frequency = Counter(outcome.error for outcome in failures)
    groups: dict[tuple[str | None, str], list[Outcome]] = {}
    for outcome in failures:
        # A text that several failures share has no tenant's name in it. It may contain a key, which may be any word.
        error = (outcome.error or "") if frequency[outcome.error] > 1 else without_names(outcome)
        groups.setdefault((outcome.sqlstate, _VALUE.sub(': "..."', error)), []).append(outcome)
    found = [
        FailureGroup(
            error=error,
            sqlstate=state,
            keys=tuple(outcome.key for outcome in same),
            places=tuple(dict.fromkeys(outcome.place for outcome in same if outcome.place)),
            traceback=next((outcome.traceback for outcome in same if outcome.traceback), None),
        )
        for (state, error), same in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: -len(group.keys)))


def without_names(outcome: Outcome) -> str:
    """Return why a tenant failed, without its own names."""
    text = outcome.error or ""
    for name, instead in ((outcome.schema, "{schema}"), (outcome.key, "{tenant}")):
        text = re.sub(rf"(?<![\w~-]){re.escape(name)}(?![\w~-])", instead, text)
    return text
