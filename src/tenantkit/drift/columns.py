"""The statements that turn a column into another."""

from __future__ import annotations

import re
from collections.abc import Collection

from tenantkit.drift import statements
from tenantkit.drift.shape import Item, unquoted
from tenantkit.naming import quote_identifier as quoted
from tenantkit.naming import quote_literal as literal

_SEQUENCE_OPTION = re.compile(r"START WITH|INCREMENT BY|MINVALUE|MAXVALUE|CACHE|NO CYCLE|CYCLE")


def alter(expected: Item, found: Item, enums: Collection[str]) -> list[str] | None:
    """Return what turns *found* into *expected*; ``None`` if the column must be dropped and added again.

    What belongs into *enums* are the names of the schema's own, which are not cast to anything but text.
    """
    if expected["generated"] != found["generated"]:
        return None
    table, name = expected.key.table or "", expected.key.name
    column = f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(name)}"
    changes: list[str] = []
    default = found["default"]
    if changes_type(expected, found):
        if default is not None:  # which may have no meaning in the new type
            changes.append(f"{column} DROP DEFAULT")
            default = None
        collation = f" COLLATE {expected['collation']}" if expected["collation"] else ""
        using = "" if expected["generated"] else f" USING {_converted(expected, found, enums)}"
        changes.append(f"{column} TYPE {expected['type']}{collation}{using}")
    if expected["default"] != default:
        changes.append(f"{column} {statements.set_default(expected)}")
    changes += _alter_null(column, expected, found)
    if expected["identity"] != found["identity"] and expected["identity"] is not None:
        changes += _set_identity(column, expected, found)
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


def drop_identity(expected: Item, found: Item) -> list[str]:
    """Return what takes away a column's identity, if none is expected; its sequence may have a name that is needed."""
    if expected["identity"] is not None or found["identity"] is None:
        return []
    return [f"ALTER TABLE {quoted(found.key.table or '')} ALTER COLUMN {quoted(found.key.name)} DROP IDENTITY"]


def changes_type(expected: Item, found: Item) -> bool:
    """Return whether a column's values must be converted, which what depends on the column does not allow."""
    return (expected["type"], expected["collation"]) != (found["type"], found["collation"])


def base_type(column: Item) -> str:
    """Return the name of a column's type, or of what it is an array of."""
    return unquoted((column["type"] or "").removesuffix("[]"))


def _converted(expected: Item, found: Item, enums: Collection[str]) -> str:
    """Return the expression that converts a column's values."""
    by_text = {base_type(expected), base_type(found)} & set(enums)
    return f"{quoted(expected.key.name)}{'::text' if by_text else ''}::{expected['type']}"


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


def _set_identity(column: str, expected: Item, found: Item) -> list[str]:
    if found["identity"]:
        how, _, options = (expected["identity"] or "").removesuffix(")").partition(" AS IDENTITY (")
        return [f"{column} SET GENERATED {how} " + _SEQUENCE_OPTION.sub(r"SET \g<0>", options)]
    table, name = expected.key.table or "", expected.key.name
    sequence = f"pg_get_serial_sequence({literal(quoted(table))}, {literal(name)})"
    return [
        f"{column} ADD GENERATED {expected['identity']}",
        statements.continue_numbers(sequence, table, name),
    ]
