"""ENUM types in generated revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.operations.ops import AddColumnOp, AlterColumnOp, CreateTableOp, ExecuteSQLOp, ModifyTableOps
from sqlalchemy import ARRAY, Enum

from tenantkit.naming import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from alembic.operations.ops import MigrateOperation, MigrationScript
    from sqlalchemy.types import TypeEngine


def drop_new_types(script: MigrationScript, existing: Collection[str]) -> None:
    """Let the downgrade of *script* drop the ENUM types that its upgrade creates.

    They come with the first column that has them, but Alembic does not drop them with the last,
    and the next upgrade would fail because they are there.
    """
    assert script.upgrade_ops is not None  # noqa: S101 - an empty script was dropped before
    assert script.downgrade_ops is not None  # noqa: S101 - Alembic writes both
    names = {type_.name for type_ in _types(script.upgrade_ops.ops) if type_.name and type_.name not in existing}
    for name in sorted(names):
        # Without a schema, as the placeholder would not be translated in text: the search_path leads there.
        script.downgrade_ops.ops.append(ExecuteSQLOp(f"DROP TYPE {quote_identifier(name)}"))


def _types(operations: list[MigrateOperation]) -> Iterator[Enum]:
    for operation in operations:
        match operation:
            case ModifyTableOps():
                yield from _types(operation.ops)
            case CreateTableOp():
                for column in operation.to_table().columns:
                    yield from _enums(column.type)
            case AddColumnOp():
                yield from _enums(operation.column.type)
            case AlterColumnOp():
                yield from _enums(operation.modify_type)
            case _:
                pass


def _enums(type_: TypeEngine[Any] | None) -> Iterator[Enum]:
    match type_:
        case ARRAY():
            yield from _enums(type_.item_type)
        case Enum() if type_.native_enum:
            yield type_
        case _:
            pass
