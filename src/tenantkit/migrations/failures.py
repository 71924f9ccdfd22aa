"""Failures that have the same cause, told once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenantkit.migrations.report import Outcome

_LOCKED = "Something holds a lock for longer than lock_timeout; pg_stat_activity tells what. Try again, or wait longer."
_BREAKS_RULE = "The tenants' rows break what the revision asks for. Correct the rows, or let the revision do so first."
_UNEXPECTED = "Tables are not what the revision expects: it is mistaken, or these tenants were changed by other means."

_HINTS = {
    "22": "The tenants' rows do not fit what the revision does with them. Correct the rows, or the revision.",
    "23": _BREAKS_RULE,
    "40P01": _LOCKED,
    "42501": "The database user may not do this. Grant it, or run as the owner of the schemas.",
    "42601": "The revision sends SQL with a syntax error. Correct the revision.",
    "42701": _UNEXPECTED,
    "42703": _UNEXPECTED,
    "42704": _UNEXPECTED,
    "42710": _UNEXPECTED,
    "42P01": _UNEXPECTED,
    "42P07": _UNEXPECTED,
    "53100": "The server's disk is full.",
    "53200": "The server has too little memory. Use fewer jobs, or raise max_locks_per_transaction if it says so.",
    "53300": "The server has no connection left. Use fewer jobs, or raise max_connections.",
    "55P03": _LOCKED,
    "57014": "It took longer than statement_timeout, or was cancelled. Allow more, or make the step shorter.",
    "57P": "The server was stopped, or ended the connection. Run the same again.",
    "08": "The connection was lost. Run the same again.",
}
"""What to do, by SQLSTATE or its beginning (PostgreSQL, appendix A)."""

_VALUE = re.compile(r': "[^"]*"$')
"""Where PostgreSQL tells which value it did not like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Tenants that failed for one reason."""

    error: str
    """The reason, with ``{schema}`` and ``{tenant}`` where each has its own name."""
    sqlstate: str | None
    keys: tuple[str, ...]
    """The tenants, in the order in which they failed."""

    @property
    def hint(self) -> str | None:
        """What to do about it, if that can be known from the SQLSTATE."""
        state = self.sqlstate or ""
        return next((_HINTS[state[:length]] for length in (5, 3, 2) if state[:length] in _HINTS), None)


def group_failures(failures: Iterable[Outcome]) -> tuple[FailureGroup, ...]:
    """Return *failures* by their reason, the most frequent first."""
    failures = list(failures)
    frequency = Counter(outcome.error for outcome in failures)
    groups: dict[tuple[str | None, str], list[str]] = {}
    for outcome in failures:
        # What several say word for word has nobody's name in it: a key may be any word of a sentence.
        error = (outcome.error or "") if frequency[outcome.error] > 1 else without_names(outcome)
        groups.setdefault((outcome.sqlstate, _VALUE.sub(': "..."', error)), []).append(outcome.key)
    found = [FailureGroup(error=error, sqlstate=state, keys=tuple(keys)) for (state, error), keys in groups.items()]
    return tuple(sorted(found, key=lambda group: -len(group.keys)))


def without_names(outcome: Outcome) -> str:
    """Return why a tenant failed, without its own names."""
    text = outcome.error or ""
    for name, instead in ((outcome.schema, "{schema}"), (outcome.key, "{tenant}")):
        text = re.sub(rf"(?<![\w~-]){re.escape(name)}(?![\w~-])", instead, text)
    return text
