"""The criterion of row isolation: each statement of a session reads and changes rows of its tenant only.

Row security below it separates the tenants. The criterion lets PostgreSQL plan each statement as if it were written by
hand, and filters also where row security does not hold, as for a table whose policy was removed. It is added
when a statement is compiled, once for all tenants, with their value as a bound parameter: a literal would make a text
for each tenant, of which drivers prepare none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Delete,
    Dialect,
    Insert,
    Join,
    Select,
    Table,
    Update,
    bindparam,
)
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromGrouping
from typing_extensions import override

from tenantkit.isolation.binding import BINDING

if TYPE_CHECKING:
    from sqlalchemy import Connection, FromClause

    from tenantkit.isolation.binding import Binding
    from tenantkit.isolation.tenant_column import TenantColumn

PARAMETER = "tenantkit_tenant"
"""The name of the parameter with the tenant's value."""


class _RowCompiler(SQLCompiler):
    """Adds the criterion, but not to text, FULL JOIN, and the further tables of UPDATE … FROM and DELETE … USING."""

    placeholder: str | None
    column: TenantColumn
    needs_tenant = False
    """Whether the statement has the parameter."""
    _inserts_tenants = False

    @override
    def _compose_select_body(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, text: str, select: Any, compile_state: Any, columns: Any, froms: Any, *rest: Any
    ) -> Any:
        criteria = tuple(each for one in froms for each in self._criteria(one))
        if criteria:
            select = _with_criteria(select, criteria)
        return super()._compose_select_body(text, select, compile_state, columns, froms, *rest)  # type: ignore[no-untyped-call]

    @override
    def group_by_clause(self, select: Any, **options: Any) -> str:
        """Return the clause, with the tenant column of each table whose primary key it has.

        That column is a part of the key, on which the other columns of the table depend.
        """
        if keys := tuple(self._keys(select._group_by_clauses)):  # noqa: SLF001
            select = select._generate()  # noqa: SLF001
            select._group_by_clauses += keys  # noqa: SLF001
        return str(super().group_by_clause(select, **options))  # type: ignore[no-untyped-call]

    def _keys(self, clauses: Iterable[Any]) -> Iterator[ColumnElement[Any]]:
        grouped: dict[FromClause, set[str]] = {}
        for each in clauses:
            if isinstance(each, ColumnClause) and each.table is not None:
                grouped.setdefault(each.table, set()).add(each.name)
        for source, names in grouped.items():
            table: Any = getattr(source, "element", source)  # of an alias
            if self._is_tenants(table) and self.column.name not in names:
                key = {column.name for column in table.primary_key}
                if key and key <= names:
                    yield self._column_of(source)

    @override
    def visit_join(self, join: Join, *args: Any, **options: Any) -> Any:
        text = str(super().visit_join(join, *args, **options))  # type: ignore[no-untyped-call]
        if join.isouter and not join.full:  # in WHERE, it would remove the rows of the other side
            options.pop("from_linter", None)
            for each in self._criteria(join.right):
                text += f" AND {self.process(each, **options)}"
        return text

    @override
    def visit_update(self, update_stmt: Update, *args: Any, **options: Any) -> Any:
        return super().visit_update(self._restricted(update_stmt), *args, **options)

    @override
    def visit_delete(self, delete_stmt: Delete, *args: Any, **options: Any) -> Any:
        return super().visit_delete(self._restricted(delete_stmt), *args, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_insert(self, insert_stmt: Insert, *args: Any, **options: Any) -> Any:
        outer, self._inserts_tenants = self._inserts_tenants, self._is_tenants(insert_stmt.table)
        try:
            return super().visit_insert(insert_stmt, *args, **options)  # type: ignore[no-untyped-call]
        finally:
            self._inserts_tenants = outer

    def _on_conflict_target(self, clause: Any, **options: Any) -> str:
        """Return the columns of an upsert, with the tenant column as in the unique index."""
        target = str(super()._on_conflict_target(clause, **options))  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
        elements = clause.inferred_target_elements
        if not self._inserts_tenants or elements is None or self.column.name in {_name(each) for each in elements}:
            return target
        return f"({self.preparer.quote(self.column.name)}, {target.removeprefix('(')}"

    def _restricted(self, statement: Any) -> Any:
        criteria = tuple(self._criteria(statement.table))
        return _with_criteria(statement, criteria) if criteria else statement

    def _criteria(self, source: FromClause) -> Iterator[ColumnElement[bool]]:
        """Yield the criterion of each tenant table of a FROM clause that no outer join may replace by NULL."""
        match source:
            case Join():
                if not source.full:
                    yield from self._criteria(source.left)
                    if not source.isouter:
                        yield from self._criteria(source.right)
            case FromGrouping():
                yield from self._criteria(source.element)
            case AliasedReturnsRows() if self._is_tenants(source.element):
                yield self._criterion(source)
            case Table() if self._is_tenants(source):
                yield self._criterion(source)
            case _:
                pass

    def _is_tenants(self, table: Any) -> bool:
        """Return whether *table* has the tenant column. A view need not have it: its own tables have policies."""
        if isinstance(table, Table) and table.schema == self.placeholder:
            return not _is_view(table)
        return False

    def _criterion(self, source: FromClause) -> ColumnElement[bool]:
        self.needs_tenant = True
        column = self._column_of(source)
        return column == bindparam(PARAMETER, type_=column.type)

    def _column_of(self, source: FromClause) -> ColumnClause[Any]:
        column: ColumnClause[Any] = ColumnClause(self.column.name, self.column.sqlalchemy_type)
        column.table = source
        return column


def _is_view(table: Any) -> bool:
    return bool(table.info.get("is_view")) or getattr(table, "_creator_ddl", None) is not None


def _name(element: Any) -> Any:
    return element if isinstance(element, str) else getattr(element, "name", None)


def _with_criteria(statement: Select[Any] | Update | Delete, criteria: tuple[ColumnElement[bool], ...]) -> Any:
    statement = statement._generate()  # noqa: SLF001 - `where()` would make an ORM statement collect its plugins again
    statement._where_criteria += criteria  # noqa: SLF001
    return statement


class _RowContext:
    """Fills the parameter of a statement with the value of its session's tenant."""

    @classmethod
    def _init_compiled(
        cls,
        dialect: Any,
        connection: Any,
        pooled: Any,
        options: Any,
        compiled: Any,
        parameters: Any,
        *rest: Any,
        **more: Any,
    ) -> Any:
        if compiled.needs_tenant:
            given: Sequence[Mapping[str, Any]] = parameters or ({},)
            parameters = [{**each, PARAMETER: options[BINDING].value} for each in given]
        return super()._init_compiled(  # type: ignore[misc]
            dialect, connection, pooled, options, compiled, parameters, *rest, **more
        )


def row_dialect(connection: Connection, binding: Binding | None) -> Dialect:
    """Return the dialect that compiles statements of *binding*; the dialect of its engine if no column divides tables.

    It is another object, since compiled statements are cached by it: one of row isolation must not serve a tenant
    with a schema of its own.
    """
    dialect = connection.engine.dialect
    if binding is None or binding.column is None:
        return dialect
    # Kept by the dialect itself, so that both end with its engine.
    known: dict[tuple[TenantColumn, str | None], Dialect] = vars(dialect).setdefault("tenantkit_row_dialects", {})
    key = (binding.column, binding.placeholder)
    return known.get(key) or known.setdefault(key, _make(dialect, *key))


def _make(dialect: Dialect, column: TenantColumn, placeholder: str | None) -> Dialect:
    made = copy(dialect)  # it has connected: pool, events and what it knows of the server are shared
    attributes = {"column": column, "placeholder": placeholder}
    made.statement_compiler = type("TenantkitRowCompiler", (_RowCompiler, dialect.statement_compiler), attributes)
    made.execution_ctx_cls = type("TenantkitRowContext", (_RowContext, dialect.execution_ctx_cls), {})
    return made
