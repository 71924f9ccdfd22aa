"""Indexes that are built and dropped while their table is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import ColumnElement, TextClause, text
from typing_extensions import override

from tenantkit.migrations.changes.steps import ask, by_itself

_IS_VALID = text(
    """
    SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = to_regnamespace(quote_ident(coalesce(:schema, current_schema()))) AND relname = :name
    """
)


@Operations.register_operation("create_index_concurrently")
class CreateIndexConcurrentlyOp(MigrateOperation):
    """Builds an index while its table is read and written."""

    def __init__(
        self, index_name: str, table_name: str, columns: Sequence[Any], *, schema: str | None, **options: Any
    ) -> None:
        self.index_name = index_name
        self.table_name = table_name
        self.columns = columns
        self.schema = schema
        self.options = options

    @classmethod
    def create_index_concurrently(
        cls,
        operations: Operations,
        index_name: str,
        table_name: str,
        columns: Sequence[str | TextClause | ColumnElement[Any]],
        *,
        schema: str | None = None,
        unique: bool = False,
        **kw: Any,
    ) -> None:
        """Build an index while its table is read and written; as `create_index` otherwise.

        If there is one of that name, nothing is done; but one that an interrupted build left invalid is built again.
        """
        operations.invoke(cls(index_name, table_name, columns, schema=schema, unique=unique, **kw))

    @override
    def reverse(self) -> DropIndexConcurrentlyOp:
        """Return what undoes it."""
        return DropIndexConcurrentlyOp(self.index_name, self.table_name, schema=self.schema)


@Operations.register_operation("drop_index_concurrently")
class DropIndexConcurrentlyOp(MigrateOperation):
    """Drops an index while its table is read and written."""

    def __init__(self, index_name: str, table_name: str | None = None, *, schema: str | None) -> None:
        self.index_name = index_name
        self.table_name = table_name
        self.schema = schema

    @classmethod
    def drop_index_concurrently(
        cls, operations: Operations, index_name: str, table_name: str | None = None, *, schema: str | None = None
    ) -> None:
        """Drop an index, if it is there, while its table is read and written."""
        operations.invoke(cls(index_name, table_name, schema=schema))


@Operations.implementation_for(CreateIndexConcurrentlyOp)
def _create(operations: Operations, operation: CreateIndexConcurrentlyOp) -> None:
    name, table, schema = operation.index_name, operation.table_name, operation.schema
    with by_itself(operations):
        if ask(operations, _IS_VALID, schema=schema, name=name) is False:
            _drop(operations, DropIndexConcurrentlyOp(name, table, schema=schema))
        operations.create_index(
            operations.f(name),
            table,
            operation.columns,
            schema=schema,
            if_not_exists=True,
            postgresql_concurrently=True,
            **operation.options,
        )


@Operations.implementation_for(DropIndexConcurrentlyOp)
def _drop(operations: Operations, operation: DropIndexConcurrentlyOp) -> None:
    with by_itself(operations):
        operations.drop_index(
            operations.f(operation.index_name),
            operation.table_name,
            schema=operation.schema,
            if_exists=True,
            postgresql_concurrently=True,
        )
