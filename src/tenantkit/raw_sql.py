"""Textual SQL in tenant sessions.

SQLAlchemy translates the schema of declared tables only; the names inside a
piece of text are looked up by PostgreSQL, along ``search_path``. So the path is
set for the transaction before the first such statement, and ORM and Core code,
which names every table in full, does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import ColumnClause, Connection, Engine, TableClause, TextClause, event
from sqlalchemy.schema import ExecutableDDLElement, Table
from sqlalchemy.sql import visitors

from tenantkit.exceptions import RawSQLForbiddenError
from tenantkit.naming import quote_literal

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Compiled, DBAPICursor, ExecutionContext
    from sqlalchemy.sql.visitors import ExternallyTraversible

    from tenantkit.binding import Binding

_path_is_set: WeakSet[Connection] = WeakSet()
"""The connections whose current transaction has the search_path of its tenant."""

_textual: WeakKeyDictionary[Compiled, bool] = WeakKeyDictionary()
"""What `is_textual` found for each entry of SQLAlchemy's cache of compiled statements."""


def tenant_engine(engine: Engine) -> Engine:
    """Return an engine for tenant sessions: the same pool and caches, and listeners of its own.

    Nothing is attached to *engine* itself, so other code that uses it stays as it was.
    """
    ours = engine.execution_options()
    event.listen(ours, "before_cursor_execute", _before_cursor_execute, retval=True)
    for ending in ("commit", "rollback", "rollback_savepoint"):
        # A setting made inside a savepoint is undone with it, so rolling one back forgets the path too.
        event.listen(ours, ending, _forget_path)
    return ours


def on_begin(connection: Connection) -> None:
    """Prepare a transaction that has just begun on *connection*."""
    binding: Binding = connection.get_execution_options()["tenantkit_binding"]
    if binding.raw_sql == "always" and connection not in _path_is_set:
        _set_path(connection, binding)


def is_textual(statement: ExternallyTraversible) -> bool:
    """Return whether PostgreSQL will look up a name in *statement* along search_path.

    That is so for text and literal columns, for a lightweight ``table()``
    without a schema, and for DDL, whose defaults and checks are text.
    """
    return isinstance(statement, ExecutableDDLElement) or any(map(_is_textual_element, visitors.iterate(statement)))


def _is_textual_element(element: ExternallyTraversible) -> bool:
    match element:
        case TextClause():
            return True
        case ColumnClause():
            return element.is_literal
        case TableClause():
            return element.schema is None and not isinstance(element, Table)
        case _:
            return False


def _before_cursor_execute(
    connection: Connection,
    _cursor: DBAPICursor,
    statement: str,
    parameters: Any,
    context: ExecutionContext | None,
    _executemany: bool,  # noqa: FBT001 - SQLAlchemy passes it by position
) -> tuple[str, Any]:
    compiled = context.compiled if context is not None else None
    if compiled is not None and not _compiled_is_textual(compiled):
        return statement, parameters
    binding: Binding | None = connection.get_execution_options().get("tenantkit_binding")
    if binding is None:
        return statement, parameters
    if binding.raw_sql == "forbid":
        raise RawSQLForbiddenError(binding.tenant.key)
    if connection not in _path_is_set:
        _set_path(connection, binding)
    # A prepared statement keeps the tables and types it was prepared with, and drivers find it by its text:
    # the comment keeps one tenant's from serving another (asyncpg raises InvalidCachedStatementError).
    return f"/* tenant {binding.tenant.id} */ {statement}", parameters


def _compiled_is_textual(compiled: Compiled) -> bool:
    known = _textual.get(compiled)
    if known is None:
        known = _textual[compiled] = compiled.statement is None or is_textual(compiled.statement)
    return known


def _set_path(connection: Connection, binding: Binding) -> None:
    # On the driver's cursor: through the connection, the statement would come back to the listener.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT set_config('search_path', {quote_literal(binding.search_path)}, true)")  # noqa: S608 - quoted
    finally:
        cursor.close()
    _path_is_set.add(connection)


def _forget_path(connection: Connection, *_: object) -> None:
    _path_is_set.discard(connection)
