"""Constraints that reject rows that do not set the revision's new columns, as code that does not know them writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tenantkit.lint.analysis.additions import Additions, Value
from tenantkit.lint.analysis.outcomes import FALSE, NULL, conjuncts, tests_not_null
from tenantkit.lint.sql.expressions import columns
from tenantkit.lint.sql.tree import Node, find, parts

if TYPE_CHECKING:
    from tenantkit.lint.sql.actions import Column, Constraint

_SAME = "forbids two rows with the same values"
_REFERS = "forbids values that refer to nothing"
_DEFAULTS = frozenset({Value.SAME, Value.DISTINCT})
_COMPUTED = frozenset({Value.WRITTEN, Value.FILLED})
_DISTINCT = frozenset({Value.DISTINCT, Value.NULL})
_MATCH_FULL = "f"


def by_column(made: Additions, table: str, column: Column) -> str | None:
    """Return how a new column rejects such rows, for example ``forbids NULL``; ``None`` if it accepts them."""
    value = made.value_of(table, column.name)
    if column.forbids_null and value in {Value.NULL, Value.WRITTEN}:
        return "forbids NULL" if value is Value.WRITTEN else "adds a column that INSERT must set"
    if value in _COMPUTED and column.has("FOREIGN"):
        return _REFERS
    if any(each.is_unique and value not in _distinct(each.node) for each in column.constraints):
        return _SAME if value in _COMPUTED else "adds a unique column that is the same in all new rows"
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
            pairs = [each["List"]["items"] for each in node["exclusions"]]
            compared = [_compared(made, table, element["IndexElem"], operator) for element, operator in pairs]
            return None if _accepts(made, table, compared, node.get("where_clause")) else "forbids values"
        case "FOREIGN":
            spares = all if node.get("fk_matchtype") == _MATCH_FULL else any
            return None if spares(value is Value.NULL for value in values) else _REFERS
        case "PRIMARY" if any(made.may_be_null(table, name) for name in constraint.columns):
            return "forbids NULL"
        case _:
            is_distinct = not _distinct(node).isdisjoint(values) or made.are_distinct(table, constraint.columns)
            return None if is_distinct else _SAME


def by_unique_index(made: Additions, node: Node) -> str | None:
    """Return how a unique index rejects such rows, for example ``forbids NULL``; ``None`` if it accepts them."""
    table = node["relation"]["relname"]
    elements = [*find(node["indexParams"], "IndexElem")]
    values = [_value_of(made, table, each) for each in elements]
    if _accepts(made, table, values, node.get("whereClause"), _distinct(node)):
        return None
    return None if made.are_distinct(table, (each["name"] for each in elements if "name" in each)) else _SAME


def by_check(made: Additions, table: str, condition: Node | None) -> str | None:
    """Return how a CHECK rejects such rows, for example ``forbids NULL``; ``None`` if it accepts them."""
    if all(_fulfils(made, table, each) for each in conjuncts(condition)):
        return None
    return "forbids NULL" if tests_not_null(condition) else "forbids values"


def _fulfils(made: Additions, table: str, condition: Node) -> bool:
    """Return whether a condition is not false in any such row."""
    values = {made.value_of(table, column) for column in columns(condition)}
    found = made.outcomes_of(table, condition)
    has_defaults = bool(values) and values <= _DEFAULTS  # what cannot be evaluated is taken to fit them
    return False not in found or (has_defaults and found != FALSE)


def _accepts(
    made: Additions, table: str, values: Iterable[Value], where: Node | None, distinct: frozenset[Value] = _DISTINCT
) -> bool:
    """Return whether an index of *values* accepts all such rows, given the values that differ in all rows."""
    return not distinct.isdisjoint(values) or (where is not None and True not in made.outcomes_of(table, where))


def _distinct(key: Node) -> frozenset[Value]:
    """Return the values that differ in all rows for a unique constraint or index."""
    return _DISTINCT - {Value.NULL} if "nulls_not_distinct" in key else _DISTINCT


def _compared(made: Additions, table: str, element: Node, operator: Node) -> Value:
    """Return the value of an element of an exclusion constraint; rows with distinct ones pass only where it is =."""
    value = _value_of(made, table, element)
    return Value.WRITTEN if value is Value.DISTINCT and parts(operator) != ("=",) else value


def _value_of(made: Additions, table: str, element: Node) -> Value:
    """Return the value of an index's column or expression."""
    if "name" in element:
        return made.value_of(table, element["name"])
    return Value.NULL if made.outcomes_of(table, element["expr"]) == NULL else Value.WRITTEN
