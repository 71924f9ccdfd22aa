"""Results of queries to a database that does not exist, as one without rows gives them.

A query of a table finds nothing. A query without FROM, or of aggregates only, has a row whatever there is, and so has
INSERT with RETURNING. Of their values, those are worked out that revisions ask for most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.types import TypeEngine

from tenantkit.lint.sql import Token, read

_AGGREGATES = frozenset(
    {"array_agg", "avg", "bool_and", "bool_or", "count", "every", "max", "min", "string_agg", "sum"}
)
_MORE = frozenset({"except", "group", "having", "intersect", "limit", "offset", "over", "union"})
"""Words with which a SELECT may have no row, or several."""
_VALUES = re.compile(r"^insert into [^()]+(?:\( [^()]+ \) )?(?:values|default values|select .* from \( values) ")
"""An INSERT of given rows, also in the form in which SQLAlchemy inserts many."""
_CALLS = {"current_database": "postgres", "current_schema": "tenantkit_lint", "version": "PostgreSQL 18.0"}
_BEGINNINGS = {"exists": False, "not exists": True, "true": True, "false": False}
_SETTINGS = {"server_version": "18.0", "server_version_num": "180000"}


def answer(sql: str, types: Sequence[TypeEngine[Any] | None]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the result's columns, as far as *sql* tells, and its rows.

    *types* are those of the columns, where they are known.
    """
    statement, *others = read(sql) or (None,)
    if statement is None or others:
        return ["column"], []
    text = statement.text
    if text.startswith("insert into ") and " returning " in text and _VALUES.search(text):
        rows = range(1, text.count(") , ( ") + 2)
        return ["column"], [tuple(_new_value(each, number) for each in types or (None,)) for number in rows]
    if text.startswith("show "):
        name = text.removeprefix("show ")
        return [name], [(_SETTINGS.get(name, ""),)]
    items = _items(statement.tokens) if text.startswith("select ") else []
    return [_name(item) for item in items] or ["column"], [tuple(map(_value, items))] if items else []


def _new_value(kind: TypeEngine[Any] | None, number: int) -> Any:
    """Return what a column has in the new row with this *number*."""
    try:
        wanted = int if kind is None else kind.python_type
    except NotImplementedError:
        return None
    values = {
        bool: False,
        date: date(2000, 1, 1),
        datetime: datetime(2000, 1, 1, tzinfo=UTC),
        Decimal: Decimal(number),
        float: float(number),
        int: number,
        str: str(number),
        UUID: UUID(int=number),
    }
    return values.get(wanted)


def _items(tokens: Sequence[Token]) -> list[list[Token]]:
    """Return the items of a SELECT that has one row whatever there is; none if it may have another number."""
    items: list[list[Token]] = [[]]
    depth = 0
    for at, token in enumerate(tokens[1:], 1):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.text in {"from", "where"}:
            rest = {token.text for token in tokens[at:]}
            is_one = any(map(_is_aggregate, items)) and all(_is_aggregate(item) or _is_constant(item) for item in items)
            return items if is_one and not rest & _MORE else []
        if depth == 0 and token.text in _MORE:
            return []
        if depth == 0 and token.text == ",":
            items.append([])
        else:
            items[-1].append(token)
    return items


def _is_aggregate(item: Sequence[Token]) -> bool:
    words = [token.text for token in item]
    return words[0] in _AGGREGATES or (words[0] == "coalesce" and words[2] in _AGGREGATES)


def _is_constant(item: Sequence[Token]) -> bool:
    return item[0].kind == "literal" or item[0].text.isdigit()


def _name(item: Sequence[Token]) -> str:
    return item[-1].text if len(item) > 1 and item[-2].text == "as" else item[0].text if item[0].is_name else "column"


def _value(item: Sequence[Token]) -> Any:
    words = [token.text for token in item]
    if words[-2:-1] == ["as"]:
        words = words[:-2]
    match words:
        case ["count", "(", *_, ")"]:
            return 0
        case ["coalesce", *_, ",", last, ")"]:
            return _literal(last)
        case [name, "(", ")"] if name in _CALLS:
            return _CALLS[name]
        case _:
            return _BEGINNINGS.get(" ".join(words[:2]), _BEGINNINGS.get(words[0], _literal("".join(words))))


def _literal(text: str) -> Any:
    if text.startswith("'") and text.endswith("'"):
        return text[1:-1].replace("''", "'")
    return int(text) if text.isdigit() else None
