"""Giving an enum the labels that it should have."""

from __future__ import annotations

from collections.abc import Iterable

from tenantkit.drift.columns import base_type
from tenantkit.drift.shape import Item, Kind, Shape
from tenantkit.naming import quote_identifier as quoted
from tenantkit.naming import quote_literal as literal


def renamed_labels(expected: Item, found: Item) -> list[str]:
    """Return what gives labels other names, if that is all there is to do: rows then have the new ones."""
    labels, there = _labels(expected), _labels(found)
    if len(labels) != len(there) or set(labels) & {old for old, new in zip(there, labels, strict=True) if old != new}:
        return []
    return [
        f"ALTER TYPE {quoted(expected.key.name)} RENAME VALUE {literal(old)} TO {literal(new)}"
        for old, new in zip(there, labels, strict=True)
        if old != new
    ]


def new_labels(expected: Item, found: Item) -> list[str]:
    """Return what adds labels, if that is all there is to do: none has to go, or to change places."""
    labels, there = _labels(expected), _labels(found)
    if [label for label in labels if label in there] != there:
        return []
    added: list[str] = []
    for place, label in enumerate(labels):
        if label not in there:
            where = f" AFTER {literal(labels[place - 1])}" if place else f" BEFORE {literal(there[0])}" if there else ""
            added.append(f"ALTER TYPE {quoted(expected.key.name)} ADD VALUE {literal(label)}{where}")
    return added


def columns_of(name: str, shape: Shape) -> list[Item]:
    """Return the columns that have this enum for a type, or an array of it."""
    return [item for key, item in shape.items() if key.kind is Kind.COLUMN and base_type(item) == name]


def replaced_name(found: Item) -> str:
    """Return what an enum is called until nothing uses it any more, as an identifier."""
    return quoted(f"tenantkit_replaced_{found.position}")


def replace(expected: Item, found: Item, columns: Iterable[Item]) -> list[str]:
    """Return what puts a new enum into the place of the old one, in all *columns*."""
    name = quoted(expected.key.name)
    changes = [
        f"ALTER TYPE {name} RENAME TO {replaced_name(found)}",
        f"CREATE TYPE {name} AS ENUM ({', '.join(map(literal, _labels(expected)))})",
    ]
    for column in columns:
        alter = f"ALTER TABLE {quoted(column.key.table or '')} ALTER COLUMN {quoted(column.key.name)}"
        array = "[]" if (column["type"] or "").endswith("[]") else ""
        default = column["default"]
        changes += [f"{alter} DROP DEFAULT"] if default else []
        changes.append(f"{alter} TYPE {name}{array} USING {quoted(column.key.name)}::text{array}::{name}{array}")
        changes += [f"{alter} SET DEFAULT {default}"] if default else []
    return changes


def _labels(item: Item) -> list[str]:
    return [label for label in item.values if label is not None]
