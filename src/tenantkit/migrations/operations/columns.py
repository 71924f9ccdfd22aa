"""NOT NULL columns for tables that have rows."""

from __future__ import annotations

from typing import Any

from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import DropColumnOp
from sqlalchemy import Column, literal, literal_column
from typing_extensions import override

from tenantkit.arguments import NAME, require, whole
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.operations.backfill import PAUSE, BackfillOp
from tenantkit.migrations.operations.constraints import CreateCheckConstraintConcurrentlyOp, add_at_once, check_rows
from tenantkit.migrations.operations.existing import add_nullable, require_same_column
from tenantkit.migrations.operations.steps import by_itself, step
from tenantkit.migrations.operations.updates import is_expression
from tenantkit.naming import MAX_IDENTIFIER_BYTES
from tenantkit.postgres.quoting import quote_identifier


@Operations.register_operation("add_required_column")
class AddRequiredColumnOp(MigrateOperation):
    """Adds a column that is NOT NULL, and sets it in existing rows."""

    def __init__(
        self, table_name: str, column: Column[Any], value: Any, *, batch_size: int, pause: float, schema: str | None
    ) -> None:
        self.table_name = table_name
        self.column = column
        self.value = value
        self.batch_size = batch_size
        self.pause = pause
        self.schema = schema

    @classmethod
    def add_required_column(
        cls,
        operations: Operations,
        table_name: str,
        column: Column[Any],
        value: Any = None,
        *,
        batch_size: int = 1_000,
        pause: float = 0,
        schema: str | None = None,
    ) -> None:
        """Add a column that is NOT NULL, and set it in existing rows, while the table is read and written.

        The column's ``server_default`` is for new rows, also for those of code that does not know the column.

        :param value: the value of existing rows, or an SQL expression; by default the server default.
        :param batch_size: see `backfill`, as for *pause*.
        :raises ConfigurationError: if *value* is NULL for a row; if the table has another column of that name; and as
            `backfill` does.
        """
        require(table_name=(table_name, NAME), batch_size=(batch_size, whole(1)), pause=(pause, PAUSE))
        operations.invoke(cls(table_name, column, value, batch_size=batch_size, pause=pause, schema=schema))

    @override
    def reverse(self) -> DropColumnOp:
        """Return the operation that reverses it."""
        return DropColumnOp(self.table_name, self.column.name, schema=self.schema)


@Operations.implementation_for(AddRequiredColumnOp)
def _add(operations: Operations, operation: AddRequiredColumnOp) -> None:
    column, table, schema = operation.column, operation.table_name, operation.schema
    default: Any = column.server_default
    _require_plain(column, has_value=operation.value is not None or default is not None)
    value = operation.value
    if value is None:
        value = literal_column("DEFAULT")  # pyright: ignore[reportUnknownVariableType]
    if not is_expression(value):
        value = literal(value, column.type)
    quoted = quote_identifier(column.name)
    name = f"required_{column.name}".encode()[:MAX_IDENTIFIER_BYTES].decode(errors="ignore")
    check = CreateCheckConstraintConcurrentlyOp(name, table, schema=schema, condition=f"{quoted} IS NOT NULL")
    fill = BackfillOp(
        table,
        {column.name: value},
        f"{quoted} IS NULL",
        batch_size=operation.batch_size,
        pause=operation.pause,
        schema=schema,
        required=column.name,
    )
    with by_itself(operations):
        if not require_same_column(operations, table, schema, column):
            with step(operations):
                add_nullable(operations, table, schema, column)
        operations.invoke(fill)
        is_validated = add_at_once(operations, check)
        if default is None:
            operations.invoke(fill)  # rows that were added meanwhile
        if not is_validated:
            check_rows(operations, check)
        # With a validated check, PostgreSQL does not read the rows again.
        with step(operations):
            operations.alter_column(table, column.name, nullable=False, schema=schema)
            operations.drop_constraint(operations.f(name), table, schema=schema)


def _require_plain(column: Column[Any], *, has_value: bool) -> None:
    """Raise unless the steps can be repeated, and there is a value for existing rows."""
    more = column.foreign_keys or column.unique or column.index or column.primary_key or column.constraints
    if more or column.computed is not None or column.identity is not None:
        raise ConfigurationError(
            f"add_required_column() adds {column.name} with its type, default and comment only. Add keys, constraints "
            "and indexes by operations of their own; identity and computed columns need no value: use add_column()."
        )
    if not has_value:
        raise ConfigurationError(
            f"Existing rows need a value for {column.name}. Pass value=, or server_default= with the column."
        )
