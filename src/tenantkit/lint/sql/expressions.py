"""Parts of expressions: constants, function calls, columns and types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenantkit.lint.sql.tree import Node, find, parts, untag


def without_cast(expression: Node | None) -> tuple[str, Node]:
    """Return the kind of an expression and its fields, without the casts around it."""
    kind, fields = untag(expression)
    while kind == "TypeCast":
        kind, fields = untag(fields["arg"])
    return kind, fields


def constant(expression: Node | None) -> Any:
    """Return the value of a text, a number or a boolean; ``None`` for every other *expression*."""
    kind, fields = without_cast(expression)
    match fields:
        case {"sval": value}:
            return value.get("sval", "") if kind == "A_Const" else None
        case {"ival": value}:
            return value.get("ival", 0)
        case {"boolval": value}:
            return value.get("boolval", False)
        case _:
            return None


def is_null(expression: Node | None) -> bool:
    """Return whether *expression* is NULL, with or without a type."""
    kind, fields = without_cast(expression)
    return kind == "A_Const" and bool(fields.get("isnull"))


def functions(value: Any) -> Iterator[str]:
    """Yield the names of the called functions, without the schema pg_catalog."""
    for call in find(value, "FuncCall"):
        yield ".".join(part for part in parts(call["funcname"]) if part != "pg_catalog")


def columns(value: Any) -> Iterator[str]:
    """Yield the columns that an expression names, without their tables."""
    for column in find(value, "ColumnRef"):
        yield from parts(column["fields"][-1:])


def not_null_column(expression: Node | None) -> str | None:
    """Return the column of an *expression* of the form ``column IS NOT NULL``."""
    kind, fields = untag(expression)
    if kind != "NullTest" or fields["nulltesttype"] != "IS_NOT_NULL" or "ColumnRef" not in fields["arg"]:
        return None
    return next(columns(fields["arg"]), None)


def spell_type(type_name: Node) -> str:
    """Return the name of a type with its length or precision, as ``varchar(20)``."""
    *_, name = parts(type_name["names"])
    numbers = ", ".join(str(constant(each)) for each in type_name.get("typmods", ()))
    return f"{name}({numbers})" if numbers else name + "[]" * len(type_name.get("arrayBounds", ()))
