"""Queries of a tenant's placement: what its rows are."""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult, text

from tenantkit.postgres.formats import FORMATS
from tenantkit.postgres.limits import UNLIMITED, unlimited
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.transfer.manifest import Column, SequenceState, Table

SETTINGS = (
    "SET LOCAL search_path = ''",
    "SET LOCAL client_encoding = 'UTF8'",
    *FORMATS,
    "SET LOCAL synchronize_seqscans = off",
    *UNLIMITED,
)
"""The settings of each transaction that reads or writes COPY text, so that the text of a value is always the same."""

_EXTENSION = (
    "EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')"
)
OWN = f"""relnamespace = to_regnamespace(:schema) AND relname <> 'alembic_version' AND NOT {_EXTENSION}"""
"""The condition of what belongs to a tenant in the schema of the parameter ``schema``."""

_TABLES = text(
    f"""
    SELECT relname::text AS name, relkind::text AS kind, quote_ident(nspname) || '.' AS prefix,
        CASE WHEN relispartition THEN (
            SELECT parent.relname::text FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
            WHERE inhrelid = pg_class.oid
        ) END AS parent,
        pg_get_expr(relpartbound, pg_class.oid) AS bound,
        (SELECT json_agg(json_build_array(attname, format_type(atttypid, atttypmod)) ORDER BY attnum)
            FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ) AS columns
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE {OWN} AND relkind IN ('r', 'p') ORDER BY relname
    """
)
_SEQUENCES = text(
    f"""
    SELECT relname::text AS name, seqincrement AS increment, (
        SELECT json_build_array(owner.relname, attname) FROM pg_depend
        JOIN pg_class AS owner ON owner.oid = refobjid JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
        WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND refclassid = 'pg_class'::regclass
            AND deptype IN ('a', 'i')
    ) AS owner
    FROM pg_class JOIN pg_sequence ON seqrelid = pg_class.oid WHERE {OWN} ORDER BY relname
    """
)
_SET_SEQUENCES = text(
    """
    SELECT setval(to_regclass(name), value, is_called)
    FROM unnest(CAST(:names AS text[]), CAST(:values AS bigint[]), CAST(:called AS boolean[]))
        AS given (name, value, is_called)
    """
)
_FILLED_VIEWS = text(
    f"SELECT relname::text FROM pg_class WHERE {OWN} AND relkind = 'm' AND relispopulated ORDER BY oid"
)
_KEYS = text(
    """
    SELECT source.relname::text AS "table", target.relname::text AS target, spaces.nspname::text AS target_schema,
        ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS part (number, place)
            JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place) AS columns,
        ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS part (number, place)
            JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place) AS target_columns
    FROM pg_constraint
    JOIN pg_class AS source ON source.oid = conrelid
    JOIN pg_class AS target ON target.oid = confrelid
    JOIN pg_namespace AS spaces ON spaces.oid = target.relnamespace
    WHERE contype = 'f' AND conparentid = 0 AND source.relnamespace = to_regnamespace(:schema)
    ORDER BY source.relname, conname
    """
)
_DEFAULTS = text(
    f"""
    SELECT relname::text AS name, pg_get_expr(adbin, adrelid) AS default
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = :column AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE {OWN} AND relkind IN ('r', 'p') ORDER BY relname
    """
)
_COLUMNS = text(
    f"""
    SELECT relname::text AS "table", attname::text AS name, format_type(atttypid, atttypmod) AS type,
        CASE typbasetype WHEN 0 THEN format_type(atttypid, atttypmod) ELSE format_type(typbasetype, typtypmod) END
            AS base
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid JOIN pg_type ON pg_type.oid = atttypid
    WHERE {OWN} AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum
    """
)
_COLUMN_TYPES = text(
    """
    SELECT attname::text AS name, coalesce(nullif(typbasetype, 0), atttypid)::bigint AS type,
        coalesce(attnum = ANY(indkey), false) AS is_key
    FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
    WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
    """
)


@dataclass(frozen=True, slots=True)
class Found:
    """A table in a placement."""

    table: Table
    is_partitioned: bool
    own_types: frozenset[str]
    """The columns whose types are in the tenant's schema."""


@dataclass(frozen=True, slots=True)
class Key:
    """A foreign key."""

    table: str
    columns: tuple[str, ...]
    target_schema: str
    target: str
    target_columns: tuple[str, ...]


def execute(connection: Connection, statement: str) -> CursorResult[Any]:
    """Execute a *statement* without parameters."""
    return connection.exec_driver_sql(statement.replace("%", "%%"))


def pin(connection: Connection) -> None:
    """Give the current transaction the settings for COPY; takes no snapshot."""
    connection.exec_driver_sql("; ".join(dict.fromkeys((*SETTINGS, *unlimited(connection)))))


def unpin(connection: Connection) -> None:
    """Give the rest of the transaction the settings of its session."""
    for setting in SETTINGS:
        name = setting.removeprefix("SET LOCAL ").partition(" ")[0]
        connection.exec_driver_sql(f"SET LOCAL {name} TO DEFAULT")


def read_tables(connection: Connection, schema: str, *, without: str | None = None) -> dict[str, Found]:
    """Return the tables of a schema by name, also partitioned ones and partitions, as the path of `pin` shows types.

    :param without: a column that is left out.
    """
    return {
        row.name: Found(
            Table(
                row.name,
                tuple(Column(name, _bare(type_, row.prefix)) for name, type_ in row.columns or () if name != without),
                row.parent,
                row.bound,
            ),
            row.kind == "p",
            frozenset(name for name, type_ in row.columns or () if type_.startswith(row.prefix)),
        )
        for row in connection.execute(_TABLES, where(schema))
    }


def read_columns(connection: Connection, schema: str) -> Sequence[Any]:
    """Return all columns of a schema, also generated ones: table, name, type, and the type below a domain."""
    return connection.execute(_COLUMNS, where(schema)).all()


def read_column_types(connection: Connection, schema: str, table: str) -> Mapping[str, tuple[int, bool]]:
    """Return the OID of each column's type, for a domain that of its base, and whether it is in the primary key."""
    rows = connection.execute(_COLUMN_TYPES, {"table": qualified(schema, table)})
    return {row.name: (row.type, row.is_key) for row in rows}


def read_sequences(connection: Connection, schema: str) -> Sequence[Any]:
    """Return the sequences of a schema: name, increment, and the table and column that own them."""
    return connection.execute(_SEQUENCES, where(schema)).all()


def read_filled_views(connection: Connection, schema: str) -> list[str]:
    """Return the materialized views that have rows, those first that were created first."""
    return list(connection.execute(_FILLED_VIEWS, where(schema)).scalars())


def read_keys(connection: Connection, schema: str) -> list[Key]:
    """Return the foreign keys of the tables of a schema."""
    return [
        Key(row.table, tuple(row.columns), row.target_schema, row.target, tuple(row.target_columns))
        for row in connection.execute(_KEYS, where(schema))
    ]


def read_defaults(connection: Connection, schema: str, column: str) -> dict[str, str | None]:
    """Return the tables that have a *column* of this name, each with its default."""
    rows = connection.execute(_DEFAULTS, {**where(schema), "column": column})
    return {row.name: row.default for row in rows}


def read_states(connection: Connection, schema: str, names: Iterable[str]) -> list[SequenceState]:
    """Return the states of sequences."""
    queries = [
        f"SELECT {quote_literal(name)} AS name, last_value, is_called FROM {qualified(schema, name)}" for name in names
    ]
    rows = execute(connection, " UNION ALL ".join(queries)) if queries else ()
    return [SequenceState(row.name, row.last_value, row.is_called) for row in rows]


def set_sequences(connection: Connection, schema: str, states: Iterable[SequenceState]) -> None:
    """Give sequences the *states* of others, which a file may say."""
    columns = [(qualified(schema, each.name), each.last_value, each.is_called) for each in states]
    names, values, called = map(list, zip(*columns, strict=True)) if columns else ([], [], [])
    connection.execute(_SET_SEQUENCES, {"names": names, "values": values, "called": called})


def qualified(schema: str, name: str) -> str:
    """Return the quoted name of an object in a schema."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def names(columns: Iterable[str]) -> str:
    """Return quoted names of columns, separated by commas."""
    return ", ".join(map(quote_identifier, columns))


def _bare(type_: str, prefix: str) -> str:
    return type_.removeprefix(prefix)


def where(schema: str) -> dict[str, str]:
    """Return the parameters of queries of a schema."""
    return {"schema": quote_identifier(schema)}
