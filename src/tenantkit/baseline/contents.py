"""The contents of one schema: its objects, its rows and the positions of its sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from tenantkit.baseline.extras import read_extras
from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.reader import detail_of
from tenantkit.drift.catalog.shape import unquoted
from tenantkit.postgres.formats import FORMATS
from tenantkit.postgres.quoting import quote_identifier

_TABLES = text(
    """
    SELECT relname, relforcerowsecurity AS is_forced,
        array_agg(format('quote_nullable(%I::text)', attname) ORDER BY attnum) AS values,
        string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = CAST(:schema AS regnamespace) AND relkind = 'r' AND relname <> 'alembic_version'
        AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    GROUP BY pg_class.oid, relname ORDER BY pg_class.oid
    """
)
# The sequence of an identity column may have any name, so it is called by its column.
_SEQUENCES = text(
    """
    SELECT relname, seqstart, refobjid::regclass::text AS owner, attname AS column, deptype = 'i' AS is_identity,
        coalesce(
        'pg_get_serial_sequence(' || quote_literal(refobjid::regclass::text) || ', '
            || quote_literal(attname) || ')',
        quote_literal(quote_ident(relname)) || '::regclass'
    ) AS called
    FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid
    LEFT JOIN (pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid)
        ON classid = 'pg_class'::regclass AND objid = seqrelid AND refclassid = 'pg_class'::regclass
        AND deptype IN ('a', 'i')
    WHERE relnamespace = CAST(:schema AS regnamespace) ORDER BY 3
    """
)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a new tenant's schema has."""

    detail: Detail
    extras: tuple[str, ...]
    """The statements for its comments, storage and statistics."""
    rows: Mapping[str, tuple[str, ...]]
    """The rows of each table that has some, as SQL; the key is the table with its columns, as SQL."""
    sequences: Mapping[tuple[str, str], str]
    """The names of the sequences of identity columns; the key is the table and the column."""
    positions: Mapping[str, str]
    """The position of each sequence that is not at its start, as arguments of ``setval``; the key is its call."""


def read_contents(connection: Connection, schema: str, *, with_rows: bool = True) -> Contents:
    """Return the contents of *schema*, as the current transaction sees them; optionally without what rows decide.

    With rows, the transaction is to be rolled back.

    :raises DBAPIError: if policies hide rows from the login.
    """
    connection.exec_driver_sql("; ".join(FORMATS))
    detail = detail_of(connection, schema)
    extras = read_extras(connection, schema)
    rows: dict[str, tuple[str, ...]] = {}
    if with_rows:
        connection.exec_driver_sql("SET LOCAL row_security = off; SET CONSTRAINTS ALL IMMEDIATE")
    for table in connection.execute(_TABLES, {"schema": quote_identifier(schema)}).all() if with_rows else ():
        name = quote_identifier(table.relname)
        if table.is_forced:  # policies would hide rows from the owner, too; it is rolled back
            connection.exec_driver_sql(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY".replace("%", "%%"))
        query = f"SELECT concat_ws(', ', {', '.join(table.values)}) FROM ONLY {name} ORDER BY ctid"  # noqa: S608 - quoted
        if found := connection.exec_driver_sql(query.replace("%", "%%")).scalars().all():
            rows[f"{name} ({table.columns})"] = tuple(found)
    names: dict[tuple[str, str], str] = {}
    positions: dict[str, str] = {}
    for sequence in connection.execute(_SEQUENCES, {"schema": quote_identifier(schema)}).all():
        query = f"SELECT last_value, is_called FROM {quote_identifier(sequence.relname)}"  # noqa: S608 - quoted
        last, is_called = connection.exec_driver_sql(query.replace("%", "%%")).one()
        if with_rows and (is_called or last != sequence.seqstart):
            positions[sequence.called] = f"{last}, {str(is_called).lower()}"
        if sequence.is_identity:
            names[unquoted(sequence.owner), sequence.column] = sequence.relname
    return Contents(detail, extras, rows, names, positions)
