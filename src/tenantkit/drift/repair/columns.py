"""The statements that change a column in place."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tenantkit.drift.catalog.shape import IN_NEW_ROWS, Item
from tenantkit.drift.repair import statements
from tenantkit.postgres.quoting import quote_identifier as quoted

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

    The type is changed without ``USING``; see `converts`.
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
        changes.append(f"{column} TYPE {expected['type']}{collation}")
    if expected["default"] != default:
        changes.append(f"{column} {statements.set_default(expected)}")
    changes += _alter_null(column, expected, found)
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


def changes_type(expected: Item, found: Item) -> bool:
    """Return whether a column gets another type or collation, which dependents of the column do not allow."""
    return (expected["type"], expected["collation"]) != (found["type"], found["collation"])


def converts(expected: Item, found: Item) -> bool:
    """Return whether the expected type may lack a value of the one that was found."""
    wanted, there = expected["type"] or "", found["type"] or ""
    base, *_ = re.split(r"[(,)]", there)
    if wanted == there or wanted in _WIDER.get(base, ()):
        return False
    shorter, longer = (re.fullmatch(r"character varying\((\d+)\)", type_) for type_ in (there, wanted))
    return not (shorter and longer and int(shorter[1]) <= int(longer[1]))


def drops_not_null(expected: Item, found: Item) -> bool:
    """Return whether a column's ``NOT NULL`` is dropped, also to be added as one that is not validated."""
    return found["NULL"] != "allowed" and expected["NULL"] not in {found["NULL"], "forbidden"}


def _alter_null(column: str, expected: Item, found: Item) -> list[str]:
    wanted, there = expected["NULL"], found["NULL"]
    if wanted == there:
        return []
    if wanted == "forbidden":
        return [f"{column} SET NOT NULL"]  # which validates the one that is there
    changes = [] if there == "allowed" else [f"{column} DROP NOT NULL"]
    if wanted == IN_NEW_ROWS:
        changes.append(statements.forbid_null_in_new_rows(expected.key.table or "", expected.key.name))
    return changes
