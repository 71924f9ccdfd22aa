"""A database that is not there: statements are taken, and every query finds nothing.

So revisions run as they would on an empty schema, with SQLAlchemy's real connections, inspectors and sessions.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, event, make_url
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.pool import StaticPool


class _Cursor:
    """A cursor as Python's DB-API wants it."""

    arraysize = 1
    rowcount = 0
    description: tuple[tuple[Any, ...], ...] | None = None

    def execute(self, statement: str, parameters: object = None) -> None:
        """Take a statement."""

    executemany = execute

    def fetchone(self) -> None:
        """Find nothing."""

    def fetchall(self) -> list[Any]:
        """Find nothing."""
        return []

    def fetchmany(self, _size: int | None = None) -> list[Any]:
        """Find nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""


class _Connection:
    """A connection as Python's DB-API wants it."""

    cursor = _Cursor

    def commit(self) -> None:
        """Do nothing."""

    rollback = close = commit


class _Dialect(PGDialect):
    """PostgreSQL, with parameters as ``$1``: the form that the server itself knows."""

    driver = "nothing"
    supports_statement_cache = True
    server_version_info = (18, 0)


def nowhere() -> Engine:
    """Return an engine of a database that is not there."""
    driver = SimpleNamespace(Error=NotImplementedError)  # which it never raises
    dialect = _Dialect(dbapi=driver, paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    engine = Engine(StaticPool(_Connection, dialect=dialect), dialect, make_url("postgresql://"))  # type: ignore[arg-type]
    event.listen(engine, "before_cursor_execute", _describe)
    return engine


def _describe(
    _connection: object, cursor: _Cursor, _statement: str, _parameters: object, context: Any, *_: object
) -> None:
    """Give the result, which has no rows, the columns that the statement asks for."""
    compiled = context.compiled
    asked = getattr(compiled.statement, "exported_columns", None) if compiled is not None else None
    names = [str(column.key) for column in asked] if asked is not None else ["column"]
    cursor.description = tuple((name, None, None, None, None, None, None) for name in names) or None
