"""Creation and removal of indexes while their table is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import CreateIndexOp
from sqlalchemy import Column, ColumnElement, TextClause
from sqlalchemy.schema import CreateIndex
from typing_extensions import override

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.catalog.indexes import drop_left_over, find_index, meant_index
from tenantkit.migrations.operations.steps import by_itself, quoted_table, real_schema


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
        """Build an index while its table is read and written; otherwise as `create_index`.

        If the same index exists, nothing is done; one that an interrupted build left invalid is built again.

        :raises ConfigurationError: if its name is taken by another index or object.
        """
        operations.invoke(cls(index_name, table_name, columns, schema=schema, unique=unique, **kw))

    @override
    def reverse(self) -> DropIndexConcurrentlyOp:
        """Return the operation that reverses it."""
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
        """Drop an index, if it exists, while its table is read and written.

        :raises ConfigurationError: if *table_name* is given, and it is not an index of that table.
        """
        operations.invoke(cls(index_name, table_name, schema=schema))


@Operations.implementation_for(CreateIndexConcurrentlyOp)
def _create(operations: Operations, operation: CreateIndexConcurrentlyOp) -> None:
    is_offline = operations.migration_context.as_sql
    with by_itself(operations):
        if is_offline or not _is_there(operations, operation):
            operations.create_index(
                operations.f(operation.index_name),
                operation.table_name,
                operation.columns,
                schema=operation.schema,
                if_not_exists=is_offline,
                postgresql_concurrently=True,
                **operation.options,
            )


def _is_there(operations: Operations, operation: CreateIndexConcurrentlyOp) -> bool:
    """Return whether the index has been built; the remains of an interrupted build are dropped.

    :raises ConfigurationError: if another object has its name.
    """
    connection, name = operations.get_bind(), operation.index_name
    table = quoted_table(operations, operation.table_name, operation.schema)
    there = None if table is None else find_index(connection, name, table)
    if there is None:
        return False
    if there.builder is not None:
        raise ConfigurationError(f"{name} is being built now, by process {there.builder}. Run it again after that.")
    meant = meant_index(connection, _statement(operations, operation))
    if not there.is_on_table or not there.equals(meant) or not (there.is_valid or there.is_left_over):
        raise ConfigurationError(
            f"The name {name} is taken by {there}. This revision means {meant}. Rename or drop the existing object, or "
            "give the index another name."
        )
    if there.is_left_over:
        drop_left_over(connection, there)
    return there.is_valid


def _statement(operations: Operations, operation: CreateIndexConcurrentlyOp) -> str:
    connection = operations.get_bind()
    index = CreateIndexOp(
        operations.f(operation.index_name),
        operation.table_name,
        operation.columns,
        schema=real_schema(connection, operation.schema),
        **operation.options,
    ).to_index(operations.migration_context)
    # As Alembic does, whose table has the columns of the index only.
    for name in index.dialect_options["postgresql"]["include"] or ():
        if index.table is not None and name not in index.table.c:
            index.table.append_column(Column(name))
    return str(CreateIndex(index).compile(dialect=connection.dialect)).replace("%%", "%")


@Operations.implementation_for(DropIndexConcurrentlyOp)
def _drop(operations: Operations, operation: DropIndexConcurrentlyOp) -> None:
    name, table, schema = operation.index_name, operation.table_name, operation.schema
    is_offline = operations.migration_context.as_sql
    with by_itself(operations):
        if is_offline or table is None or _is_of_table(operations, name, table, schema):
            operations.drop_index(
                operations.f(name), table, schema=schema, if_exists=True, postgresql_concurrently=True
            )


def _is_of_table(operations: Operations, name: str, table: str, schema: str | None) -> bool:
    """Return whether an index is one of a table, as far as the database shows; lint has none.

    :raises ConfigurationError: if another object has its name.
    """
    quoted = quoted_table(operations, table, schema)
    if quoted is None:
        if quoted_table(operations, name, schema) is None:
            return True
        what = "something else"
    else:
        there = find_index(operations.get_bind(), name, quoted)
        if there is None or there.is_on_table:
            return there is not None  # one that the search_path leads to is in another schema
        what = str(there)
    raise ConfigurationError(f"{name} is not dropped: it is {what}, and this revision means an index on {table}.")
