"""Making one ``ALTER TABLE`` of several that follow each other, which a server does in less time."""

from __future__ import annotations

import re

_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
# What looks at other columns stays by itself, as they are all added before any is looked at.
_ADD_COLUMN = re.compile(
    rf"(ALTER TABLE {_NAME}(?:\.{_NAME})* )(ADD COLUMN (?!.*\b(?:GENERATED|CHECK|REFERENCES|UNIQUE|PRIMARY)\b).+)",
    re.DOTALL | re.IGNORECASE,
)


def join_columns(first: str, second: str) -> str | None:
    """Return one statement that adds the columns of two; ``None`` if they are for different tables, or not that simple.

    Both are as Alembic writes them for ``op.add_column``; nothing else must come here.
    """
    match _ADD_COLUMN.fullmatch(first), _ADD_COLUMN.fullmatch(second):
        case re.Match() as one, re.Match() as two if one[1] == two[1]:
            return f"{first}, {two[2]}"
        case _:
            return None
