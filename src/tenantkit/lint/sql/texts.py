"""Texts that EXECUTE builds of constants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tenantkit.lint.sql.expressions import constant, functions, is_null
from tenantkit.lint.sql.tree import Node, parts, untag
from tenantkit.postgres.quoting import quote_identifier, quote_literal

TENANT_SCHEMA = "tenantkit_lint"
"""The name for a tenant's schema. Where the placeholder itself remains, it was not translated."""

_PLACE = re.compile(r"%(?:(\d+)\$)?([sIL%])")


class _UnknownError(Exception):
    """A value that only the database knows."""


def evaluate(expression: Node | None) -> str | None:
    """Return the text of an *expression*; ``None`` if it is NULL, or only the database knows it.

    It may have constants, ``||``, ``concat()``, ``format()``, functions that quote, and ``current_schema()``.
    """
    try:
        return _text(expression)
    except _UnknownError:
        return None


def _text(expression: Node | None) -> str | None:
    if is_null(expression):
        return None
    if (value := constant(expression)) is not None and _is_text(expression, value):
        return str(value)
    match expression:
        case {"SQLValueFunction": {"op": "SVFOP_CURRENT_SCHEMA"}}:
            return TENANT_SCHEMA
        case {"A_Expr": {"kind": "AEXPR_OP", "name": name, "lexpr": left, "rexpr": right}} if parts(name) == ("||",):
            texts = [_text(left), _text(right)]
            return None if None in texts else "".join(filter(None, texts))
        case {"FuncCall": fields} if "func_variadic" not in fields:
            return _of_call(next(functions([expression])), [_text(each) for each in fields.get("args", ())])
        case _:
            raise _UnknownError


def _is_text(expression: Node | None, value: Any) -> bool:
    """Return whether a constant is its own text: without a cast to a type that may spell it otherwise."""
    kind, fields = untag(expression)
    if kind == "TypeCast":
        return isinstance(value, str) and parts(fields["typeName"]["names"])[-1] in {"name", "text"}
    return not isinstance(value, bool)


def _of_call(name: str, values: Sequence[str | None]) -> str | None:
    match name, values:
        case "current_schema", []:
            return TENANT_SCHEMA
        case "concat", _:
            return "".join(filter(None, values))
        case "quote_ident", [value]:
            return None if value is None else quote_identifier(value)
        case "quote_literal" | "quote_nullable", [value]:
            return _quote(value) if value is not None or name == "quote_nullable" else None
        case "format", [template, *values] if template is not None:
            return _format(template, values)
        case _:
            raise _UnknownError


def _quote(value: str | None) -> str:
    return "NULL" if value is None else ("E" if "\\" in value else "") + quote_literal(value.replace("\\", r"\\"))


def _format(template: str, values: Sequence[str | None]) -> str:
    """Return what PostgreSQL's format() makes of a template without widths."""
    last = 0

    def place(found: re.Match[str]) -> str:
        nonlocal last
        if found[2] == "%":
            return "%"
        last = int(found[1] or last + 1)
        if not 0 < last <= len(values):
            raise _UnknownError
        value = values[last - 1]
        if found[2] == "I":
            if value is None:
                raise _UnknownError
            return quote_identifier(value)
        return _quote(value) if found[2] == "L" else value or ""

    if "%" in _PLACE.sub("", template):
        raise _UnknownError
    return _PLACE.sub(place, template)
