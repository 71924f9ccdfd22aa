"""Constraints that are added at once and validated afterwards, while their table is used."""

from __future__ import annotations

from typing import Any

from alembic.ddl.base import AlterTable, alter_table
from alembic.operations import MigrateOperation, Operations
from alembic.operations.ops import DropConstraintOp
from alembic.operations.schemaobj import SchemaObjects
from sqlalchemy import ColumnElement, TextClause
from sqlalchemy.ext.compiler import compiles
from typing_extensions import override

from tenantkit.databases.shared_keys import left_out_by
from tenantkit.migrations.operations.existing import Meant, find_constraint
from tenantkit.migrations.operations.steps import by_itself, step


class ValidateConstraint(AlterTable):
    """``ALTER TABLE … VALIDATE CONSTRAINT``."""

    inherit_cache = False

    def __init__(self, constraint_name: str, table_name: str, schema: str | None) -> None:
        super().__init__(table_name, schema)
        self.constraint_name = constraint_name


@compiles(ValidateConstraint)
def _compile(element: ValidateConstraint, compiler: Any, **_: Any) -> str:
    name: str = compiler.preparer.quote(element.constraint_name)
    return f"{alter_table(compiler, element.table_name, element.schema)} VALIDATE CONSTRAINT {name}"


@Operations.register_operation("validate_constraint")
class ValidateConstraintOp(MigrateOperation):
    """Validates a constraint that was added without a check of existing rows."""

    def __init__(self, constraint_name: str, table_name: str, *, schema: str | None) -> None:
        self.constraint_name = constraint_name
        self.table_name = table_name
        self.schema = schema

    @classmethod
    def validate_constraint(
        cls, operations: Operations, constraint_name: str, table_name: str, *, schema: str | None = None
    ) -> None:
        """Validate a constraint that was added with ``postgresql_not_valid=True``, while its table is read and written.

        It is part of the revision's transaction, as any operation.

        :param constraint_name: the name in the database, which may have a prefix of a naming convention.
        """
        operations.invoke(cls(constraint_name, table_name, schema=schema))


def _schema_objects(operations: Operations) -> Any:
    """Return the object by which Alembic's own operations make constraints, with names by the naming convention."""
    return SchemaObjects(operations.migration_context)


class TwoStepConstraintOp(MigrateOperation):
    """Adds a constraint in two steps."""

    def __init__(self, constraint_name: str, table_name: str, *, schema: str | None, **options: Any) -> None:
        self.constraint_name = constraint_name
        self.table_name = table_name
        self.schema = schema
        self.options = options

    @override
    def reverse(self) -> DropConstraintOp:
        """Return the operation that reverses it."""
        return DropConstraintOp(self.constraint_name, self.table_name, schema=self.schema)

    def add(self, operations: Operations, table: str, schema: str | None, referent: str | None) -> None:
        """Add it to *table* without a check of existing rows.

        :param referent: the table in that schema to refer to, in place of its own.
        """
        raise NotImplementedError

    @property
    def referent(self) -> tuple[str, str | None] | None:
        """The table that the constraint refers to, and its schema."""
        return None


@Operations.register_operation("create_check_constraint_concurrently")
class CreateCheckConstraintConcurrentlyOp(TwoStepConstraintOp):
    """Adds a check constraint while its table is read and written."""

    @classmethod
    def create_check_constraint_concurrently(
        cls,
        operations: Operations,
        constraint_name: str,
        table_name: str,
        condition: str | ColumnElement[bool] | TextClause,
        *,
        schema: str | None = None,
    ) -> None:
        """Add a check constraint for new rows, then validate it for existing rows.

        The table is read and written meanwhile.

        :raises ConfigurationError: if the table has another constraint of that name.
        """
        named = _schema_objects(operations).check_constraint(constraint_name, table_name, "true")
        operations.invoke(cls(str(named.name), table_name, schema=schema, condition=condition))

    @override
    def add(self, operations: Operations, table: str, schema: str | None, referent: str | None) -> None:
        operations.create_check_constraint(
            operations.f(self.constraint_name), table, schema=schema, postgresql_not_valid=True, **self.options
        )


@Operations.register_operation("create_foreign_key_concurrently")
class CreateForeignKeyConcurrentlyOp(TwoStepConstraintOp):
    """Adds a foreign key while both tables are read and written."""

    @classmethod
    def create_foreign_key_concurrently(
        cls,
        operations: Operations,
        constraint_name: str,
        source_table: str,
        referent_table: str,
        local_cols: list[str],
        remote_cols: list[str],
        *,
        source_schema: str | None = None,
        referent_schema: str | None = None,
        **kw: Any,
    ) -> None:
        """Add a foreign key for new rows, then validate it for existing rows; otherwise as `create_foreign_key`.

        Both tables are read and written meanwhile.

        :raises ConfigurationError: if the table has another constraint of that name.
        """
        kw |= {
            "referent_table": referent_table,
            "local_cols": local_cols,
            "remote_cols": remote_cols,
            "referent_schema": referent_schema,
        }
        named = _schema_objects(operations).foreign_key_constraint(
            constraint_name, source_table, referent_table, local_cols, remote_cols
        )
        operations.invoke(cls(str(named.name), source_table, schema=source_schema, **kw))

    @override
    def add(self, operations: Operations, table: str, schema: str | None, referent: str | None) -> None:
        options: dict[str, Any] = self.options
        if referent is not None:
            options = {**options, "referent_table": referent, "referent_schema": schema}
        operations.create_foreign_key(
            operations.f(self.constraint_name), table, source_schema=schema, postgresql_not_valid=True, **options
        )

    @property
    @override
    def referent(self) -> tuple[str, str | None]:
        return self.options["referent_table"], self.options["referent_schema"]


@Operations.implementation_for(ValidateConstraintOp)
def _validate(operations: Operations, operation: ValidateConstraintOp) -> None:
    operations.execute(ValidateConstraint(operation.constraint_name, operation.table_name, operation.schema))


@Operations.implementation_for(CreateCheckConstraintConcurrentlyOp)
@Operations.implementation_for(CreateForeignKeyConcurrentlyOp)
def _add(operations: Operations, operation: TwoStepConstraintOp) -> None:
    if operation.referent is not None and left_out_by(operations.migration_context.dialect, operation.referent[1]):
        return
    with by_itself(operations):
        if not add_at_once(operations, operation):
            check_rows(operations, operation)


def add_at_once(operations: Operations, operation: TwoStepConstraintOp) -> bool:
    """Add a constraint for new rows, unless it exists; return whether it is validated for all rows.

    :raises ConfigurationError: if a different one has its name.
    """

    def add(table: str, schema: str | None, referent: str | None) -> None:
        operation.add(operations, table, schema, referent)

    meant = Meant(operation.constraint_name, operation.table_name, operation.schema, add, operation.referent)
    is_validated = find_constraint(operations, meant)
    if is_validated is None:
        with step(operations):
            operation.add(operations, operation.table_name, operation.schema, None)
    return bool(is_validated)


def check_rows(operations: Operations, operation: TwoStepConstraintOp) -> None:
    """Validate the constraint for existing rows."""
    with step(operations):
        operations.invoke(
            ValidateConstraintOp(operation.constraint_name, operation.table_name, schema=operation.schema)
        )
