"""The statements that change an item in place, so that it keeps its owner, its privileges and its dependents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tenantkit.drift.catalog.shape import ASPECTS, CONSTRAINTS, Item, Kind
from tenantkit.drift.repair import columns, statements
from tenantkit.postgres.quoting import quote_identifier as quoted
from tenantkit.postgres.quoting import quote_literal as literal

_SECURITY = ("row-level security", "row-level security for its owner")


def alter(expected: Item, found: Item) -> list[str] | None:
    """Return the statements that change *found* into *expected*; ``None`` if it cannot be changed in place."""
    if (how := _ALTER.get(expected.key.kind)) is None:
        return None
    return how(expected, found)


def add_labels(expected: Item, found: Item) -> list[str] | None:
    """Return the statements that add labels to an enum; ``None`` if labels must be removed or reordered."""
    if [label for label in expected.values if label in found.values] != list(found.values):
        return None
    added: list[str] = []
    for place, label in enumerate(expected.values):
        if label not in found.values:
            before = found.values[:1] if place == 0 else ()
            where = [f" AFTER {literal(expected.values[place - 1] or '')}"] if place else []
            where += [f" BEFORE {literal(first or '')}" for first in before]
            added.append(f"ALTER TYPE {quoted(expected.key.name)} ADD VALUE {literal(label or '')}{''.join(where)}")
    return added


def _same_but(expected: Item, found: Item, *aspects: str) -> bool:
    names = ASPECTS[expected.key.kind]
    return all(expected[name] == found[name] for name in names if name not in aspects)


def _heading(function: Item) -> str:
    """Return the part that CREATE OR REPLACE cannot change: names and types of parameters, and the result's type."""
    return (function["signature"] or "").partition("\n LANGUAGE ")[0]


def _alter_sequence(expected: Item, found: Item) -> list[str] | None:
    if not _same_but(expected, found, "type", "options"):
        return None
    return [f"ALTER SEQUENCE {quoted(expected.key.name)} AS {expected['type']} {expected['options']}"]


def _alter_table(expected: Item, found: Item) -> list[str] | None:
    changes: list[str] = []
    if not _same_but(expected, found, *_SECURITY, "parent", "partition bound", "replica identity", "comment"):
        return None
    if any(expected[each] != found[each] for each in _SECURITY):
        changes += statements.set_row_security(expected)
    if (expected["parent"], expected["partition bound"]) != (found["parent"], found["partition bound"]):
        if found["parent"] or not expected["partition bound"]:
            return None
        attach = f"ATTACH PARTITION {quoted(expected.key.name)} {expected['partition bound']}"
        changes.append(f"ALTER TABLE {expected['parent']} {attach}")
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


def _replace_routine(expected: Item, found: Item) -> list[str] | None:
    if _heading(expected) != _heading(found):
        return None
    changes = statements.create(expected, {})
    if statements.is_definer(expected) != statements.is_definer(found):
        changes.insert(0, statements.remark(f"This changes with whose rights {expected.key.name} runs."))
    return changes


def _alter_constraint(expected: Item, found: Item) -> list[str] | None:
    if not _same_but(expected, found, "definition") or found["definition"] != f"{expected['definition']} NOT VALID":
        return None
    return [f"ALTER TABLE {quoted(expected.key.table or '')} VALIDATE CONSTRAINT {quoted(expected.key.name)}"]


def _alter_trigger(expected: Item, found: Item) -> list[str] | None:
    return statements.set_trigger_state(expected) if _same_but(expected, found, "state") else None


def _alter_view(expected: Item, found: Item) -> list[str] | None:
    """Return the statement that replaces a view; ``None`` unless it keeps its columns and adds others after them."""
    if not f"{expected['columns']}, ".startswith(f"{found['columns']}, "):
        return None
    changes = [] if _same_but(expected, found, "comment") else statements.create(expected, {})[:1]
    if expected["options"] != found["options"]:
        changes.insert(0, statements.remark(f"This changes which rows roles can see by {expected.key.name}."))
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


def _comment(expected: Item, found: Item) -> list[str] | None:
    return [statements.set_comment(expected)] if _same_but(expected, found, "comment") else None


_ALTER: Mapping[Kind, Callable[[Item, Item], list[str] | None]] = {
    Kind.ENUM: add_labels,
    Kind.SEQUENCE: _alter_sequence,
    Kind.FUNCTION: _replace_routine,
    Kind.PROCEDURE: _replace_routine,
    Kind.TABLE: _alter_table,
    Kind.COLUMN: columns.alter,
    **dict.fromkeys(CONSTRAINTS, _alter_constraint),
    Kind.VIEW: _alter_view,
    Kind.MATERIALIZED_VIEW: _comment,
    Kind.TRIGGER: _alter_trigger,
}
