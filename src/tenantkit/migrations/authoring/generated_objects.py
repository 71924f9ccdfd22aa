"""Types, sequences and expressions in generated revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from alembic.operations.ops import AddColumnOp, AlterColumnOp, CreateTableOp, ExecuteSQLOp, ModifyTableOps
from sqlalchemy import Sequence
from sqlalchemy.dialects.postgresql import CreateDomainType, CreateEnumType
from sqlalchemy.schema import CreateSequence

from tenantkit.migrations.authoring.rendering import as_text, escaped
from tenantkit.schema_objects import named_types, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alembic.operations.ops import MigrateOperation, MigrationScript
    from sqlalchemy import Connection
    from sqlalchemy.schema import ExecutableDDLElement
    from sqlalchemy.types import SchemaType, TypeEngine

    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.schema_objects import Sides


class Missing:
    """Types and sequences of one side that neither exist in the database nor are created by a revision."""

    def __init__(self, connection: Connection, target: MigrationTarget, *, is_first: bool) -> None:
        self._connection = connection
        self._is_first = is_first
        self._target = target
        self._noted: set[tuple[bool, str, str]] = set()

    def create_objects(self, script: MigrationScript, sides: Sides) -> None:
        """Add objects that Alembic omits: the side's sequences, and shared types that only tenant tables use."""
        by_others = named_by_others([script])
        for item in sides.objects(tenants=self._target.translates):
            # A type of the tenants' own comes with a column, unless env.py leaves that out.
            is_wanted = isinstance(item, Sequence) or not self._target.translates
            if is_wanted and self._note(item) and self._key(item) not in by_others:
                kind = "SEQUENCE" if isinstance(item, Sequence) else "TYPE"
                script.upgrade_ops_list[-1].ops.insert(0, ExecuteSQLOp(self._create(item)))
                script.downgrade_ops_list[-1].ops.append(ExecuteSQLOp(f"DROP {kind} {self._name(item)}"))

    def drop_types(self, scripts: Iterable[MigrationScript]) -> None:
        """Add the removal of the types that *scripts* create, unless operations of another package remove them.

        Alembic creates a type with the first column that has it, but does not drop it with the last, and the next
        upgrade would fail because it exists.
        """
        by_others = named_by_others(scripts)
        for script in scripts:
            for upgrade, downgrade in zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=False):
                downgrade.ops += [
                    ExecuteSQLOp(f"DROP TYPE {self._name(named)}")
                    for named in _types(upgrade.ops)
                    if self._note(named) and self._key(named) not in by_others
                ]

    def _note(self, item: SchemaType | Sequence) -> bool:
        """Return whether *item* is missing and was not noted before."""
        is_left_out = item.optional if isinstance(item, Sequence) else not getattr(item, "create_type", True)
        if is_left_out or not self._target.owns(schema_of(item)):
            return False
        schema, name = self._target.real(schema_of(item), self._target.schema), str(item.name)
        key = isinstance(item, Sequence), schema, name
        if key in self._noted:
            return False
        self._noted.add(key)
        dialect: Any = self._connection.dialect
        exists = dialect.has_sequence if isinstance(item, Sequence) else dialect.has_type
        return self._is_first or not exists(self._connection, name, schema=schema)

    def _key(self, item: SchemaType | Sequence) -> tuple[str, str]:
        return schema_of(item) or self._target.schema, str(item.name)

    def _create(self, item: SchemaType | Sequence) -> str:
        """Return the statement that creates *item*, as text for a revision."""
        dialect = self._connection.dialect
        statement: ExecutableDDLElement
        if isinstance(item, Sequence):
            statement = CreateSequence(item)
        else:
            type_: Any = cast("TypeEngine[Any]", item).dialect_impl(dialect)
            statement = (CreateEnumType if hasattr(type_, "enums") else CreateDomainType)(type_)
        with as_text(dialect, self._placeholder):
            return escaped(str(statement.compile(dialect=dialect)).strip())

    def _name(self, item: SchemaType | Sequence) -> str:
        """Return the name of *item* for a revision: without the placeholder, which is not translated in text."""
        preparer = self._connection.dialect.identifier_preparer
        quoted = preparer.quote(str(item.name))
        schema = None if schema_of(item) == self._placeholder else schema_of(item)
        return quoted if schema is None else f"{preparer.quote_schema(schema)}.{quoted}"

    @property
    def _placeholder(self) -> str | None:
        return self._target.placeholder if self._target.translates else None


def named_by_others(scripts: Iterable[MigrationScript]) -> set[tuple[str | None, str]]:
    """Return the objects, by schema and name, that have operations of other packages."""
    return {
        (operation.schema, operation.name)
        for script in scripts
        for operations in script.upgrade_ops_list
        for operation in cast("list[Any]", operations.ops)
        if not type(operation).__module__.startswith("alembic.") and {"schema", "name"} <= {*dir(operation)}
    }


def _types(operations: list[MigrateOperation]) -> Iterator[SchemaType]:
    for operation in operations:
        types: list[TypeEngine[Any] | None] = []
        match operation:
            case ModifyTableOps():
                yield from _types(operation.ops)
            case CreateTableOp():
                types += [column.type for column in operation.to_table().columns]
            case AddColumnOp():
                types.append(operation.column.type)
            case AlterColumnOp():
                types.append(operation.modify_type)
            case _:
                pass
        for type_ in types:
            yield from named_types(type_)
