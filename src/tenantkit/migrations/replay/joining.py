"""Making one ``ALTER TABLE`` of several that follow each other, which a server does in less time."""

from __future__ import annotations

import re

_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_ALTER = re.compile(rf"ALTER TABLE {_NAME}(?:\.{_NAME})* (?=ADD COLUMN )")
_LOOKS_AROUND = re.compile(
    r"\b(?:GENERATED|CHECK|REFERENCES|UNIQUE|PRIMARY)\b|\bDEFAULT\b.*\(", re.DOTALL | re.IGNORECASE
)
"""Refers to other columns, or calls a function that may look at them or draw from a sequence. Together with others, it
would find them as they are before, or draw for each row instead of for each column."""


def adds_plain_column(statement: str) -> bool:
    """Return whether this, which Alembic wrote for ``op.add_column``, adds a column that minds no others beside it."""
    return _ALTER.match(statement) is not None and _LOOKS_AROUND.search(statement) is None


def join_columns(first: str, second: str) -> str | None:
    """Return one statement for two that each add plain columns; ``None`` if they are for different tables."""
    one, two = _ALTER.match(first), _ALTER.match(second)
    if one is None or two is None or one[0] != two[0]:
        return None
    return f"{first}\n, {second[two.end() :]}"  # the first may end with a comment
