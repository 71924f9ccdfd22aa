"""The statements that turn an item into another, where that can be done in place; for columns, see `columns`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tenantkit.drift import statements
from tenantkit.drift.shape import ASPECTS, CONSTRAINTS, Item, Kind
from tenantkit.naming import quote_identifier as quoted


def alter(expected: Item, found: Item) -> list[str] | None:
    """Return what turns *found* into *expected*; ``None`` if it must be dropped and made anew."""
    if (how := _ALTER.get(expected.key.kind)) is None:
        return None
    return how(expected, found)


def _same_but(expected: Item, found: Item, *aspects: str) -> bool:
    names = ASPECTS[expected.key.kind]
    return all(expected[name] == found[name] for name in names if name not in aspects)


def heading(function: Item) -> str:
    """Return what CREATE OR REPLACE cannot change: names and types of parameters, and the type of the result."""
    return (function["signature"] or "").partition("\n LANGUAGE ")[0]


def _alter_domain(expected: Item, found: Item) -> list[str] | None:
    if not _same_but(expected, found, "default", "NULL"):
        return None
    domain = f"ALTER DOMAIN {quoted(expected.key.name)}"
    changes: list[str] = []
    if expected["default"] != found["default"]:
        changes.append(f"{domain} {statements.set_default(expected)}")
    if expected["NULL"] != found["NULL"]:
        changes.append(f"{domain} {'DROP' if expected['NULL'] == 'allowed' else 'SET'} NOT NULL")
    return changes


def _alter_sequence(expected: Item, found: Item) -> list[str]:
    sequence, changes = f"ALTER SEQUENCE {quoted(expected.key.name)}", list[str]()
    if (expected["type"], expected["options"]) != (found["type"], found["options"]):
        changes.append(f"{sequence} AS {expected['type']} {expected['options']}")
    if expected["persistence"] != found["persistence"]:
        changes.append(f"{sequence} SET {_logged(expected)}")
    return changes


def _alter_table(expected: Item, found: Item) -> list[str]:
    name = expected.key.name
    table = f"ALTER TABLE {quoted(name)}"
    if expected["partition key"] != found["partition key"]:
        wanted = expected["partition key"] or "nothing"
        return [statements.remark(f"Make {name} anew, partitioned by {wanted}: no statement can change that.")]
    changes: list[str] = []
    if expected["persistence"] != found["persistence"]:
        changes.append(f"{table} SET {_logged(expected)}")
    if not _same_but(expected, found, "persistence", "parent", "partition bound", "comment"):
        changes += statements.set_row_security(expected)
    if (expected["parent"], expected["partition bound"]) != (found["parent"], found["partition bound"]):
        changes += _alter_parents(table, expected, found)
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


def _alter_parents(table: str, expected: Item, found: Item) -> list[str]:
    name, changes = quoted(expected.key.name), list[str]()
    wanted, there = expected["parent"], found["parent"]
    if there and found["partition bound"]:
        changes.append(f"ALTER TABLE {there} DETACH PARTITION {name}")
    elif there:
        changes += [f"{table} NO INHERIT {parent}" for parent in there.split(", ")]
    if wanted and expected["partition bound"]:
        changes.append(f"ALTER TABLE {wanted} ATTACH PARTITION {name} {expected['partition bound']}")
    elif wanted:
        changes += [f"{table} INHERIT {parent}" for parent in wanted.split(", ")]
    return changes


def _rebuild_index(expected: Item, found: Item) -> list[str] | None:
    if not _same_but(expected, found, "state"):
        return None
    if expected["state"] == "invalid":
        return [statements.remark(f"The index {expected.key.name} is valid here, and should be so elsewhere.")]
    return [f"REINDEX INDEX {quoted(expected.key.name)}"]


def _logged(item: Item) -> str:
    return "UNLOGGED" if item["persistence"] == "unlogged" else "LOGGED"


def _replace_routine(expected: Item, found: Item) -> list[str] | None:
    return statements.create(expected, {}) if heading(expected) == heading(found) else None


def _validate(expected: Item, found: Item) -> list[str] | None:
    if found["definition"] != f"{expected['definition']} NOT VALID":
        return None
    return [f"ALTER TABLE {quoted(expected.key.table or '')} VALIDATE CONSTRAINT {quoted(expected.key.name)}"]


def _alter_trigger(expected: Item, found: Item) -> list[str] | None:
    return statements.set_trigger_state(expected) if _same_but(expected, found, "state") else None


def _alter_view(expected: Item, found: Item) -> list[str] | None:
    if not _same_but(expected, found, "comment", "state"):
        return None
    changes: list[str] = []
    if expected.key.kind is Kind.MATERIALIZED_VIEW and expected["state"] != found["state"]:
        data = "" if expected["state"] == "populated" else " WITH NO DATA"
        changes.append(f"REFRESH MATERIALIZED VIEW {quoted(expected.key.name)}{data}")
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


_ALTER: Mapping[Kind, Callable[[Item, Item], list[str] | None]] = {
    Kind.DOMAIN: _alter_domain,
    Kind.SEQUENCE: _alter_sequence,
    Kind.FUNCTION: _replace_routine,
    Kind.PROCEDURE: _replace_routine,
    Kind.TABLE: _alter_table,
    **dict.fromkeys(CONSTRAINTS, _validate),
    Kind.INDEX: _rebuild_index,
    Kind.VIEW: _alter_view,
    Kind.MATERIALIZED_VIEW: _alter_view,
    Kind.TRIGGER: _alter_trigger,
}
