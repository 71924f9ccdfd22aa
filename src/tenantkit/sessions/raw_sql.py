"""Checks of textual SQL in sessions: `RawSQL` of `tenantkit.isolation.binding`, and text that changes the path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnClause,
    Delete,
    Engine,
    Extract,
    Insert,
    MetaData,
    Sequence,
    Table,
    TextClause,
    TwoPhaseTransaction,
    Update,
    event,
)
from sqlalchemy.dialects.postgresql import pg_catalog
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import _IdentifiedClause  # SAVEPOINT and the like
from typing_extensions import override

from tenantkit.drivers import framed
from tenantkit.exceptions import ConfigurationError, RawSQLForbiddenError
from tenantkit.isolation.binding import BINDING
from tenantkit.postgres.sql_text import SQLText, read_sql
from tenantkit.sessions.crossing import CROSSING
from tenantkit.sessions.ownership import require_own_value
from tenantkit.sessions.read_only_errors import explain_read_only
from tenantkit.sessions.role_errors import explain_role
from tenantkit.sessions.tenant_text import PLACEHOLDER, TenantText
from tenantkit.sessions.transactions import INTERNAL, SHARED, send_all

if TYPE_CHECKING:
    from sqlalchemy import TableClause
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

    from tenantkit.isolation.binding import Binding

_TWO_PHASE = re.compile(r"(?:(?:PREPARE TRANSACTION|COMMIT PREPARED|ROLLBACK PREPARED) '[^']*'|BEGIN|ROLLBACK)")
"""Text that SQLAlchemy itself sends if the driver has no two-phase commit."""

_NAMELESS = re.compile(r"(?!.*(?:--|/\*))(?:[-+*/<>=~!@#%^&|`?(),.\s\d]|'[^'\\]*')*", re.DOTALL)
"""Text that cannot hold a name, such as ``*`` and ``'%'``, which SQLAlchemy writes for count(), any() or contains()."""

_OPERATOR = re.compile(
    rf"{_NAMELESS.pattern}|OPERATOR\(\w+\.[-+*/<>=~!@#%^&|`?]+\)|(?!.*\b(?:SELECT|TABLE|VALUES)\b)[A-Z]+(?: [A-Z]+)*",
    re.DOTALL | re.IGNORECASE,
)
"""The text of a custom operator, which holds no other name."""

_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_NEXTVAL = re.compile(rf"select nextval\('{_NAME}\.{_NAME}'\)")
"""Text that SQLAlchemy sends for a `Sequence` that is executed itself, if it has a schema."""


class _TextFinder(SQLCompiler):
    """Detects, while a statement is compiled, names that PostgreSQL will look up along search_path.

    They occur in text, literal columns and lightweight tables, also in places that no traversal of the
    statement reaches: mapped attributes, orders of relationships, defaults of columns.
    """

    placeholder: str | None = None
    """The schema that tenant tables are declared with."""
    has_text = False
    named: frozenset[Any] = frozenset()
    """The tables and sequences in the statement."""
    writes = False
    """Whether it inserts, updates or deletes rows."""
    reads_catalog = False
    """Whether SQLAlchemy itself made the statement, to reflect tables."""

    @override
    def visit_textclause(self, textclause: TextClause, *args: Any, **options: Any) -> Any:
        if isinstance(textclause, TenantText):
            textclause = self._translated(textclause)
        else:
            self.has_text = True
        return super().visit_textclause(textclause, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_tstring(self, tstring: Any, *args: Any, **options: Any) -> Any:
        self.has_text = True
        return super().visit_tstring(tstring, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_column(self, column: ColumnClause[Any], *args: Any, **options: Any) -> Any:
        self.has_text = self.has_text or (column.is_literal and _NAMELESS.fullmatch(column.name) is None)
        return super().visit_column(column, *args, **options)

    @override
    def escape_literal_column(self, text: str) -> str:  # of custom operators, too
        self.has_text = self.has_text or _OPERATOR.fullmatch(text) is None
        return super().escape_literal_column(text)  # type: ignore[no-untyped-call,no-any-return]

    @override
    def visit_extract(self, extract: Extract, **options: Any) -> Any:
        self.has_text = self.has_text or not extract.field.isidentifier()
        return super().visit_extract(extract, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_table(self, table: TableClause, *args: Any, **options: Any) -> Any:
        self._see(table)
        self.reads_catalog = self.reads_catalog or getattr(table, "metadata", None) is pg_catalog.pg_catalog_meta
        return super().visit_table(table, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_sequence(self, sequence: Sequence, *args: Any, **options: Any) -> Any:
        self._see(sequence)
        return super().visit_sequence(sequence, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_insert(self, insert_stmt: Insert, *args: Any, **options: Any) -> Any:
        self._see(insert_stmt.table)
        self.writes = True
        return super().visit_insert(insert_stmt, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_update(self, update_stmt: Update, *args: Any, **options: Any) -> Any:
        self.writes = True
        return super().visit_update(update_stmt, *args, **options)

    @override
    def visit_delete(self, delete_stmt: Delete, *args: Any, **options: Any) -> Any:
        self.writes = True
        return super().visit_delete(delete_stmt, *args, **options)  # type: ignore[no-untyped-call]

    @override
    def get_statement_hint_text(self, hint_texts: Any) -> Any:
        self.has_text = True
        return super().get_statement_hint_text(hint_texts)  # type: ignore[no-untyped-call]

    def _translated(self, textclause: TenantText) -> TextClause:
        """Return a text with the schema of tenant tables, to be translated as theirs is.

        :raises ConfigurationError: if it is not for a session of tenantkit.
        """
        if self.schema_translate_map is None:
            raise ConfigurationError("tenant_text() needs a session of a tenant: tenancy.session().")
        translated = textclause._clone()  # noqa: SLF001 - there is no public way to copy a statement
        schema = self.preparer.schema_for_object(Table("", MetaData(), schema=self.placeholder))
        translated.text = textclause.text.replace(PLACEHOLDER, str(schema))
        return translated

    def _see(self, named: Any) -> None:
        self.named |= {named}
        self.has_text = self.has_text or self._is_untranslated(named)

    def _is_untranslated(self, named: Any) -> bool:
        """Return whether a name is sent without a schema, unless a placeholder of None declares it so."""
        if getattr(named, "schema", None) is not None:
            return False
        return not isinstance(named, (Table, Sequence)) or None not in (self.schema_translate_map or ())


def watch_statements(engine: Engine, placeholder: str | None) -> None:
    """Check the statements of tenant sessions on *engine* before they are sent.

    The compiler is replaced by one that also detects text in a statement. The listeners are attached to the
    dialect's hooks, which SQLAlchemy calls only when a statement goes to the driver: a listener for
    any event of connections makes SQLAlchemy dispatch them all, which costs a tenth of a short request.
    """
    dialect = engine.dialect
    if issubclass(dialect.statement_compiler, _TextFinder):
        return
    dialect.statement_compiler = type(
        "TenantkitCompiler", (_TextFinder, dialect.statement_compiler), {"placeholder": placeholder}
    )
    event.listen(engine, "do_execute", _execute, insert=True)
    event.listen(engine, "do_executemany", _executemany, insert=True)
    event.listen(engine, "do_execute_no_params", _execute_no_params, insert=True)
    event.listen(engine, "handle_error", explain_role)
    event.listen(engine, "handle_error", explain_read_only)


def _execute(cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    if not _check(statement, context):
        return False
    context.dialect.do_execute(cursor, statement, parameters, context)
    return _set_path_again(context)


def _executemany(cursor: DBAPICursor, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    if not _check(statement, context):
        return False
    context.dialect.do_executemany(cursor, statement, parameters, context)
    return _set_path_again(context)


def _execute_no_params(cursor: DBAPICursor, statement: str, context: ExecutionContext) -> bool:
    if not _check(statement, context):
        return False
    context.dialect.do_execute_no_params(cursor, statement, context)
    return _set_path_again(context)


def _set_path_again(context: ExecutionContext) -> bool:
    frame = framed(context.root_connection).frame
    assert frame is not None  # noqa: S101 - `_check` has looked
    send_all(context.root_connection, frame.head)
    return True


def _check(statement: str, context: Any) -> bool:
    """Check a statement; return whether it resets the search_path, which must be set again."""
    options = context.execution_options
    binding: Binding | None = options.get(BINDING)
    if (binding is None and SHARED not in options) or INTERNAL in options:
        return False
    compiled = context.compiled
    if binding is not None:
        connection = context.root_connection
        frame = framed(connection).frame
        if frame is None or frame.owner is not binding or frame.transaction() is not connection._transaction:  # noqa: SLF001
            _refuse_without_frame(binding, compiled)
        if options.get("schema_translate_map") is not binding.schemas:
            binding.require_own_map(options)
        if compiled is not None:
            _require_own_parts(binding, context, compiled)
            if CROSSING in options:
                options[CROSSING].check(connection, compiled)
    # DDL, whose defaults and checks are text, has no has_text.
    if not getattr(compiled, "has_text", True):
        return False
    sql = read_sql(statement)
    if sql.is_plain and (binding is None or binding.raw_sql == "allow"):
        return False
    return not _is_sqlalchemys(statement, context) and _check_text(sql, context, binding)


def _require_own_parts(binding: Binding, context: Any, compiled: Any) -> None:
    """Raise if a statement has another map than the session's, or values of another tenant's objects.

    :raises TenantMismatchError: if it has.
    """
    # The session's map replaces the statement's own, which must not be ignored silently.
    if own_options := getattr(context.invoked_statement, "_execution_options", None):
        binding.require_own_map(own_options)
    parameters: Any = getattr(context, "extracted_parameters", None) or getattr(compiled, "bind_names", ())
    for parameter in parameters:
        if parameter.callable is not None:
            require_own_value(parameter.callable, binding.tenant, (binding.placeholder,))


def _refuse_without_frame(binding: Binding, compiled: Any) -> None:
    """Refuse a statement for which the tenant's path is not set, as the caller has ended the session's transaction.

    :raises ConfigurationError: unless it is a savepoint's.
    """
    # The savepoint of a session on a caller's connection comes before its transaction.
    if isinstance(getattr(compiled, "statement", None), _IdentifiedClause):
        return
    raise ConfigurationError(
        f"The search_path of tenant {binding.tenant.key!r} does not hold on this connection: its transaction was not "
        "begun by the session, or was ended by the connection's own commit() or rollback(). Use those of the session."
    )


def _check_text(sql: SQLText, context: ExecutionContext, binding: Binding | None) -> bool:
    if sql.prepares:
        framed(context.root_connection).deallocate()
        context.root_connection.connection.invalidate(soft=True)
    if binding is None:
        return False
    if binding.raw_sql == "forbid":
        raise RawSQLForbiddenError(binding.tenant.key)
    if sql.ends_transaction:
        # SQLAlchemy would not notice it, and asyncpg would execute later statements without a transaction and its path.
        raise RawSQLForbiddenError(binding.tenant.key, "End the transaction with the session's commit() or rollback().")
    if sql.resets_path and sql.goes_on_after_reset:
        raise RawSQLForbiddenError(binding.tenant.key, "Execute RESET alone: it resets the search_path, too.")
    return sql.resets_path


def _is_sqlalchemys(statement: str, context: ExecutionContext) -> bool:
    """Return whether a textual statement is one of SQLAlchemy's own: it reflects, counts, or commits in two phases."""
    if getattr(context.compiled, "reads_catalog", False):
        return True
    if not hasattr(context, "unicode_statement"):  # a `Sequence` or a default, and no statement, is executed
        return _NEXTVAL.fullmatch(statement) is not None
    transaction = context.root_connection.get_transaction()
    return isinstance(transaction, TwoPhaseTransaction) and _TWO_PHASE.fullmatch(statement) is not None
