"""Possible results of an expression, as far as its columns are known: NULL, and for conditions TRUE and FALSE.

What is not known is taken to be anything, so that a result that is left out is impossible.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable
from functools import partial, reduce
from itertools import product
from typing import Any, TypeAlias

from tenantkit.lint.sql.expressions import columns, constant, functions, without_cast
from tenantkit.lint.sql.tree import Node, find, parts, untag

Outcomes: TypeAlias = frozenset[bool | None]
"""Possible results; every value but NULL may be either of ``True`` and ``False`` if it is no condition."""
_Of: TypeAlias = Callable[[Node], Outcomes]

NULL: Outcomes = frozenset({None})
TRUE: Outcomes = frozenset({True})
FALSE: Outcomes = frozenset({False})
NOT_NULL: Outcomes = frozenset({True, False})
ANY: Outcomes = NULL | NOT_NULL

STRICT_OPERATORS = frozenset(
    "+ - * / % ^ & | # << >> = <> < <= > >= ~ ~* !~ !~* ~~ ~~* !~~ !~~* @> <@ && -> ->> #> #>> @@".split()  # noqa: SIM905 - shorter
)
"""Operators whose result is NULL if an operand is: not ``||``, which appends NULL to an array."""
_MAY_LOSE = frozenset({"->", "->>", "#>", "#>>", "#", "@@"})
"""Operators whose result may be NULL although no operand is."""
TOTAL_FUNCTIONS = frozenset(
    """
    abs btrim cardinality ceil ceiling char_length date date_trunc decode encode floor hashtext initcap left length lpad
    ltrim md5 octet_length position repeat replace reverse right round rpad rtrim setweight sha256 sign split_part
    strpos substr timezone to_tsvector translate trunc
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""Functions whose result is NULL if, and only if, an argument is."""
STRICT_FUNCTIONS = TOTAL_FUNCTIONS | frozenset(
    "array_length date_part extract lower similar_to_escape substring to_char upper".split()  # noqa: SIM905 - shorter
)
"""Functions whose result is NULL if an argument is, or else may be: ``lower`` and ``upper`` are so of ranges."""
_NEVER_NULL = frozenset(
    "concat json_build_array json_build_object jsonb_build_array jsonb_build_object num_nonnulls num_nulls".split()  # noqa: SIM905 - shorter
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TESTS: dict[str, Collection[bool | None]] = {
    "IS_TRUE": {True},
    "IS_NOT_TRUE": {False, None},
    "IS_FALSE": {False},
    "IS_NOT_FALSE": {True, None},
    "IS_UNKNOWN": {None},
    "IS_NOT_UNKNOWN": {True, False},
}
"""The results of an expression for which a test, such as IS TRUE, is true."""


def outcomes(expression: Node, of_column: Callable[[str], Outcomes]) -> Outcomes:  # noqa: PLR0911 - a table
    """Return the possible results of an expression; *of_column* returns those of a column of its table."""

    def of(node: Node) -> Outcomes:
        return outcomes(node, of_column)

    match expression:
        case {"ColumnRef": _}:
            return of_column(next(columns(expression), ""))
        case {"A_Const": _} | {"A_ArrayExpr": _} | {"RowExpr": _}:
            return _of_constant(expression)
        case {"NullTest": fields} | {"BooleanTest": fields} | {"BoolExpr": fields}:
            return _of_condition(fields, of)
        case {"A_Expr": fields}:
            return _of_operator(fields, of)
        case {"FuncCall": _} | {"CoalesceExpr": _} | {"MinMaxExpr": _}:
            return _of_call(expression, of)
        case {"TypeCast": {"arg": arg}} | {"CollateClause": {"arg": arg}}:
            return of(arg)
        case {"A_Indirection": {"arg": arg}} if of(arg) == NULL:
            return NULL
        case _:
            return ANY


def _of_constant(expression: Node) -> Outcomes:
    match expression:
        case {"A_Const": {"isnull": True}}:
            return NULL
        case {"A_Const": {"boolval": value}}:
            return frozenset({value.get("boolval", False)})
        case _:
            return NOT_NULL


def _of_condition(fields: Node, of: _Of) -> Outcomes:
    match fields:
        case {"nulltesttype": kind, "arg": arg}:
            is_null = NOT_NULL if _is_row(arg) else frozenset(each is None for each in of(arg))
            return is_null if kind == "IS_NULL" else _not(is_null)
        case {"booltesttype": kind, "arg": arg}:
            return frozenset(each in _TESTS[kind] for each in of(arg))
        case {"boolop": "NOT_EXPR", "args": [arg]}:
            return _not(of(arg))
        case _:
            found = (of(each) for each in fields["args"])
            return reduce(partial(_join, decides=fields["boolop"] == "OR_EXPR"), found)


def _join(left: Outcomes, right: Outcomes, *, decides: bool) -> Outcomes:
    """Return the results of OR, which ``True`` decides, or of AND, which ``False`` decides."""
    pairs = product(left, right)
    return frozenset(decides if decides in pair else None if None in pair else not decides for pair in pairs)


def _is_row(expression: Node) -> bool:
    """Return whether an expression is tested and compared field by field."""
    return without_cast(expression)[0] == "RowExpr"


def _not(found: Outcomes) -> Outcomes:
    return frozenset(None if each is None else not each for each in found)


def _first(found: list[Outcomes]) -> Outcomes:
    """Return the results of COALESCE."""
    values: Outcomes = NULL
    for each in found:
        values = (values - NULL) | each
        if None not in each:
            break
    return values


def _of_call(expression: Node, of: _Of) -> Outcomes:
    kind, fields = untag(expression)
    found = [of(each) for each in fields.get("args", ())]
    if kind == "CoalesceExpr":
        return _first(found)
    if kind == "MinMaxExpr":
        return NULL if {*found} == {NULL} else ANY if all(None in each for each in found) else NOT_NULL
    name = "" if "func_variadic" in fields else next(functions([expression]))
    if name in _NEVER_NULL:
        return NOT_NULL
    if name in STRICT_FUNCTIONS and NULL in found:
        return NULL
    return NOT_NULL if name in TOTAL_FUNCTIONS and not any(None in each for each in found) else ANY


def _of_operator(fields: Node, of: _Of) -> Outcomes:  # noqa: PLR0911 - a table
    operands = [fields[side] for side in ("lexpr", "rexpr") if side in fields]
    if any(map(_is_row, operands)):
        return ANY
    found = [of(each) for each in operands]
    match fields:
        case {
            "kind": "AEXPR_OP",
            "name": [{"String": {"sval": name}}],
            "lexpr": {"A_Const": _},
            "rexpr": {"A_Const": _},
        } if name in _COMPARISONS:
            return _compare(name, *operands)
        case {"kind": "AEXPR_IN", "lexpr": {"A_Const": _}, "rexpr": {"List": {"items": items}}}:
            is_in = reduce(partial(_join, decides=True), (_compare("=", operands[0], each) for each in items))
            return is_in if parts(fields["name"]) == ("=",) else _not(is_in)
        case {"kind": "AEXPR_OP" | "AEXPR_LIKE" | "AEXPR_ILIKE" | "AEXPR_SIMILAR"}:
            return _of_values(parts(fields["name"]), found)
        case {"kind": "AEXPR_DISTINCT"}:
            return _are_distinct(*found)
        case {"kind": "AEXPR_NOT_DISTINCT"}:
            return _not(_are_distinct(*found))
        case {"kind": "AEXPR_OP_ANY" | "AEXPR_OP_ALL"}:
            has_values = bool(without_cast(operands[1])[1].get("elements"))
            return NULL if found[1] == NULL or (found[0] == NULL and has_values) else ANY
        case _:  # IN, BETWEEN, NULLIF
            return NULL if found[0] == NULL else ANY


def _compare(name: str, left: Node, right: Node) -> Outcomes:
    """Return the possible results of a comparison of two constants."""
    values = [constant(each) for each in (left, right)]
    if None in values or "TypeCast" in right:
        return ANY
    if {*map(type, values)} == {int, str}:  # a default may be written as text
        values = [int(each) if re.fullmatch(r"-?\d+", str(each)) else each for each in values]
    is_known = {*map(type, values)} in ({int}, {bool}) or (name in {"=", "<>"} and _are_comparable(*values))
    return frozenset({_COMPARISONS[name](*values)}) if is_known else NOT_NULL


def _are_comparable(left: object, right: object) -> bool:
    """Return whether two constants are the same, or words that no type and collation takes to be the same."""
    texts = str(left), str(right)
    return left == right or (all(map(str.isidentifier, texts)) and len({*map(str.casefold, texts)}) > 1)


def _of_values(operator: tuple[str, ...], found: list[Outcomes]) -> Outcomes:
    name = operator[0] if len(operator) == 1 else ""
    if name in STRICT_OPERATORS and NULL in found:
        return NULL
    if name not in (STRICT_OPERATORS - _MAY_LOSE) | {"||"} or any(None in each for each in found):
        return ANY
    if name in {"=", "<>"} and all(len(each) == 1 for each in found):
        return frozenset({(found[0] == found[-1]) is (name == "=")})
    return NOT_NULL


def _are_distinct(left: Outcomes, right: Outcomes) -> Outcomes:
    if left == right == NULL:
        return frozenset({False})
    is_known = (left == NULL and None not in right) or (right == NULL and None not in left)
    return frozenset({True}) if is_known else NOT_NULL


def conjuncts(condition: Node | None) -> Iterable[Node]:
    """Yield the parts of a condition that AND joins."""
    kind, fields = untag(condition)
    if kind == "BoolExpr" and fields["boolop"] == "AND_EXPR":
        for each in fields["args"]:
            yield from conjuncts(each)
    elif condition is not None:
        yield condition


def tests_not_null(condition: Node | None) -> bool:
    """Return whether IS NOT NULL is part of a condition."""
    return any(each["nulltesttype"] == "IS_NOT_NULL" for each in find(condition, "NullTest"))
