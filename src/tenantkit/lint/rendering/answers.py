"""Results of queries to a database that does not exist, as a database without rows would return them.

A query of a table finds nothing. A query without FROM, or of aggregates only, always has a row, and so has INSERT with
RETURNING. Only the values that revisions need most are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.types import TypeEngine

from tenantkit.lint.sql.expressions import constant, functions, without_cast
from tenantkit.lint.sql.statement import read
from tenantkit.lint.sql.tree import Node, find, parts, untag

_AGGREGATES = frozenset(
    {"array_agg", "avg", "bool_and", "bool_or", "count", "every", "max", "min", "string_agg", "sum"}
)
_MORE = frozenset({"distinctClause", "groupClause", "havingClause", "larg", "limitCount", "limitOffset", "valuesLists"})
"""Clauses with which a SELECT may have no row, or several."""
_CALLS = {"current_database": "postgres", "current_schema": "tenantkit_lint", "version": "PostgreSQL 18.0"}
_SETTINGS = {"server_version": "18.0", "server_version_num": "180000"}


def answer(sql: str, types: Sequence[TypeEngine[Any] | None]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the result's columns, as far as *sql* has them, and its rows.

    *types* are the types of the columns, where they are known.
    """
    statement, *others = read(sql) or (None,)
    if statement is None or others:
        return ["column"], []
    match statement.kind:
        case "InsertStmt" if "returningList" in statement.node:
            rows = range(1, _count_rows(statement.node) + 1)
            return ["column"], [tuple(_new_value(each, number) for each in types or (None,)) for number in rows]
        case "VariableShowStmt":
            name = statement.node["name"]
            return [name], [(_SETTINGS.get(name, ""),)]
        case "SelectStmt" if _has_one_row(statement.node):
            items = [each["ResTarget"] for each in statement.node["targetList"]]
            return [*map(_name, items)], [tuple(_value(each["val"]) for each in items)]
        case _:
            return ["column"], []


def _count_rows(insert: Node) -> int:
    """Return the number of rows in an INSERT, also in SQLAlchemy's form for many rows."""
    if "selectStmt" not in insert:
        return 1  # DEFAULT VALUES
    select = insert["selectStmt"]["SelectStmt"]
    for source in find(select.get("fromClause", [])[:1], "RangeSubselect"):
        select = source["subquery"]["SelectStmt"]
    return len(select.get("valuesLists", ()))


def _new_value(kind: TypeEngine[Any] | None, number: int) -> Any:
    """Return the value of a column in the new row with this *number*."""
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


def _has_one_row(select: Node) -> bool:
    """Return whether a SELECT always has one row."""
    if "targetList" not in select or _MORE & select.keys() or any("over" in each for each in find(select, "FuncCall")):
        return False
    if "fromClause" not in select and "whereClause" not in select:
        return True
    values = [each["ResTarget"]["val"] for each in select["targetList"]]
    return any(map(_is_aggregate, values)) and all(_is_aggregate(each) or "A_Const" in each for each in values)


def _is_aggregate(value: Node) -> bool:
    kind, fields = without_cast(value)
    first = fields["args"][0] if kind == "CoalesceExpr" else {kind: fields}
    return "FuncCall" in first and next(functions(first)) in _AGGREGATES


def _name(item: Node) -> str:
    kind, fields = untag(item["val"])
    match kind:
        case _ if "name" in item:
            return str(item["name"])
        case "FuncCall":
            return parts(fields["funcname"])[-1]
        case "CoalesceExpr":
            return "coalesce"
        case "SubLink" if fields["subLinkType"] == "EXISTS_SUBLINK":
            return "exists"
        case _:
            return "column"


def _value(value: Node) -> Any:
    """Return the value of an expression without rows; ``None`` if it is not computed."""
    kind, fields = without_cast(value)
    match kind:
        case "CoalesceExpr":
            return next((each for each in map(_value, fields["args"]) if each is not None), None)
        case "FuncCall":
            name = parts(fields["funcname"])[-1]
            return 0 if name == "count" else _CALLS.get(name)
        case "SubLink" if fields["subLinkType"] == "EXISTS_SUBLINK":
            return False
        case "BoolExpr" if fields["boolop"] == "NOT_EXPR":
            inner = _value(fields["args"][0])
            return None if inner is None else not inner
        case _:
            return constant(value)
