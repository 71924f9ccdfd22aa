"""ENUM types in generated revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.operations.ops import AddColumnOp, AlterColumnOp, CreateTableOp, ExecuteSQLOp, ModifyTableOps
from sqlalchemy import ARRAY, Enum, TypeDecorator
from sqlalchemy.dialects.postgresql.base import PGDialect

from tenantkit.naming import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from alembic.operations.ops import MigrateOperation, MigrationScript
    from sqlalchemy import Table
    from sqlalchemy.types import TypeEngine


_DIALECT = PGDialect()  # type: ignore[no-untyped-call]


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


def label_notes(
    tables: Iterable[Table], existing: Mapping[tuple[str | None, str], Sequence[str]], *, is_shared: bool
) -> list[str]:
    """Return what to write by hand where the labels of ENUM types differ: Alembic compares none.

    :param existing: the labels of the types that are there, by the schema and name that the models give them.
    """
    notes: list[str] = []
    for (schema, name), labels in _declared(tables, existing).items():
        there = existing.get((schema, name), labels)
        # Without a schema, as the placeholder would not be translated in text: the search_path leads there.
        written = ".".join(quote_identifier(each) for each in (schema if is_shared else None, name) if each)
        for label in [each for each in labels if each not in there]:
            change = f"ALTER TYPE {written} ADD VALUE {quote_literal(label)}{_place(label, labels, there)}"
            notes.append(
                f"The models have the label {label!r} of the type {name}, which autogenerate does not write. "
                f"Write a revision for it: op.execute({change!r})"
            )
        notes += [
            f"The models do not have the label {label!r} of the type {name}, and PostgreSQL cannot remove one."
            for label in there
            if label not in labels
        ]
    return notes


def _declared(
    tables: Iterable[Table], existing: Collection[tuple[str | None, str]]
) -> dict[tuple[str | None, str], Sequence[str]]:
    """Return the labels that the models give to each type, by its schema and name."""
    found: dict[tuple[str | None, str], Sequence[str]] = {}
    for table in tables:
        for enum in (enum for column in table.columns for enum in _enums(column.type)):
            name = enum.name or ""
            schema: str | None = enum.schema  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if schema is None:  # of a variant, which SQLAlchemy gives no schema
                schema = next((each for each, other in existing if other == name), None)
            found[schema, name] = enum.enums
    return found


def _place(label: str, labels: Sequence[str], there: Sequence[str]) -> str:
    """Return where a new label belongs: before the next that is there, or else last."""
    behind = (each for each in labels[labels.index(label) + 1 :] if each in there)
    following = next(behind, None)
    return f" BEFORE {quote_literal(following)}" if following is not None else ""


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
    match None if type_ is None else type_.dialect_impl(_DIALECT):  # with variants, the one for PostgreSQL
        case TypeDecorator() as decorator:
            yield from _enums(decorator.impl_instance)
        case ARRAY() as array:
            yield from _enums(array.item_type)
        case Enum() as enum if enum.native_enum:
            yield enum
        case _:
            pass
