"""Textual SQL in tenant sessions.

SQLAlchemy translates the schema of declared tables only; the names inside a
piece of text are looked up by PostgreSQL, along ``search_path``. So the path is
set for the transaction before the first such statement, and ORM and Core code,
which names every table in full, does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import ColumnClause, Connection, Engine, TableClause, TextClause, Transaction, event
from sqlalchemy.schema import ExecutableDDLElement, Table
from sqlalchemy.sql import visitors

from tenantkit.exceptions import RawSQLForbiddenError
from tenantkit.naming import quote_literal

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
    from sqlalchemy.sql.compiler import Compiled
    from sqlalchemy.sql.visitors import ExternallyTraversible

    from tenantkit.binding import Binding

_path_is_set: WeakSet[Transaction] = WeakSet()
"""The transactions, or savepoints, in which the search_path of the tenant was set.

Not the connections: what is set inside a savepoint is undone when it is rolled back.
"""

_textual: WeakKeyDictionary[Compiled, bool] = WeakKeyDictionary()
"""What `is_textual` found for each entry of SQLAlchemy's cache of compiled statements."""


def set_path_for_text(engine: Engine) -> None:
    """Have textual statements on *engine* find the tables of the tenant whose session sends them.

    Statements that no tenant session sends stay as they were. The listeners hang on the
    dialect's hooks, which SQLAlchemy calls only where a statement goes to the driver: a listener for
    any event of connections makes SQLAlchemy dispatch them all, a tenth of a short request.
    """
    event.listen(engine, "do_execute", _execute, insert=True)
    event.listen(engine, "do_executemany", _executemany, insert=True)
    event.listen(engine, "do_execute_no_params", _execute_no_params, insert=True)


def on_begin(connection: Connection) -> None:
    """Prepare a transaction that has just begun on *connection*."""
    binding: Binding = connection.get_execution_options()["tenantkit_binding"]
    if binding.raw_sql == "always":
        _require_path(connection, binding)


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


def _execute(cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    marked = _prepare(statement, context)
    if marked is None:
        return False
    context.dialect.do_execute(cursor, marked, parameters, context)
    return True


def _executemany(cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    marked = _prepare(statement, context)
    if marked is None:
        return False
    context.dialect.do_executemany(cursor, marked, parameters, context)
    return True


def _execute_no_params(cursor: DBAPICursor, statement: str, context: ExecutionContext) -> bool:
    marked = _prepare(statement, context)
    if marked is None:
        return False
    context.dialect.do_execute_no_params(cursor, marked, context)
    return True


def _prepare(statement: str, context: ExecutionContext) -> str | None:
    """Return what to send instead of *statement*, with the path set; ``None`` if it can go as it is."""
    binding: Binding | None = context.execution_options.get("tenantkit_binding")
    if binding is None or (context.compiled is not None and not _compiled_is_textual(context.compiled)):
        return None
    if binding.raw_sql == "forbid":
        raise RawSQLForbiddenError(binding.tenant.key)
    _require_path(context.root_connection, binding)
    # A prepared statement keeps the tables and types it was prepared with, and drivers find it by its text:
    # the comment keeps one tenant's from serving another (asyncpg raises InvalidCachedStatementError).
    return f"/* tenant {binding.tenant.id} */ {statement}"


def _compiled_is_textual(compiled: Compiled) -> bool:
    known = _textual.get(compiled)
    if known is None:
        known = _textual[compiled] = compiled.statement is None or is_textual(compiled.statement)
    return known


def _require_path(connection: Connection, binding: Binding) -> None:
    """Set the search_path, unless the transaction or the innermost savepoint has it already."""
    begun = [each for each in (connection.get_transaction(), connection.get_nested_transaction()) if each is not None]
    if not _path_is_set.isdisjoint(begun):
        return
    # On the driver's cursor: through the connection, the statement would come back to the listener.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT set_config('search_path', {quote_literal(binding.search_path)}, true)")  # noqa: S608 - quoted
    finally:
        cursor.close()
    _path_is_set.update(begun[-1:])
