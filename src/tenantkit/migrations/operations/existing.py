"""Existing constraints and columns, compared with those of the same name that an operation adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.catalog.copies import copy_table, taking_back
from tenantkit.migrations.catalog.queries import own_query
from tenantkit.migrations.operations.steps import quoted_table

if TYPE_CHECKING:
    from alembic.operations import Operations

_COPY, _OTHER = "tenantkit_copy", "tenantkit_copy_of_other"

# Columns by their names, as their numbers differ in a copy; and all properties of the constraint.
_CONSTRAINT = own_query(
    """
    SELECT convalidated AS is_validated, confrelid::regclass::text AS referent,
        confrelid = to_regclass(:referent) AS is_referent,
        pg_get_constraintdef(pg_constraint.oid) AS shown,
        jsonb_build_array(
            contype, pg_get_expr(conbin, conrelid), CASE contype WHEN 'c' THEN connoinherit END,
            confupdtype, confdeltype, confmatchtype, condeferrable, condeferred,
            coalesce(to_jsonb(pg_constraint) ->> 'conenforced', 'true'),
            ARRAY(
                SELECT attname FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
                JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place
            ),
            ARRAY(
                SELECT attname FROM unnest(confkey) WITH ORDINALITY AS key (number, place)
                JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place
            ),
            ARRAY(
                SELECT attname FROM jsonb_array_elements_text(
                    coalesce(nullif(to_jsonb(pg_constraint) -> 'confdelsetcols', 'null'), '[]')
                ) AS number JOIN pg_attribute ON attrelid = conrelid AND attnum = number::int ORDER BY 1
            )
        ) AS definition
    FROM pg_constraint WHERE conrelid = to_regclass(:table) AND conname = :name
    """
)

_COLUMN = own_query(
    """
    SELECT jsonb_build_array(
        format_type(atttypid, atttypmod), attcollation::bigint, attidentity, attgenerated, pg_get_expr(adbin, adrelid)
    ) AS definition,
        concat(
            format_type(atttypid, atttypmod),
            CASE WHEN attcollation NOT IN (0, 100) THEN ' COLLATE ' || attcollation::regcollation END,
            CASE WHEN attidentity <> '' THEN ' GENERATED AS IDENTITY' END,
            CASE attgenerated WHEN '' THEN ' DEFAULT ' ELSE ' GENERATED ALWAYS AS ' END || pg_get_expr(adbin, adrelid)
        ) AS shown
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = to_regclass(:table) AND attname = :name AND NOT attisdropped
    """
)


@dataclass(frozen=True, slots=True)
class Meant:
    """A constraint that an operation adds."""

    name: str
    table: str
    schema: str | None
    add: Callable[[str, str | None, str | None], object]
    """Adds it to a table, which may be a copy: called with the table, its schema and the referred table's copy."""
    referent: tuple[str, str | None] | None = None
    """The table that it refers to, and its schema."""


def find_constraint(operations: Operations, meant: Meant) -> bool | None:
    """Return whether an existing constraint has been validated; ``None`` if it does not exist.

    :raises ConfigurationError: if a different one has its name.
    """
    connection: Connection | None = operations.migration_context.connection
    if connection is None or (table := quoted_table(operations, meant.table, meant.schema)) is None:
        return None
    referent = None if meant.referent is None else quoted_table(operations, *meant.referent)
    there = connection.execute(_CONSTRAINT, {"table": table, "name": meant.name, "referent": referent}).one_or_none()
    if there is None:
        return None
    if referent is None and meant.referent is not None:
        raise ConfigurationError(f"There is no table {meant.referent[0]}, to which {meant.name} is to refer.")
    with taking_back(connection):
        # A check may name its table, so the copy has the same name; a key cannot, and may refer to one of that name.
        own = meant.table if referent is None else _COPY
        including = "INCLUDING INDEXES" if referent == table else ""
        copy = copy_table(connection, table, own, including=including)
        other = own
        if referent is not None and referent != table:
            other = _OTHER
            copy_table(connection, referent, other, including="INCLUDING INDEXES")
        meant.add(own, "pg_temp", other)
        made = connection.execute(_CONSTRAINT, {"table": copy, "name": meant.name, "referent": referent}).one()
    if there.definition != made.definition or (referent is not None and not there.is_referent):
        shown = made.shown.replace(_OTHER, referent or "").replace(_COPY, table).replace("pg_temp.", "")
        raise ConfigurationError(
            f"{meant.table} has a constraint {meant.name} already: {there.shown}. This revision means {shown}. Rename "
            "or drop the existing one, or give the new one another name."
        )
    validated: bool = there.is_validated
    return validated


def require_same_column(operations: Operations, table: str, schema: str | None, column: Column[Any]) -> bool:
    """Return whether a table has the column, with its type and default.

    :raises ConfigurationError: if it has a different one of the same name.
    """
    connection: Connection | None = operations.migration_context.connection
    if connection is None or quoted_table(operations, table, schema) is None:
        return False
    names = {"table": quoted_table(operations, table, schema), "name": column.name}
    there = connection.execute(_COLUMN, names).one_or_none()
    if there is None:
        return False
    with taking_back(connection):
        connection.exec_driver_sql(f"CREATE TEMP TABLE {_COPY} ()")
        add_nullable(operations, _COPY, "pg_temp", column)
        made = connection.execute(_COLUMN, {"table": f"pg_temp.{_COPY}", "name": column.name}).one()
    if there.definition != made.definition:
        raise ConfigurationError(
            f"{table} has a column {column.name} already: {there.shown}. This revision means {made.shown}. Rename or "
            "drop the existing one, or give the new one another name."
        )
    return True


def add_nullable(operations: Operations, table: str, schema: str | None, column: Column[Any]) -> None:
    """Add a column without NOT NULL, and set its default for new rows."""
    default: Any = column.server_default
    nullable: Column[Any] = Column(column.name, column.type, comment=column.comment)
    operations.add_column(table, nullable, schema=schema, if_not_exists=operations.migration_context.as_sql)
    if default is not None:
        operations.alter_column(table, column.name, server_default=default.arg, schema=schema)
