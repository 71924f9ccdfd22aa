"""The objects of a schema that may be moved to another: which belong to a tenant's tables, and which stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from tenantkit.drift.catalog.dependencies import Detail, Node
from tenantkit.drift.catalog.reader import detail_of
from tenantkit.drift.catalog.shape import Key, Kind, parents
from tenantkit.postgres.quoting import search_path

VERSION_TABLE = "alembic_version"

# Functions come before the types in their signatures, by which they are called. What belongs to a table or a type moves
# with it: indexes, the sequences of columns, the types of rows and of arrays. But the functions and the multirange that
# come with a range do not: in the graph, they are the range.
_OBJECTS = text(
    """
    WITH found (class, oid) AS (
        SELECT 'pg_class'::regclass, oid FROM pg_class
        WHERE relnamespace = to_regnamespace(:quoted) AND relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
        UNION ALL SELECT 'pg_proc', oid FROM pg_proc WHERE pronamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_type', pg_type.oid FROM pg_type LEFT JOIN pg_class ON pg_class.oid = typrelid
        WHERE typnamespace = to_regnamespace(:quoted) AND coalesce(relkind, 'c') = 'c'
            AND NOT EXISTS (SELECT FROM pg_type AS element WHERE element.typarray = pg_type.oid)
        UNION ALL SELECT 'pg_operator', oid FROM pg_operator WHERE oprnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_opclass', oid FROM pg_opclass WHERE opcnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_opfamily', oid FROM pg_opfamily WHERE opfnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_collation', oid FROM pg_collation WHERE collnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_conversion', oid FROM pg_conversion WHERE connamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_ts_config', oid FROM pg_ts_config WHERE cfgnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_ts_dict', oid FROM pg_ts_dict WHERE dictnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_ts_parser', oid FROM pg_ts_parser WHERE prsnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_ts_template', oid FROM pg_ts_template WHERE tmplnamespace = to_regnamespace(:quoted)
        UNION ALL SELECT 'pg_statistic_ext', oid FROM pg_statistic_ext WHERE stxnamespace = to_regnamespace(:quoted)
    )
    SELECT type, identity, coalesce(
        (
            SELECT pg_describe_object(refclassid, refobjid, 0) FROM pg_depend
            WHERE classid = class AND objid = found.oid AND deptype = 'i'
        ), pg_describe_object(class, found.oid, 0)) AS description,
        coalesce(relname, typname::text, quote_ident(proname) || '(' || oidvectortypes(proargtypes) || ')',
            object.name) AS name,
        CASE WHEN class IN ('pg_proc'::regclass, 'pg_operator'::regclass) THEN 0 ELSE 1 END AS rank,
        coalesce(relname, typname, proname) AS plain, relkind IN ('r', 'p', 'f') AS is_table
    FROM found
    CROSS JOIN LATERAL pg_identify_object(class, found.oid, 0) AS object
    LEFT JOIN pg_class ON class = 'pg_class'::regclass AND pg_class.oid = found.oid
    LEFT JOIN pg_type ON class = 'pg_type'::regclass AND pg_type.oid = found.oid
    LEFT JOIN pg_proc ON class = 'pg_proc'::regclass AND pg_proc.oid = found.oid
    WHERE NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = class AND objid = found.oid
            AND (deptype = 'e' OR (deptype IN ('a', 'i') AND relkind = 'S'))
    )
    ORDER BY rank, type, identity
    """
)
_TYPES: Mapping[str, Kind] = {
    "table": Kind.TABLE,
    "view": Kind.VIEW,
    "materialized view": Kind.MATERIALIZED_VIEW,
    "sequence": Kind.SEQUENCE,
    "function": Kind.FUNCTION,
    "procedure": Kind.PROCEDURE,
}
_WORDS = {"type": "TYPE", "domain": "DOMAIN", "statistics object": "STATISTICS"}
"""PostgreSQL's word for a kind of object in ``ALTER``, where it is not the same as in a description."""


@dataclass(frozen=True, slots=True)
class Movable:
    """One object of a schema."""

    type: str
    """Its kind, in PostgreSQL's words."""
    identity: str
    """Its name with the schema, as SQL."""
    name: str
    """Its name without the schema and without a signature."""
    node: Node
    """Its node in the graph of dependencies."""
    is_table: bool

    def move_to(self, schema: str) -> str:
        """Return the statement that moves it to *schema*, a quoted name."""
        return f"ALTER {_WORDS.get(self.type, self.type.upper())} {self.identity} SET SCHEMA {schema}"


@dataclass(frozen=True, slots=True)
class Division:
    """The objects of a schema, divided into those that move and those that stay."""

    moving: tuple[Movable, ...]
    staying: tuple[Movable, ...]
    unknown: tuple[str, ...]
    """The names of tables that are neither the tenants' nor shared."""
    needed: tuple[str, ...]
    """Descriptions of what stays, and needs a table that moves."""


def read_objects(connection: Connection, schema: str) -> tuple[list[Movable], Detail]:
    """Return the objects of *schema* that are no parts of others, without members of extensions, and its detail."""
    detail = detail_of(connection, schema)
    quoted = search_path(schema).removesuffix(", pg_temp")
    connection.exec_driver_sql(f"SET LOCAL search_path = pg_catalog, {quoted}, pg_temp".replace("%", "%%"))
    rows = connection.execute(_OBJECTS, {"quoted": quoted}).all()
    return [
        Movable(row.type, row.identity, row.plain or row.name, _node(detail, row), bool(row.is_table)) for row in rows
    ], detail


def _node(detail: Detail, row: Row[Any]) -> Node:
    wanted = [_TYPES[row.type]] if row.type in _TYPES else [Kind.ENUM, Kind.DOMAIN, Kind.COMPOSITE]
    keys = (Key(kind, None, row.name) for kind in wanted)
    return next((key for key in keys if key in detail.shape), row.description)


def divide(
    objects: Collection[Movable],
    detail: Detail,
    tenant: Collection[str],
    shared: Collection[str],
    *,
    leave_others: bool,
) -> Division:
    """Divide the *objects* of a schema.

    All but the *shared* tables and what these need move. With *leave_others*, tables that are not the *tenant*'s stay,
    too, and of the rest only what the tenant's tables need moves, and views of nothing else.
    """
    roots = {each.name: _root(each.name, detail) for each in objects if each.is_table}
    tables = [each for each in objects if each.is_table and each.name != VERSION_TABLE]
    unknown = [each for each in tables if roots[each.name] not in {*tenant, *shared}]
    needs = _graph(objects, detail)
    own = {each.node for each in tables if roots[each.name] in tenant}
    others = {each.node for each in tables if roots[each.name] in shared} | {
        each.node for each in unknown if leave_others
    }
    if leave_others:
        moved = _closure(own, needs) - others
        views = {each.node for each in objects if each.type in {"view", "materialized view"}}
        while more := {each for each in views - moved if needs.get(each) and needs[each] <= moved}:
            moved |= more
    else:
        moved = {each.node for each in objects} - (_closure(others, needs) - own)
    moved -= others
    staying = tuple(each for each in objects if each.node not in moved and each.name != VERSION_TABLE)
    return Division(
        moving=tuple(each for each in objects if each.node in moved and each.name != VERSION_TABLE),
        staying=staying,
        unknown=tuple(sorted(each.name for each in unknown)),
        needed=tuple(
            f"the {each.type} {each.name} stays, and needs {', '.join(sorted(map(_name, found)))}, which would move"
            for each in staying
            if (found := needs.get(each.node, set()) & moved)
        ),
    )


def _name(node: Node) -> str:
    return node if isinstance(node, str) else f"the {node.kind} {node.name}"


def _root(table: str, detail: Detail) -> str:
    """Return the name of the table of which *table* is a partition, however deep, or its own."""
    item = detail.shape.get(Key(Kind.TABLE, None, table))
    while item is not None and item["partition bound"] is not None and parents(item):
        table = parents(item)[0]
        item = detail.shape.get(Key(Kind.TABLE, None, table))
    return table


def _graph(objects: Iterable[Movable], detail: Detail) -> dict[Node, set[Node]]:
    """Return what each object needs; parts, such as columns and triggers, count as their tables."""
    known = {each.node for each in objects}

    def whole(node: Node) -> Node | None:
        if isinstance(node, Key) and node.kind is Kind.SEQUENCE and node not in known:
            table = detail.shape[node]["owning table"] if node in detail.shape else None
            return None if table is None else Key(Kind.TABLE, None, table)
        if isinstance(node, Key) and node.table is not None:
            kinds = (Kind.TABLE, Kind.VIEW, Kind.MATERIALIZED_VIEW, Kind.DOMAIN)
            return next((key for kind in kinds if (key := Key(kind, None, node.table)) in known), None)
        return node if node in known else None

    found: dict[Node, set[Node]] = {}
    pairs: list[tuple[Node, Node]] = [(node, need) for node, each in detail.dependencies.needs.items() for need in each]
    pairs += [(user, node) for node, users in detail.dependencies.uses.items() for user in users]
    for user, need in pairs:
        owner, needed = whole(user), whole(need)
        if owner is not None and needed is not None and owner != needed:
            found.setdefault(owner, set()).add(needed)
    return found


def _closure(nodes: Iterable[Node], needs: Mapping[Node, set[Node]]) -> set[Node]:
    seen: set[Node] = set()
    waiting = [*nodes]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += needs.get(node, ())
    return seen
