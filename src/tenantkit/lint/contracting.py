"""Which statements take away what the code of before a deployment uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tenantkit.lint.sql import NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tenantkit.lint.sql import Statement

_CONSTRAINT = r"(?:constraint|check|unique|primary|foreign|exclude)\b"
_ACTIONS = {
    r"^drop (?!constraint\b)": "drops a column",
    r"^rename (?!constraint\b)": "renames what code calls by its name",
    r"^set schema\b": "moves a table",
    rf"^alter (?:column )?{NAME} set not null": "forbids NULL",
    rf"^alter (?:column )?{NAME} (?:set data )?type\b": "changes a column's type",
    rf"^alter (?:column )?{NAME} drop (?:default|identity|expression)": "drops a default",
    rf"^add (?!{_CONSTRAINT})(?!.*\b(?:default|generated)\b).*\bnot null\b": "adds a column that must be given",
}
"""Of what ALTER TABLE does."""

_STATEMENTS = {
    r"^drop (?!index\b|policy\b|statistics\b)": "drops what code uses",
    r"^truncate\b": "empties a table",
    r"^alter (?:type|domain|view|materialized view|sequence|function|procedure) .*\brename (?!constraint\b)": (
        "renames what code calls by its name"
    ),
    r"^alter type .* (?:drop|alter) attribute\b": "changes a type",
    r"^revoke\b": "takes rights away",
}


def contracting(statement: Statement, created: Collection[str]) -> Iterator[str]:
    """Yield in which ways *statement* takes something away; nobody misses what is in *created*."""
    if any(name.name in created for name in statement.changes):
        return
    for pattern, what in _STATEMENTS.items():
        if re.match(pattern, statement.text):
            yield what
    for action in statement.actions:
        for pattern, what in _ACTIONS.items():
            if re.match(pattern, action):
                yield what
                break
