"""The statements that turn an item into another, where that can be done in place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tenantkit.drift import statements
from tenantkit.drift.shape import ASPECTS, CONSTRAINTS, Item, Kind
from tenantkit.naming import quote_identifier as quoted
from tenantkit.naming import quote_literal as literal

_SEQUENCE_OPTION = re.compile(r"START WITH|INCREMENT BY|MINVALUE|MAXVALUE|CACHE|NO CYCLE|CYCLE")


def alter(expected: Item, found: Item) -> list[str] | None:
    """Return what turns *found* into *expected*; ``None`` if it must be dropped and made anew."""
    if (how := _ALTER.get(expected.key.kind)) is None:
        return None
    return how(expected, found)


def drop_identity(expected: Item, found: Item) -> list[str]:
    """Return what takes away a column's identity, if none is expected; its sequence may have a name that is needed."""
    if expected["identity"] is not None or found["identity"] is None:
        return []
    return [f"ALTER TABLE {quoted(found.key.table or '')} ALTER COLUMN {quoted(found.key.name)} DROP IDENTITY"]


def changes_type(expected: Item, found: Item) -> bool:
    """Return whether a column's values must be converted, which what depends on the column does not allow."""
    return (expected["type"], expected["collation"]) != (found["type"], found["collation"])


def _same_but(expected: Item, found: Item, *aspects: str) -> bool:
    names = ASPECTS[expected.key.kind]
    return all(expected[name] == found[name] for name in names if name not in aspects)


def heading(function: Item) -> str:
    """Return what CREATE OR REPLACE cannot change: names and types of parameters, and the type of the result."""
    return (function["signature"] or "").partition("\n LANGUAGE ")[0]


def _alter_domain(expected: Item, found: Item) -> list[str] | None:
    if changes_type(expected, found):
        return None
    domain = f"ALTER DOMAIN {quoted(expected.key.name)}"
    changes: list[str] = []
    if expected["default"] != found["default"]:
        changes.append(f"{domain} {_set_default(expected)}")
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
        return [f"-- {name} must be made anew by hand, partitioned by {wanted}: no statement can change that."]
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


def _alter_column(expected: Item, found: Item) -> list[str] | None:
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
        using = "" if expected["generated"] else f" USING {quoted(name)}::{expected['type']}"
        changes.append(f"{column} TYPE {expected['type']}{collation}{using}")
    if expected["default"] != default:
        changes.append(f"{column} {_set_default(expected)}")
    changes += _alter_null(column, expected, found)
    if expected["identity"] != found["identity"] and expected["identity"] is not None:
        changes += _set_identity(column, expected, found)
    if expected["comment"] != found["comment"]:
        changes.append(statements.set_comment(expected))
    return changes


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


def _rebuild_index(expected: Item, found: Item) -> list[str] | None:
    if not _same_but(expected, found, "state"):
        return None
    if expected["state"] == "invalid":
        return [f"-- The index {expected.key.name} is valid here, and should be so elsewhere."]
    return [f"REINDEX INDEX {quoted(expected.key.name)}"]


def _set_default(item: Item) -> str:
    return "DROP DEFAULT" if item["default"] is None else f"SET DEFAULT {item['default']}"


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
    Kind.COLUMN: _alter_column,
    **dict.fromkeys(CONSTRAINTS, _validate),
    Kind.INDEX: _rebuild_index,
    Kind.VIEW: _alter_view,
    Kind.MATERIALIZED_VIEW: _alter_view,
    Kind.TRIGGER: _alter_trigger,
}
