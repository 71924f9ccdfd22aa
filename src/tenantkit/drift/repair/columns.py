"""The statements that change a column in place."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tenantkit.drift.catalog.shape import Item, Key, Kind, Shape, unquoted
from tenantkit.drift.repair import statements
from tenantkit.postgres.quoting import quote_identifier as quoted

_TEXTS = ("character varying", "text", "character")
_FAMILIES = (
    ("smallint", "integer", "bigint", "numeric", "real", "double precision"),
    ("date", "timestamp without time zone", "timestamp with time zone"),
    ("json", "jsonb"),
)
"""Families of types: PostgreSQL assigns a value to a column of another type of its family, and any value to a text."""
_WIDER: Mapping[str, tuple[str, ...]] = {
    "smallint": ("integer", "bigint", "numeric"),
    "integer": ("bigint", "numeric"),
    "bigint": ("numeric",),
    "numeric": ("numeric",),
    "character varying": ("character varying", "text"),
    "text": ("character varying",),
}
"""For each type, the types without a limit that hold all of its values."""


def alter(expected: Item, found: Item) -> list[str] | None:
    """Return the statements that change *found* into *expected*; ``None`` if it cannot be changed in place.

    The type is changed without ``USING``: PostgreSQL assigns each value, and a value that does not fit is an error.
    """
    table, name = expected.key.table or "", expected.key.name
    column = f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(name)}"
    changes: list[str] = []
    default = found["default"]
    if (expected["generated"], expected["identity"]) != (found["generated"], found["identity"]):
        return None
    if changes_type(expected, found):
        if default is not None:  # it may be invalid for the new type
            changes.append(f"{column} DROP DEFAULT")
            default = None
        collation = f" COLLATE {expected['collation']}" if expected["collation"] else ""
        changes += [] if _holds_all(expected, found) else [_warn(expected, found)]
        changes.append(f"{column} TYPE {expected['type']}{collation}")
    if expected["default"] != default:
        changes.append(f"{column} {statements.set_default(expected)}")
    changes += _alter_null(column, expected, found)
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


def changes_type(expected: Item, found: Item) -> bool:
    """Return whether a column's values must be converted, which dependents of the column do not allow."""
    return (expected["type"], expected["collation"]) != (found["type"], found["collation"])


def is_assignable(expected: Item, found: Item, shape: Shape) -> bool:
    """Return whether PostgreSQL may assign values of a column to one of another type; *shape* has the domains."""
    wanted, there = (_resolve(item["type"] or "", shape) for item in (expected, found))
    if wanted.endswith("[]") and there.endswith("[]"):
        wanted, there = (_resolve(type_.removesuffix("[]"), shape) for type_ in (wanted, there))
    return wanted == there or wanted in _TEXTS or any(wanted in family and there in family for family in _FAMILIES)


def _resolve(type_: str, shape: Shape) -> str:
    """Return the name of a type without its limits; of a domain, that of the type underneath."""
    while domain := shape.get(Key(Kind.DOMAIN, None, unquoted(type_))):
        type_ = domain["type"] or ""
    return re.sub(r"\([\d,]+\)", "", type_)


def _holds_all(expected: Item, found: Item) -> bool:
    wanted, there = expected["type"] or "", found["type"] or ""
    base, *_ = re.split(r"[(,)]", there)
    if wanted == there or wanted in _WIDER.get(base, ()):
        return True
    shorter, longer = (re.fullmatch(r"character varying\((\d+)\)", type_) for type_ in (there, wanted))
    return bool(shorter and longer and int(shorter[1]) <= int(longer[1]))


def _warn(expected: Item, found: Item) -> str:
    table, name = expected.key.table, expected.key.name
    return statements.remark(
        f"The values of {table}.{name} are converted from {found['type']} to {expected['type']}. Look at them first: "
        "a value that does not fit is an error, and others may be rounded, cut, or read in this session's time zone."
    )


def _alter_null(column: str, expected: Item, found: Item) -> list[str]:
    wanted, there = expected["NULL"], found["NULL"]
    if wanted == there:
        return []
    changes = [] if there == "allowed" else [f"{column} DROP NOT NULL"]
    if wanted == "forbidden":
        changes.append(f"{column} SET NOT NULL")
    elif wanted == "forbidden in new rows":
        table, name = quoted(expected.key.table or ""), quoted(expected.key.name)
        changes.append(f"ALTER TABLE {table} ADD NOT NULL {name} NOT VALID")
    return changes
