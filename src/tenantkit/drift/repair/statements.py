"""The statements that create, change and drop one item; names without a schema refer to the tenant's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tenantkit.drift.catalog.shape import BODY, CONSTRAINTS, IN_NEW_ROWS, ROUTINES, VIEWS, Item, Key, Kind, Shape
from tenantkit.postgres.quoting import quote_identifier as quoted
from tenantkit.postgres.quoting import quote_literal as literal

_TRIGGER_STATES = {
    "enabled": "ENABLE TRIGGER",
    "disabled": "DISABLE TRIGGER",
    "enabled on replicas only": "ENABLE REPLICA TRIGGER",
    "enabled always": "ENABLE ALWAYS TRIGGER",
}

_DROP = {
    Kind.ENUM: "DROP TYPE {name}",
    Kind.DOMAIN: "DROP DOMAIN {name}",
    Kind.DOMAIN_CONSTRAINT: "ALTER DOMAIN {table} DROP CONSTRAINT {name}",
    Kind.COMPOSITE: "DROP TYPE {name}",
    Kind.SEQUENCE: "DROP SEQUENCE IF EXISTS {name}",  # it may have been dropped with its column
    Kind.FUNCTION: "DROP FUNCTION {signature}",
    Kind.PROCEDURE: "DROP PROCEDURE {signature}",
    Kind.TABLE: "DROP TABLE {name}",
    Kind.COLUMN: "ALTER TABLE {table} DROP COLUMN {name}",
    **dict.fromkeys(CONSTRAINTS, "ALTER TABLE {table} DROP CONSTRAINT {name}"),
    Kind.INDEX: "DROP INDEX {name}",
    Kind.VIEW: "DROP VIEW {name}",
    Kind.MATERIALIZED_VIEW: "DROP MATERIALIZED VIEW {name}",
    Kind.TRIGGER: "DROP TRIGGER {name} ON {table}",
    Kind.POLICY: "DROP POLICY {name} ON {table}",
}


def create(item: Item, shape: Shape) -> list[str]:
    """Return the statements that create *item*; a table gets its columns from *shape*."""
    return _create_table(item, shape) if item.key.kind is Kind.TABLE else _CREATE[item.key.kind](item)


def drop(item: Item, heirs: Sequence[str] = ()) -> list[str]:
    """Return the statement that drops an item, after a comment on the loss; *heirs* are tables that inherit it."""
    kind, table, name = item.key
    lost = f"{kind} {name}" if table is None else f"{kind} {name} of {table}"
    if kind is Kind.TABLE:
        lost += ", its rows, and all that belongs to it"
    elif kind is Kind.COLUMN:
        also = f", also in {', '.join(sorted(heirs))}" if heirs else ""
        lost += f", its values{also}, and all that belongs to it"
    elif kind in {*VIEWS, *ROUTINES, Kind.SEQUENCE, Kind.DOMAIN, Kind.COMPOSITE, Kind.ENUM}:
        lost += ", and the privileges on it"
    return [remark(f"Lost: {lost}."), remove(item)]


def remove(item: Item) -> str:
    """Return the statement that drops an item."""
    kind, table, name = item.key
    return _DROP[kind].format(name=quoted(name), table=quoted(table or ""), signature=name)


def is_definer(routine: Item) -> bool:
    """Return whether a routine runs with the rights of its owner."""
    return bool(re.search(r"^ LANGUAGE .*\n .*\bSECURITY DEFINER\b", routine["signature"] or "", re.MULTILINE))


def close(item: Item) -> list[str]:
    """Return the statement that revokes the default privileges of PUBLIC on a new routine or type."""
    if item.key.kind in ROUTINES:
        return [f"REVOKE ALL ON {item.key.kind.upper()} {item.key.name} FROM PUBLIC"]
    return [f"REVOKE ALL ON TYPE {quoted(item.key.name)} FROM PUBLIC"]


def remark(text: str) -> str:
    """Return a comment on one line, so that no name in it can end it."""
    return f"-- {' '.join(text.split())}"


def rename(found: Key, expected: Key) -> list[str]:
    """Return the statement that renames a constraint or an index."""
    if found.kind is Kind.INDEX:
        return [f"ALTER INDEX {quoted(found.name)} RENAME TO {quoted(expected.name)}"]
    table = quoted(found.table or "")
    return [f"ALTER TABLE {table} RENAME CONSTRAINT {quoted(found.name)} TO {quoted(expected.name)}"]


def own_sequence(item: Item) -> list[str]:
    """Return the statements that make a column own a new sequence, and set it after the highest number in use."""
    table, column = quoted(item["owning table"] or ""), quoted(item["owning column"] or "")
    owned = f"ALTER SEQUENCE {quoted(item.key.name)} OWNED BY {table}.{column}"
    if "INCREMENT BY -" in (item["options"] or ""):
        return [owned, remark(f"{item.key.name} counts down: set it below the numbers in use.")]
    sequence = literal(quoted(item.key.name))
    return [owned, f"SELECT setval({sequence}, max({column})) FROM {table} HAVING max({column}) IS NOT NULL"]  # noqa: S608 - quoted


def set_replica_identity(table: Item) -> str:
    """Return the statement that sets a table's replica identity."""
    return f"ALTER TABLE {quoted(table.key.name)} REPLICA IDENTITY {table['replica identity']}"


def set_trigger_state(item: Item) -> list[str] | None:
    """Return the statement that enables or disables a trigger; ``None`` if partitions differ."""
    if (state := _TRIGGER_STATES.get(item["state"] or "enabled")) is None:
        return None
    return [f"ALTER TABLE {quoted(item.key.table or '')} {state} {quoted(item.key.name)}"]


def set_default(item: Item) -> str:
    """Return the clause for ``ALTER COLUMN x`` that sets or drops its default."""
    return "DROP DEFAULT" if item["default"] is None else f"SET DEFAULT {item['default']}"


def set_comment(item: Item) -> str:
    """Return the statement that sets an item's comment."""
    kind, table, name = item.key.kind, item.key.table, quoted(item.key.name)
    subject = f"{kind.upper()} {name}" if table is None else f"{kind.upper()} {quoted(table)}.{name}"
    comment = item["comment"]
    return f"COMMENT ON {subject} IS {'NULL' if comment is None else literal(comment)}"


def define_column(item: Item, *, with_null: bool = True) -> str:
    """Return the definition of a column for ``CREATE TABLE``."""
    parts = [quoted(item.key.name), f"{item['type']}{_collated(item)}"]
    if item["generated"]:
        parts.append(f"GENERATED ALWAYS AS {item['generated']}")
    elif item["identity"]:
        parts.append(f"GENERATED {item['identity']}")
    elif item["default"]:
        parts.append(f"DEFAULT {item['default']}")
    if with_null and item["NULL"] == "forbidden":
        parts.append("NOT NULL")
    return " ".join(parts)


def forbid_null_in_new_rows(table: str, column: str) -> str:
    """Return the statement that adds a ``NOT NULL`` without validation, which no definition of a column can be."""
    return f"ALTER TABLE {quoted(table)} ADD NOT NULL {quoted(column)} NOT VALID"


def _create_enum(item: Item) -> list[str]:
    return [f"CREATE TYPE {quoted(item.key.name)} AS ENUM ({', '.join(literal(label or '') for label in item.values)})"]


def _create_domain(item: Item) -> list[str]:
    null = "" if item["NULL"] == "allowed" else " NOT NULL"
    return [f"CREATE DOMAIN {quoted(item.key.name)} AS {item['type']}{_collated(item)}{_defaulting(item)}{null}"]


def _create_composite(item: Item) -> list[str]:
    return [f"CREATE TYPE {quoted(item.key.name)} AS ({item['attributes'] or ''})"]


def _create_sequence(item: Item) -> list[str]:
    return [f"CREATE{_unlogged(item)} SEQUENCE {quoted(item.key.name)} AS {item['type']} {item['options']}"]


def _create_routine(item: Item) -> list[str]:
    return [(item["signature"] or "").replace(BODY, item["body"] or "").rstrip().removesuffix(";")]


def _add_constraint(item: Item) -> list[str]:
    of = "DOMAIN" if item.key.kind is Kind.DOMAIN_CONSTRAINT else "TABLE"
    return [f"ALTER {of} {quoted(item.key.table or '')} ADD CONSTRAINT {quoted(item.key.name)} {item['definition']}"]


def _create_index(item: Item) -> list[str]:
    unique = "UNIQUE " if item["unique"] == "yes" else ""
    return [f"CREATE {unique}INDEX {quoted(item.key.name)} ON {quoted(item.key.table or '')} {item['definition']}"]


def _create_trigger(item: Item) -> list[str]:
    return [item["definition"] or "", *((item["state"] != "enabled" and set_trigger_state(item)) or ())]


def _add_column(item: Item) -> list[str]:
    table, column = item.key.table or "", item.key.name
    must_be_filled = item["NULL"] == "forbidden" and not (item["default"] or item["generated"] or item["identity"])
    statements = [f"ALTER TABLE {quoted(table)} ADD COLUMN {define_column(item, with_null=not must_be_filled)}"]
    if must_be_filled:
        statements += [
            remark(f"If {table} has rows, set {table}.{column} here: it must not be NULL and has no default."),
            f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(column)} SET NOT NULL",
        ]
    if item["NULL"] == IN_NEW_ROWS:
        statements.append(forbid_null_in_new_rows(table, column))
    return statements + ([set_comment(item)] if item["comment"] is not None else [])


def _create_table(item: Item, shape: Shape) -> list[str]:
    name, parents, bound = quoted(item.key.name), item["parent"], item["partition bound"]
    columns = [each for key, each in shape.items() if key.kind is Kind.COLUMN and key.table == item.key.name]
    columns.sort(key=lambda column: column.position)
    statement = f"CREATE{_unlogged(item)} TABLE {name}"
    if bound:
        statement += f" PARTITION OF {parents} {bound}"
    else:
        statement += f" ({', '.join(map(define_column, columns))})"
        if parents:
            statement += f" INHERITS ({parents})"
    if item["partition key"]:
        statement += f" PARTITION BY {item['partition key']}"
    return [
        statement,
        *(set_comment(each) for each in (item, *columns) if each["comment"] is not None),
        *(set_row_security(item) if "on" in item.values else []),
    ]


def set_row_security(item: Item) -> list[str]:
    """Return the statements that turn a table's row-level security on or off."""
    enable = "ENABLE" if item["row-level security"] == "on" else "DISABLE"
    force = "FORCE" if item["row-level security for its owner"] == "on" else "NO FORCE"
    return [
        remark(f"This changes which roles can see which rows of {item.key.name}."),
        *(f"ALTER TABLE {quoted(item.key.name)} {word} ROW LEVEL SECURITY" for word in (enable, force)),
    ]


def _create_view(item: Item) -> list[str]:
    kind, definition = item.key.kind, (item["definition"] or "").strip().removesuffix(";")
    options = f" WITH ({item['options']})" if item["options"] else ""
    no_data = kind is Kind.MATERIALIZED_VIEW and item["state"] == "empty"
    create = "CREATE OR REPLACE VIEW" if kind is Kind.VIEW else "CREATE MATERIALIZED VIEW"
    statement = f"{create} {quoted(item.key.name)}{options} AS\n{definition}"
    return [
        f"{statement} WITH NO DATA" if no_data else statement,
        *([set_comment(item)] if item["comment"] is not None else []),
    ]


def _create_policy(item: Item) -> list[str]:
    using, check = item["USING"], item["WITH CHECK"]
    return [
        remark(f"This changes which roles can see and change which rows of {item.key.table}."),
        f"CREATE POLICY {quoted(item.key.name)} ON {quoted(item.key.table or '')} AS {item['type']} "
        f"FOR {item['command']} TO {item['roles']}"
        + (f" USING ({using})" if using else "")
        + (f" WITH CHECK ({check})" if check else ""),
    ]


def _unlogged(item: Item) -> str:
    return " UNLOGGED" if item["persistence"] == "unlogged" else ""


def _collated(item: Item) -> str:
    return f" COLLATE {item['collation']}" if item["collation"] else ""


def _defaulting(item: Item) -> str:
    return f" DEFAULT {item['default']}" if item["default"] else ""


_CREATE: Mapping[Kind, Callable[[Item], list[str]]] = {
    Kind.ENUM: _create_enum,
    Kind.DOMAIN: _create_domain,
    Kind.DOMAIN_CONSTRAINT: _add_constraint,
    Kind.COMPOSITE: _create_composite,
    Kind.SEQUENCE: _create_sequence,
    Kind.FUNCTION: _create_routine,
    Kind.PROCEDURE: _create_routine,
    Kind.COLUMN: _add_column,
    **dict.fromkeys(CONSTRAINTS, _add_constraint),
    Kind.INDEX: _create_index,
    Kind.VIEW: _create_view,
    Kind.MATERIALIZED_VIEW: _create_view,
    Kind.TRIGGER: _create_trigger,
    Kind.POLICY: _create_policy,
}
