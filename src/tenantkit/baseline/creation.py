"""The statements that create the contents of a schema, without the name of a schema in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection, inspect

from tenantkit.baseline.contents import Contents
from tenantkit.drift.catalog.dependencies import PRIVATE, Dependencies, Detail
from tenantkit.drift.catalog.shape import ASPECTS, BODY, OWN_SCHEMA, ROUTINES, Item, Key, Kind, Shape
from tenantkit.drift.compare import compare
from tenantkit.drift.repair import statements
from tenantkit.drift.repair.script import write_repair
from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier

_OWN_PATH = re.compile(rf"^ SET search_path TO '{OWN_SCHEMA}'.*$", re.MULTILINE)
_OWN_NAME = re.compile(rf"^(CREATE OR REPLACE (?:FUNCTION|PROCEDURE) ){OWN_SCHEMA}\.")
_WORDS = r"'(?:[^']|'')*'::character varying"
_COERCED = re.compile(rf"\((\w+)\)::text (= ANY|<> ALL) \(\(ARRAY\[({_WORDS}(?:, {_WORDS})*)\]\)::text\[\]\)")
_ROWS_AT_ONCE = 500
_NOTHING = Detail({}, Dependencies({}, {}, {}, ()))


def write_statements(contents: Contents) -> list[str]:
    """Return the statements that create *contents* in an empty schema, except for keys to shared tables.

    Rows come before foreign keys, triggers and row security of owners, so their order does not matter, no trigger
    changes them, and no policy refuses them.

    :raises ConfigurationError: if there is no statement for something.
    """
    detail = contents.detail
    left_out = shared_keys(detail.shape)
    shape = {key: _for_every_schema(item, contents) for key, item in detail.shape.items() if key not in left_out}
    before = {key: _open(item) for key, item in shape.items() if key.kind not in (Kind.FOREIGN_KEY, Kind.TRIGGER)}
    made = [*_between(_NOTHING, detail._replace(shape=before)), *_insert(contents)]
    made += [*_between(detail._replace(shape=before), detail._replace(shape=shape)), *contents.extras]
    if any(BODY in (item["signature"] or "") for key, item in shape.items() if key.kind in ROUTINES):
        # A body may name what is created later.
        made = ["SET LOCAL check_function_bodies = off", *made, "RESET check_function_bodies"]
    if named := [each for each in made if OWN_SCHEMA in each]:
        raise ConfigurationError(
            f"No revision can have {first_lines([named[0].splitlines()[0].replace(OWN_SCHEMA, '{schema}')])}: it names "
            "the schema of its tenant as a text, and every tenant has another. Write it without the schema first."
        )
    return made


def shared_keys(shape: Shape) -> set[Key]:
    """Return the foreign keys to tables in other schemas."""
    return {key for key, item in shape.items() if key.kind is Kind.FOREIGN_KEY and item["referred table"] is None}


def write_shared_keys(connection: Connection, schema: str, contents: Contents) -> Iterator[str]:
    """Yield, as Python, the operations that create the foreign keys to shared tables.

    Operations, unlike text, are left out in databases without the shared tables.
    """
    inspector = inspect(connection)
    wanted = shared_keys(contents.detail.shape)
    for table in sorted({key.table or "" for key in wanted}):
        for key in inspector.get_foreign_keys(table, schema):
            if (found := Key(Kind.FOREIGN_KEY, table, key["name"] or "")) not in wanted:
                continue
            definition = contents.detail.shape[found]["definition"] or ""
            options = {name: value for name, value in key.get("options", {}).items() if value is not None}
            arguments = [
                *map(repr, (key["name"], table, key["referred_table"], key["constrained_columns"])),
                repr(key["referred_columns"]),
                "source_schema={placeholder!r}",
                f"referent_schema={key['referred_schema']!r}",
                *(f"{name}={value!r}" for name, value in options.items()),
                *(["postgresql_not_valid=True"] if definition.endswith(" NOT VALID") else []),
            ]
            yield f"op.create_foreign_key({', '.join(arguments)})"


def _between(found: Detail, expected: Detail) -> list[str]:
    """Return the statements that add what *found* does not have."""
    script = write_repair(expected, found, compare(expected.shape, found.shape))
    if script.by_hand:
        raise ConfigurationError(f"A baseline cannot be written: {first_lines(script.by_hand)}")
    attached = expected.dependencies.attached
    kept = {line for key, item in expected.shape.items() if PRIVATE in attached.get(key, ()) for line in _close(item)}
    return [
        each
        for each in script.statements
        if not each.startswith("--") and (each in kept or not each.startswith("REVOKE ALL ON "))
    ]


def _close(item: Item) -> list[str]:
    is_type = item.key.kind in (Kind.ENUM, Kind.DOMAIN, Kind.COMPOSITE)
    return statements.close(item) if is_type or item.key.kind in ROUTINES else []


def _open(item: Item) -> Item:
    """Return *item* without row security, if it is a table with one for its owner."""
    if item.key.kind is not Kind.TABLE or item["row-level security for its owner"] != "on":
        return item
    values = zip(ASPECTS[Kind.TABLE], item.values, strict=True)
    return replace(item, values=tuple("off" if "security" in aspect else each for aspect, each in values))


def _for_every_schema(item: Item, contents: Contents) -> Item:
    """Return *item* with the path of the revision in place of its schema's, and with the name of its sequence."""
    key = item.key
    if key.kind in ROUTINES:
        signature, body = item.values
        signature = _OWN_PATH.sub(" SET search_path FROM CURRENT", _OWN_NAME.sub(r"\1", signature or ""))
        return replace(item, values=(signature, body))
    if key.kind in (Kind.CHECK, Kind.DOMAIN_CONSTRAINT, Kind.INDEX):
        # PostgreSQL reads its own text of x IN ('a', 'b') as another expression, if x is a varchar.
        return replace(item, values=tuple(each and _COERCED.sub(r"\1 \2 (ARRAY[\3])", each) for each in item.values))
    name = contents.sequences.get((key.table or "", key.name)) if key.kind is Kind.COLUMN else None
    if name is None or name == f"{key.table}_{key.name}_seq":
        return item
    named = f"IDENTITY (SEQUENCE NAME {quote_identifier(name)} "
    values = zip(ASPECTS[Kind.COLUMN], item.values, strict=True)
    return replace(
        item,
        values=tuple(
            each and each.replace("IDENTITY (", named) if aspect == "identity" else each for aspect, each in values
        ),
    )


def _insert(contents: Contents) -> Iterator[str]:
    for table, rows in contents.rows.items():
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            values = ",\n".join(f"({row})" for row in rows[start : start + _ROWS_AT_ONCE])
            yield f"INSERT INTO {table} OVERRIDING SYSTEM VALUE VALUES\n{values}"
    if contents.rows:
        for key, item in sorted(contents.detail.shape.items(), key=lambda each: each[1].position):
            if key.kind is Kind.MATERIALIZED_VIEW and item["state"] == "populated":
                yield f"REFRESH MATERIALIZED VIEW {quote_identifier(key.name)}"
    for sequence, position in contents.positions.items():
        yield f"SELECT setval({sequence}, {position})"
