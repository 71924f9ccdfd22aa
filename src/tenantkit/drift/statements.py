"""The statements that make, change and drop one item; names without a schema lead to the tenant's."""

from __future__ import annotations

from tenantkit.drift.shape import BODY, CONSTRAINTS, Item, Key, Kind, Shape
from tenantkit.naming import quote_identifier as quoted
from tenantkit.naming import quote_literal as literal

_TRIGGER_STATES = {
    "enabled": "ENABLE TRIGGER",
    "disabled": "DISABLE TRIGGER",
    "enabled on replicas only": "ENABLE REPLICA TRIGGER",
    "enabled always": "ENABLE ALWAYS TRIGGER",
}

_DROPPED_AS = {
    Kind.ENUM: "TYPE",
    Kind.COMPOSITE: "TYPE",
    Kind.DOMAIN: "DOMAIN",
    Kind.TABLE: "TABLE",
    Kind.INDEX: "INDEX",
    Kind.VIEW: "VIEW",
    Kind.MATERIALIZED_VIEW: "MATERIALIZED VIEW",
}


def create(item: Item, shape: Shape) -> list[str]:
    """Return what makes *item*; a table with the columns that *shape* has for it, and without what stands beside them."""
    kind, table, name = item.key.kind, quoted(item.key.table or ""), quoted(item.key.name)
    match kind:
        case Kind.ENUM:
            return [f"CREATE TYPE {name} AS ENUM ({', '.join(literal(label or '') for label in item.values)})"]
        case Kind.DOMAIN:
            null = "" if item["NULL"] == "allowed" else " NOT NULL"
            return [f"CREATE DOMAIN {name} AS {item['type']}{_collated(item)}{_defaulting(item)}{null}"]
        case Kind.DOMAIN_CONSTRAINT:
            return [f"ALTER DOMAIN {table} ADD CONSTRAINT {name} {item['definition']}"]
        case Kind.COMPOSITE:
            return [f"CREATE TYPE {name} AS ({item['attributes'] or ''})"]
        case Kind.SEQUENCE:
            return [f"CREATE{_unlogged(item)} SEQUENCE {name} AS {item['type']} {item['options']}"]
        case Kind.FUNCTION | Kind.PROCEDURE:
            return [(item["signature"] or "").replace(BODY, item["body"] or "").rstrip()]
        case Kind.TABLE:
            return [*_create_table(item, shape)]
        case Kind.COLUMN:
            return _add_column(item)
        case Kind.INDEX:
            unique = "UNIQUE " if item["uniqueness"] == "unique" else ""
            return [f"CREATE {unique}INDEX {name} ON {table} {item['definition']}"]
        case Kind.VIEW | Kind.MATERIALIZED_VIEW:
            return _create_view(item)
        case Kind.TRIGGER:
            return [item["definition"] or "", *([] if item["state"] == "enabled" else set_trigger_state(item))]
        case Kind.POLICY:
            return [_create_policy(item)]
        case _:
            return [f"ALTER TABLE {table} ADD CONSTRAINT {name} {item['definition']}"]


def drop(key: Key) -> list[str]:
    """Return what removes an item, and all that is in it."""
    kind, table, name = key.kind, quoted(key.table or ""), quoted(key.name)
    match kind:
        case Kind.COLUMN:
            return [f"-- The values in {key.table}.{key.name} are lost.", f"ALTER TABLE {table} DROP COLUMN {name}"]
        case Kind.TABLE:
            return [f"-- The rows of {key.name} are lost.", f"DROP TABLE {name}"]
        case Kind.FUNCTION | Kind.PROCEDURE:
            return [f"DROP {kind.upper()} {key.name}"]
        case Kind.SEQUENCE:  # which may have gone with its column
            return [f"DROP SEQUENCE IF EXISTS {name}"]
        case Kind.DOMAIN_CONSTRAINT:
            return [f"ALTER DOMAIN {table} DROP CONSTRAINT {name}"]
        case Kind.TRIGGER | Kind.POLICY:
            return [f"DROP {kind.upper()} {name} ON {table}"]
        case _ if kind in CONSTRAINTS:
            return [f"ALTER TABLE {table} DROP CONSTRAINT {name}"]
        case _:
            return [f"DROP {_DROPPED_AS[kind]} {name}"]


def rename(found: Key, expected: Key) -> list[str]:
    """Return what gives a constraint or an index its name."""
    if found.kind is Kind.INDEX:
        return [f"ALTER INDEX {quoted(found.name)} RENAME TO {quoted(expected.name)}"]
    table = quoted(found.table or "")
    return [f"ALTER TABLE {table} RENAME CONSTRAINT {quoted(found.name)} TO {quoted(expected.name)}"]


def own_sequence(item: Item) -> list[str]:
    """Return what ties a sequence to its column, and lets it go on behind the numbers that are taken."""
    name, table, column = item.key.name, item["owning table"], item["owning column"]
    if table is None or column is None:
        return [f"ALTER SEQUENCE {quoted(name)} OWNED BY NONE"]
    return [
        f"ALTER SEQUENCE {quoted(name)} OWNED BY {quoted(table)}.{quoted(column)}",
        continue_numbers(literal(quoted(name)), table, column),
    ]


def continue_numbers(sequence: str, table: str, column: str) -> str:
    """Return what lets a *sequence*, given as an SQL expression, go on behind the numbers in a column."""
    numbers = f"max({quoted(column)})"
    return f"SELECT setval({sequence}, {numbers}) FROM {quoted(table)} HAVING {numbers} IS NOT NULL"


def set_trigger_state(item: Item) -> list[str]:
    """Return what enables or disables a trigger."""
    state = _TRIGGER_STATES[item["state"] or "enabled"]
    return [f"ALTER TABLE {quoted(item.key.table or '')} {state} {quoted(item.key.name)}"]


def set_comment(item: Item) -> str:
    """Return what puts its comment on an item."""
    kind, table, name = item.key.kind, item.key.table, quoted(item.key.name)
    subject = f"{kind.upper()} {name}" if table is None else f"{kind.upper()} {quoted(table)}.{name}"
    comment = item["comment"]
    return f"COMMENT ON {subject} IS {'NULL' if comment is None else literal(comment)}"


def define_column(item: Item, *, with_null: bool = True) -> str:
    """Return a column as it stands in ``CREATE TABLE``."""
    parts = [quoted(item.key.name), f"{item['type']}{_collated(item)}"]
    if item["generated"]:
        parts.append(f"GENERATED ALWAYS AS {item['generated']}")
    elif item["identity"]:
        parts.append(f"GENERATED {item['identity']}")
    elif item["default"]:
        parts.append(f"DEFAULT {item['default']}")
    if with_null and item["NULL"] != "allowed":
        parts.append("NOT NULL")
    return " ".join(parts)


def _add_column(item: Item) -> list[str]:
    table, column = item.key.table or "", item.key.name
    must_be_filled = item["NULL"] != "allowed" and not (item["default"] or item["generated"] or item["identity"])
    statements = [f"ALTER TABLE {quoted(table)} ADD COLUMN {define_column(item, with_null=not must_be_filled)}"]
    if must_be_filled:
        statements += [
            f"-- If {table} has rows, set {table}.{column} here: it must not be NULL and has no default.",
            f"ALTER TABLE {quoted(table)} ALTER COLUMN {quoted(column)} SET NOT NULL",
        ]
    return statements + ([set_comment(item)] if item["comment"] is not None else [])


def _create_table(item: Item, shape: Shape) -> list[str]:
    name, parents, bound = quoted(item.key.name), item["parents"], item["partition bound"]
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
    """Return what turns a table's row-level security on or off."""
    enable = "ENABLE" if item["row-level security"] == "on" else "DISABLE"
    force = "FORCE" if item["row-level security for its owner"] == "on" else "NO FORCE"
    return [f"ALTER TABLE {quoted(item.key.name)} {word} ROW LEVEL SECURITY" for word in (enable, force)]


def _create_view(item: Item) -> list[str]:
    kind, definition = item.key.kind, (item["definition"] or "").strip().removesuffix(";")
    options = f" WITH ({item['options']})" if item["options"] else ""
    no_data = kind is Kind.MATERIALIZED_VIEW and item["state"] == "not populated"
    statement = f"CREATE {kind.upper()} {quoted(item.key.name)}{options} AS\n{definition}"
    return [
        f"{statement} WITH NO DATA" if no_data else statement,
        *([set_comment(item)] if item["comment"] is not None else []),
    ]


def _create_policy(item: Item) -> str:
    using, check = item["USING"], item["WITH CHECK"]
    return (
        f"CREATE POLICY {quoted(item.key.name)} ON {quoted(item.key.table or '')} AS {item['type']} "
        f"FOR {item['command']} TO {item['roles']}"
        + (f" USING ({using})" if using else "")
        + (f" WITH CHECK ({check})" if check else "")
    )


def _unlogged(item: Item) -> str:
    return " UNLOGGED" if item["persistence"] == "unlogged" else ""


def _collated(item: Item) -> str:
    return f" COLLATE {item['collation']}" if item["collation"] else ""


def _defaulting(item: Item) -> str:
    return f" DEFAULT {item['default']}" if item["default"] else ""
