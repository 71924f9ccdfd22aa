"""Comparison of the defaults of columns, for autogenerate."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection

_SCRATCH = "pg_temp.tenantkit_default"
_WRITTEN = """
    SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
    JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    WHERE adrelid = %(table)s::regclass AND attname = %(column)s
"""


def defaults_differ(
    connection: Connection,
    search_path: str,
    inspected: Column[Any],
    declared: Column[Any],
    rendered: str | None,
    inspected_default: str | None,
) -> bool:
    """Return whether the default of a column differs from the declared one; this replaces Alembic's comparison.

    Alembic compares texts, and if they differ, their current values: those of a sequence always differ, and a text
    with a quote in it is an error. This function compares both as PostgreSQL writes them.
    """
    if inspected_default == rendered or (declared.primary_key and declared is declared.table.autoincrement_column):
        return False
    if inspected_default is None or rendered is None:
        return True
    dialect: Any = connection.dialect
    default = dialect.ddl_compiler(dialect, None).get_column_default_string(declared)
    names = [name for name in (inspected.table.schema, inspected.table.name) if name is not None]
    table = ".".join(map(quote_identifier, names))
    change = f"ALTER TABLE {_SCRATCH} ALTER COLUMN {quote_identifier(inspected.name)} SET DEFAULT"
    differ = True
    # An error means that the declared default does not fit this column, whose type may change too.
    with suppress(DBAPIError), connection.begin_nested() as scratch:
        for statement in (
            f"SET LOCAL search_path = {search_path}",
            f"CREATE TEMPORARY TABLE {_SCRATCH.removeprefix('pg_temp.')} (LIKE {table})",
        ):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.exec_driver_sql(f"{change.replace('%', '%%')} {default}")
        written = [
            connection.exec_driver_sql(_WRITTEN, {"table": name, "column": inspected.name}).scalar()
            for name in (table, _SCRATCH)
        ]
        differ = written[0] != written[1]
        scratch.rollback()
    return differ
