"""The table of a backfill: its columns, and a check that all of its rows can be read and set."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, TableClause, inspect, literal, table
from sqlalchemy.exc import SAWarning
from sqlalchemy.types import JSON, NullType, TypeEngine

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.fence import TRIGGER
from tenantkit.migrations.catalog.queries import own_query
from tenantkit.migrations.operations.updates import RowsUpdate, Where, is_expression, tables_in, with_columns
from tenantkit.naming import first_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PARTS = """
    WITH RECURSIVE part AS (
        SELECT CAST(:oid AS oid) AS oid UNION SELECT inhrelid FROM pg_inherits JOIN part ON inhparent = part.oid
    )
"""

_OID = own_query("SELECT to_regclass(concat_ws('.', quote_ident(:schema), quote_ident(:name)))::oid")

_TABLE = own_query(
    rf"""
    {_PARTS}
    SELECT pg_class.oid, nspname, relname, relkind, current_user AS role,
        row_security_active(pg_class.oid) AS hides_rows,
        EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid AND ev_type = '2') AS has_rule,
        EXISTS (SELECT FROM part JOIN pg_class each USING (oid) WHERE each.relkind = 'f') AS has_foreign_part,
        ARRAY(
            SELECT DISTINCT tgname::text FROM part JOIN pg_trigger ON tgrelid = part.oid
            WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 16 <> 0 AND tgname <> '{TRIGGER}'
            ORDER BY 1
        ) AS triggers,
        ARRAY(
            SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
            WHERE indrelid = pg_class.oid AND indisprimary ORDER BY array_position(indkey::int2[], attnum)
        ) AS key
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = :oid
    """  # noqa: S608 - ours
)
"""The properties of a table; 16 is the bit for UPDATE (src/include/catalog/pg_trigger.h)."""

_PAGES = own_query(
    rf"""
    {_PARTS}
    SELECT coalesce(max(pg_relation_size(oid)) / current_setting('block_size')::int, 0), count(*) FROM part
    """  # noqa: S608 - ours
)
"""The number of pages of the largest part, as each part counts them from 0; and the number of parts."""

_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "c": "a type",
    "i": "an index",
    "I": "an index",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A table in the database."""

    oid: int
    schema: str
    name: str
    triggers: Sequence[str]
    """The triggers that fire when it, or a partition of it, is updated."""
    key: Sequence[str]
    """The columns of its primary key."""

    def pages(self, connection: Connection) -> tuple[int, int]:
        """Return the number of pages of its largest part, and the number of parts."""
        pages, parts = connection.execute(_PAGES, {"oid": self.oid}).one()
        return int(pages), int(parts)

    def columns(self, connection: Connection) -> Mapping[str, TypeEngine[Any]]:
        """Return the types of its columns."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # for types unknown to SQLAlchemy, such as an extension's
            return {each["name"]: each["type"] for each in inspect(connection).get_columns(self.name, self.schema)}


def find_target(connection: Connection, name: str, schema: str | None) -> Target | None:
    """Return the table, if all of its rows can be read and set; ``None`` without a database (lint).

    :raises ConfigurationError: if there is no such table, or some of its rows would be left out.
    """
    found = connection.execute(_OID, {"schema": schema, "name": name}).one_or_none()
    if found is None:
        return None
    if found[0] is None:
        raise ConfigurationError(
            f"There is no table {name} in the schema. Write its name and schema= as PostgreSQL does."
        )
    row = connection.execute(_TABLE, {"oid": found[0]}).one()
    if (why := _obstacle(row)) is not None:
        raise ConfigurationError(f"The rows of {row.nspname}.{row.relname} cannot be set in batches: {why}")
    return Target(row.oid, row.nspname, row.relname, row.triggers, row.key)


def _obstacle(row: Row[Any]) -> str | None:
    if row.relkind not in {"r", "p"}:
        return f"it is {_KINDS.get(row.relkind, 'no table')}. Name the table that has the rows."
    if row.has_foreign_part:
        return "a partition of it is a foreign table. Name the other partitions, one by one."
    if row.hides_rows:
        return (
            f"row-level security applies to the role {row.role}, so it may not see all rows. Migrate with a role that "
            "has BYPASSRLS; or, as the owner, execute ALTER TABLE ... NO FORCE ROW LEVEL SECURITY before it, and FORCE "
            "after it."
        )
    if row.has_rule:
        return "a rule rewrites its updates. Drop the rule before, and create it again after."
    return None


def make_update(
    name: str,
    schema: str | None,
    where: Where,
    values: Mapping[str, Any],
    *,
    given: TableClause | None,
    keys: Sequence[Any],
    target: Target | None = None,
    connection: Connection | None = None,
    real: Callable[[str | None], str | None] = lambda schema: schema,
) -> RowsUpdate:
    """Return the update, as by ``sa.update()``, of the table object that the expressions refer to.

    A subquery that refers to the table by another object would not be correlated, but read all rows.

    :param given: the table, if it was given as an object.
    :param keys: the keys of *values* as they were given.
    :raises ConfigurationError: if the expressions are ambiguous or set unknown columns.
    """

    def is_meant(other: TableClause) -> bool:
        if other.name != name:
            return False
        if other.schema == schema or target is None or connection is None:
            return other.schema == schema or None in {other.schema, schema}
        names = {"schema": real(other.schema), "name": name}
        return bool(connection.execute(_OID, names).scalar() == target.oid)

    types: Mapping[str, TypeEngine[Any]] = {}
    if target is not None and connection is not None:
        types = target.columns(connection)
    meant = [given] if given is not None else _distinct(filter(is_meant, tables_in(where, *values.values())))
    if len(meant) > 1:
        raise ConfigurationError(
            f"values= and where= refer to {name} by {len(meant)} different table objects, so it is not clear which "
            "subqueries read the row that is set. Use one object for that row, an alias() of it for other rows, and "
            "pass it in place of the table's name."
        )
    of_keys = _distinct(filter(is_meant, tables_in(*keys)))
    known = meant or of_keys[:1]
    declared = {*types, *(known[0].c.keys() if known else ())}
    if types and (missing := values.keys() - declared):
        raise ConfigurationError(f"values= sets {first_lines(missing)}, a column that the table {name} does not have.")
    it = known[0] if known else table(name, schema=schema)
    it = with_columns(it, {each: types.get(each, NullType()) for each in values if each not in it.c})
    return RowsUpdate(it, where, {each: _typed(each, value, it, types) for each, value in values.items()})


def _distinct(tables: Iterable[TableClause]) -> list[TableClause]:
    return list(dict.fromkeys(tables))


def _typed(name: str, value: Any, of: TableClause, types: Mapping[str, TypeEngine[Any]]) -> Any:
    """Return a plain value with the type of its column in the database, if the table object has no type for it."""
    type_ = of.c[name].type
    known = types.get(name, type_)
    if is_expression(value):
        return value
    if value is None and isinstance(known, JSON) and (type_ is known or isinstance(type_, NullType)):
        raise ConfigurationError(
            f"{name} is JSON, where None may be JSON's null or SQL's. Write sa.JSON.NULL or sa.null()."
        )
    return literal(value, known) if isinstance(type_, NullType) else value
