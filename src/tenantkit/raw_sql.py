"""Textual SQL in tenant sessions.

SQLAlchemy translates the schema of declared tables only; the names inside a
piece of text are looked up by PostgreSQL, along ``search_path``. So the path is
set for the transaction before the first such statement, and ORM and Core code,
which names every table in full, does not pay for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import (
    BindParameter,
    ColumnClause,
    Connection,
    Engine,
    Function,
    Insert,
    Sequence,
    Table,
    TextClause,
    Transaction,
    event,
)
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import True_
from typing_extensions import override

from tenantkit.exceptions import ConfigurationError, RawSQLForbiddenError
from tenantkit.naming import quote_literal
from tenantkit.sql_text import read_sql

if TYPE_CHECKING:
    from sqlalchemy import TableClause
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

    from tenantkit.binding import Binding

_path_is_set: WeakSet[Transaction] = WeakSet()
"""The transactions, or savepoints, in which the search_path of the tenant was set.

Not the connections: what is set inside a savepoint is undone when it is rolled back.
"""

_first_path: WeakKeyDictionary[Transaction, str | None] = WeakKeyDictionary()
"""The path that was first set in a transaction; ``None`` once sessions of several tenants share it."""

SHARED = "tenantkit_shared"
"""The execution option that marks the statements of sessions for shared tables."""

_LASTING_FUNCTION = re.compile(r"set_config$|pg_(?:try_)?advisory_lock", re.IGNORECASE)


class _TextFinder(SQLCompiler):
    """Sees, while a statement is compiled, whether PostgreSQL will look up a name in it along search_path.

    That is so for text, literal columns and lightweight tables, and they turn up in places that no
    walk over the statement comes to: mapped attributes, orders of relationships, defaults of columns.
    """

    has_text = False
    lasting: frozenset[str] = frozenset()
    """Of functions that leave something on the connection unless they are told not to: the names of the parameters
    that tell them; an empty name where nothing does."""

    @override
    def visit_textclause(self, textclause: TextClause, *args: Any, **options: Any) -> Any:
        self.has_text = True
        return super().visit_textclause(textclause, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_tstring(self, tstring: Any, *args: Any, **options: Any) -> Any:
        self.has_text = True
        return super().visit_tstring(tstring, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_column(self, column: ColumnClause[Any], *args: Any, **options: Any) -> Any:
        self.has_text = self.has_text or column.is_literal
        return super().visit_column(column, *args, **options)

    @override
    def visit_table(self, table: TableClause, *args: Any, **options: Any) -> Any:
        self.has_text = self.has_text or self._is_untranslated(table)
        return super().visit_table(table, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_sequence(self, sequence: Sequence, *args: Any, **options: Any) -> Any:
        self.has_text = self.has_text or self._is_untranslated(sequence)
        return super().visit_sequence(sequence, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_insert(self, insert_stmt: Insert, *args: Any, **options: Any) -> Any:
        self.has_text = self.has_text or self._is_untranslated(insert_stmt.table)
        return super().visit_insert(insert_stmt, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def get_statement_hint_text(self, hint_texts: Any) -> Any:
        self.has_text = True
        return super().get_statement_hint_text(hint_texts)  # type: ignore[no-untyped-call]

    @override
    def visit_function(self, func: Function[Any], *args: Any, **options: Any) -> Any:
        rendered = super().visit_function(func, *args, **options)
        if _LASTING_FUNCTION.match(func.name):
            match list(func.clauses)[2:]:
                case [True_()]:
                    pass
                case [BindParameter() as flag]:
                    self.lasting |= {self.bind_names.get(flag, "")}
                case _:
                    self.lasting |= {""}
        return rendered

    def _is_untranslated(self, named: Any) -> bool:
        """Return whether a name is sent as it is: without a schema, and not declared so by a placeholder of None."""
        if getattr(named, "schema", None) is not None:
            return False
        return not isinstance(named, (Table, Sequence)) or None not in (self.schema_translate_map or ())


def set_path_for_text(engine: Engine) -> None:
    """Have textual statements on *engine* find the tables of the tenant whose session sends them.

    Statements of sessions that are not tenantkit's stay as they were. The compiler is replaced by one that also sees
    whether a statement holds text. The listeners hang on the
    dialect's hooks, which SQLAlchemy calls only where a statement goes to the driver: a listener for
    any event of connections makes SQLAlchemy dispatch them all, a tenth of a short request.
    """
    dialect = engine.dialect
    if issubclass(dialect.statement_compiler, _TextFinder):
        return
    dialect.statement_compiler = type("TenantkitCompiler", (_TextFinder, dialect.statement_compiler), {})
    event.listen(engine, "do_execute", _execute, insert=True)
    event.listen(engine, "do_executemany", _executemany, insert=True)
    event.listen(engine, "do_execute_no_params", _execute_no_params, insert=True)


def on_begin(connection: Connection) -> None:
    """Prepare a transaction that has just begun on *connection*.

    :raises ConfigurationError: if it is another engine's, on which textual SQL would not find the tenant.
    """
    if not issubclass(connection.dialect.statement_compiler, _TextFinder):
        raise ConfigurationError("A tenant session works on its tenancy's engine only: leave out bind=.")
    binding: Binding = connection.get_execution_options()["tenantkit_binding"]
    if binding.raw_sql == "always":
        _require_path(connection, binding)


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
    options = context.execution_options
    binding: Binding | None = options.get("tenantkit_binding")
    if binding is None and SHARED not in options:
        return None
    compiled = context.compiled
    if (lasting := getattr(compiled, "lasting", None)) and _lasts(lasting, context):
        _close_afterwards(context)
    # Of DDL, whose defaults and checks are text, there is no has_text.
    if compiled is not None and not getattr(compiled, "has_text", True):
        return None
    if binding is not None and binding.raw_sql == "forbid":
        raise RawSQLForbiddenError(binding.tenant.key)
    sql = read_sql(statement)
    if binding is not None and sql.ends_transaction:
        # The path would end with it, unknown to SQLAlchemy, and the next statement would read another schema.
        raise RawSQLForbiddenError(binding.tenant.key, "End the transaction with the session's commit() or rollback().")
    if sql.outlives_transaction:
        _close_afterwards(context)
    if binding is None:
        return None
    _require_path(context.root_connection, binding)
    # A prepared statement keeps the tables and types it was prepared with, and drivers find it by its text:
    # the comment keeps one tenant's from serving another (asyncpg raises InvalidCachedStatementError).
    return f"/* tenant {binding.tenant.id} */ {statement}"


def _lasts(flags: frozenset[str], context: ExecutionContext) -> bool:
    """Return whether one of the *flags* does not say that what is set shall end with the transaction."""
    given: list[dict[str, Any]] = getattr(context, "compiled_parameters", None) or [{}]
    return any(values.get(flag) is not True for values in given for flag in flags)


def _close_afterwards(context: ExecutionContext) -> None:
    """Have the pool close the connection before it would hand it to somebody who would meet what is left on it."""
    context.root_connection.connection.invalidate(soft=True)


def _require_path(connection: Connection, binding: Binding) -> None:
    """Set the search_path, unless the transaction or the innermost savepoint has it already."""
    begun = [each for each in (connection.get_transaction(), connection.get_nested_transaction()) if each is not None]
    path = binding.search_path
    if any(_first_path.setdefault(each, path) != path for each in begun[:1]):
        # Sessions of several tenants share a connection: whose path it is, nobody keeps account of.
        _first_path[begun[0]] = None
    elif not _path_is_set.isdisjoint(begun):
        return
    if connection.dialect.detect_autocommit_setting(connection.connection.dbapi_connection):  # type: ignore[arg-type]
        raise ConfigurationError(
            "Textual SQL cannot find a tenant with AUTOCOMMIT: its search_path lasts for one transaction. "
            "Leave out isolation_level, or use ORM and Core constructs."
        )
    # On the driver's cursor: through the connection, the statement would come back to the listener.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT set_config('search_path', {quote_literal(path)}, true)")
    finally:
        cursor.close()
    _path_is_set.update(begun[-1:])
