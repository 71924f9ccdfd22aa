"""Constraints that reject rows that do not set the revision's new columns, as code that does not know them writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.analysis.additions import Additions, Value
from tenantkit.lint.sql.expressions import columns, functions
from tenantkit.lint.sql.tree import Node, find, untag, walk

if TYPE_CHECKING:
    from tenantkit.lint.sql.actions import Column, Constraint

_SAME = "forbids two rows with the same values"
_REFERS = "forbids values that refer to nothing"
_DEFAULTS = frozenset({Value.SAME, Value.DISTINCT})
_TAKES_NULL = frozenset({"concat", "concat_ws", "format", "num_nonnulls", "num_nulls"})
"""Functions whose result may be another value than NULL for NULL."""


def by_column(made: Additions, table: str, column: Column) -> str | None:
    """Return how a new column rejects such rows, for example ``forbids NULL``; ``None`` if it accepts them."""
    value = made.value_of(table, column.name)
    if column.forbids_null and value not in _DEFAULTS:
        return "forbids NULL" if value is Value.WRITTEN else "adds a column that INSERT must set"
    if value is Value.WRITTEN and column.has("FOREIGN"):
        return _REFERS
    if value is Value.WRITTEN and column.has("UNIQUE"):
        return _SAME
    if value is Value.SAME and column.has("UNIQUE"):
        return "adds a unique column that is the same in all new rows"
    checks = (by_check(made, table, each.expression) for each in column.constraints if each.kind == "CHECK")
    return next(filter(None, checks), None)


def by_constraint(made: Additions, table: str, constraint: Constraint) -> str | None:
    """Return how a constraint rejects such rows, for example ``forbids NULL``; ``None`` if it accepts them."""
    node = constraint.node
    values = [made.value_of(table, name) for name in constraint.columns]
    match constraint.kind:
        case "CHECK":
            return by_check(made, table, constraint.expression)
        case "EXCLUSION":
            allows = _allows_any(made, table, [*find(node["exclusions"], "IndexElem")], node.get("where_clause"))
            return None if allows else "forbids values"
        case "FOREIGN":
            return None if Value.NULL in values else _REFERS
        case _:
            are_distinct = _are_distinct(values, null_is_distinct="nulls_not_distinct" not in node)
            return None if are_distinct else _SAME


def by_unique_index(made: Additions, node: Node) -> str | None:
    """Return how a unique index rejects such rows, for example ``forbids NULL``; ``None`` if it accepts them."""
    table, elements = node["relation"]["relname"], [*find(node["indexParams"], "IndexElem")]
    null_is_distinct = "nulls_not_distinct" not in node
    allows = _allows_any(made, table, elements, node.get("whereClause"), null_is_distinct=null_is_distinct)
    return None if allows else _SAME


def by_check(made: Additions, table: str, condition: Node | None) -> str | None:
    """Return how a CHECK rejects such rows, for example ``forbids NULL``; ``None`` if it accepts them."""
    values = {made.value_of(table, column) for column in columns(condition)}
    if values and values <= _DEFAULTS:
        return None
    asked = {*_asks_for_null(condition)}
    has_and = any(each["boolop"] == "AND_EXPR" for each in find(condition, "BoolExpr"))
    if not asked and (values == {Value.NULL} or (Value.NULL in values and not has_and)):
        return None  # NULL is no violation
    if asked == {"IS_NULL"} and Value.WRITTEN not in values:
        return None
    return "forbids NULL" if "IS_NOT_NULL" in asked else "forbids values"


def _allows_any(
    made: Additions, table: str, elements: Iterable[Node], where: Node | None, *, null_is_distinct: bool = True
) -> bool:
    """Return whether an index accepts all rows that do not set the new columns."""
    values = [_value_of(made, table, each) for each in elements]
    return _are_distinct(values, null_is_distinct=null_is_distinct) or any(
        _is_not_true(made, table, each) for each in _conjuncts(where)
    )


def _are_distinct(values: Iterable[Value], *, null_is_distinct: bool) -> bool:
    return any(value is Value.DISTINCT or (value is Value.NULL and null_is_distinct) for value in values)


def _value_of(made: Additions, table: str, element: Node) -> Value:
    """Return the value of an index's column or expression."""
    if "name" in element:
        return made.value_of(table, element["name"])
    return Value.NULL if _is_null(made, table, element.get("expr")) else Value.WRITTEN


def _conjuncts(where: Node | None) -> Iterator[Node]:
    kind, fields = untag(where)
    if kind == "BoolExpr" and fields["boolop"] == "AND_EXPR":
        for each in fields["args"]:
            yield from _conjuncts(each)
    elif where is not None:
        yield where


def _is_not_true(made: Additions, table: str, condition: Node) -> bool:
    match condition:
        case {"NullTest": {"nulltesttype": "IS_NOT_NULL", "arg": tested}}:
            return _is_null(made, table, tested)
        case _:
            return _is_null(made, table, condition)


def _is_null(made: Additions, table: str, expression: Node | None) -> bool:
    """Return whether an expression is NULL in rows that do not set the new columns."""
    reads_null = any(made.value_of(table, each) is Value.NULL for each in columns(expression))
    return reads_null and not [*_asks_for_null(expression)] and not [*find(expression, "BoolExpr")]


def _asks_for_null(condition: Node | None) -> Iterator[str]:
    """Yield the kind of each test in a condition that distinguishes NULL from other values."""
    for node in walk(condition):
        match node:
            case {"NullTest": {"nulltesttype": kind}}:
                yield kind
            case {"A_Expr": {"kind": "AEXPR_DISTINCT" | "AEXPR_NOT_DISTINCT"}}:
                yield "values"
            case {"BooleanTest": _} | {"CaseExpr": _} | {"CoalesceExpr": _} | {"MinMaxExpr": _}:
                yield "values"
            case {"FuncCall": _} if not _TAKES_NULL.isdisjoint(functions([node])):
                yield "values"
            case _:
                pass
