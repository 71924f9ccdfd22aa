"""Names and values in SQL."""

from __future__ import annotations

from functools import lru_cache


def quote_identifier(name: str) -> str:
    """Return *name* as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """Return *value* as an SQL string literal, for statements that take no parameters."""
    return "'" + value.replace("'", "''") + "'"


def quote_setting(name: str) -> str:
    """Return the *name* of a setting, which has two parts if it is no setting of PostgreSQL's own."""
    return ".".join(map(quote_identifier, name.split(".")))


@lru_cache(maxsize=2_000)
def search_path(schema: str, *others: str) -> str:
    """Return the value of a ``search_path`` that reaches *schema*, then *others*.

    ``pg_temp`` is named last: unnamed, PostgreSQL looks there first, and a
    temporary table left on a pooled connection would hide a tenant's own.
    """
    return ", ".join([*map(quote_identifier, (schema, *others)), "pg_temp"])
