"""A driver without a database: statements are accepted, and queries find no rows.

Revisions run as on an empty schema, with SQLAlchemy's real connections, inspectors and sessions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, event, make_url
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.pool import StaticPool

from tenantkit.lint.rendering.answers import answer
from tenantkit.lint.rendering.outside import attempt
from tenantkit.sessions.transactions import INTERNAL


class _Cursor:
    """A cursor of Python's DB-API."""

    arraysize = 1
    rowcount = 0
    description: tuple[tuple[Any, ...], ...] | None = None
    rows: Sequence[tuple[Any, ...]] = ()

    def execute(self, _statement: str, _parameters: object = None) -> None:
        """Accept a statement from SQLAlchemy, whose events record it."""
        caller = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001 - there is no public way to the caller
        if not caller.startswith("sqlalchemy."):
            attempt("uses the driver's cursor")

    executemany = execute

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row."""
        row, self.rows = next(iter(self.rows), None), self.rows[1:]
        return row

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        return self.fetchmany(len(self.rows))

    def fetchmany(self, size: int = arraysize) -> list[Any]:
        """Return the next rows."""
        rows, self.rows = self.rows[:size], self.rows[size:]
        return [*rows]

    def close(self) -> None:
        """Do nothing."""


class _Connection:
    """A connection of Python's DB-API."""

    cursor = _Cursor

    def commit(self) -> None:
        """Do nothing."""

    rollback = close = commit


class _Dialect(PGDialect):
    """PostgreSQL, with parameters as ``$1``, which is the server's own form."""

    driver = "nothing"
    supports_statement_cache = True
    supports_sane_rowcount = supports_sane_multi_rowcount = False
    server_version_info = (18, 0)


def nowhere() -> Engine:
    """Return an engine without a database."""
    driver = SimpleNamespace(Error=NotImplementedError)  # it is never raised
    dialect = _Dialect(dbapi=driver, paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    engine = Engine(StaticPool(_Connection, dialect=dialect), dialect, make_url("postgresql://"))  # type: ignore[arg-type]
    event.listen(engine, "before_cursor_execute", _describe)
    return engine


def _describe(
    _connection: object, cursor: _Cursor, statement: str, _parameters: object, context: Any, *_: object
) -> None:
    """Give the result the columns of the statement, and the rows that it always has."""
    compiled = context.compiled
    columns = getattr(compiled, "_result_columns", None) or ()
    names, rows = answer(statement, [column.type for column in columns])
    # tenantkit's own queries read the catalog, and their callers expect that there may be no database.
    cursor.rows = () if INTERNAL in context.execution_options else rows
    if columns or getattr(compiled, "isinsert", False) or getattr(compiled, "isupdate", False):
        names = [column.keyname for column in columns]
    cursor.description = tuple((name, None, None, None, None, None, None) for name in names) or None
