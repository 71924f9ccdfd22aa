"""Which statements take away what the code of before a deployment uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tenantkit.lint.sql import NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

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


_ADDS = re.compile(rf"^add (?:column )?(?:if not exists )?({NAME}) (?!.*\bnot null\b)")
_GIVES_DEFAULT = re.compile(rf"^alter (?:column )?({NAME}) set default")
_FORBIDS_NULL = re.compile(rf"^alter (?:column )?({NAME}) set not null")


def added_columns(statements: Iterable[Statement]) -> frozenset[tuple[str, str]]:
    """Return the columns, each with its table, that *statements* add and then give a default.

    Code that does not know them leaves the default to the database, so NULL may be forbidden in them.
    """
    added: set[tuple[str, str]] = set()
    given: set[tuple[str, str]] = set()
    for statement in statements:
        if (table := statement.altered_table) is not None:
            added |= {(table.name, found[1]) for each in statement.actions if (found := _ADDS.match(each))}
            given |= {(table.name, found[1]) for each in statement.actions if (found := _GIVES_DEFAULT.match(each))}
    return frozenset(added & given)


def contracting(
    statement: Statement, created: Collection[str], added: Collection[tuple[str, str]] = ()
) -> Iterator[str]:
    """Yield in which ways *statement* takes something away.

    Nobody misses what is in *created*, nor NULL in the columns *added*.
    """
    if any(name.name in created for name in statement.changes):
        return
    for pattern, what in _STATEMENTS.items():
        if re.match(pattern, statement.text):
            yield what
    table = statement.altered_table
    for action in statement.actions:
        if table is not None and (found := _FORBIDS_NULL.match(action)) and (table.name, found[1]) in added:
            continue
        for pattern, what in _ACTIONS.items():
            if re.match(pattern, action):
                yield what
                break
