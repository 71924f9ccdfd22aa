"""Translation of the placeholder in Alembic's operations.

SQLAlchemy's ``schema_translate_map`` does not reach Alembic's own constructs
(add, alter and drop column, rename table) nor lightweight ``sa.table()``s. Both
pass ``before_execute`` on the connection, whether they come from ``alembic.op`` or
from ``op.get_bind()``, so that is where they are adapted; Alembic's classes stay as
they are.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from alembic.ddl.base import AddColumn, AlterTable, ColumnType
from alembic.ddl.postgresql import PostgresqlColumnType
from sqlalchemy import Connection, TextClause, event, text
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.schema import CreateIndex, CreateTable, DropIndex, Table
from sqlalchemy.sql import ClauseElement, TableClause, visitors
from sqlalchemy.types import ARRAY, Enum, TypeDecorator, TypeEngine

from tenantkit.migrations.environment.other_packages import translating_text
from tenantkit.schema_objects import TypeFilter, named_types

_CONCURRENTLY = re.compile(
    r"^(\s*(?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX\s+\w+))\s+CONCURRENTLY\b", re.IGNORECASE
)


@contextmanager
def adapt_operations(
    connection: Connection,
    schema_translate_map: Mapping[str | None, str | None],
    *,
    types: TypeFilter,
    in_transaction: bool,
) -> Generator[None]:
    """Adapt the constructs that are executed on *connection* during a block.

    The *types* of new and changed columns that are wanted are created first. With *in_transaction*, indexes are built
    in the transaction although a revision says CONCURRENTLY: no other session uses the placement yet.
    """

    def before_execute(
        _connection: Connection, construct: Any, multiparams: Any, params: Any, _options: Any
    ) -> tuple[Any, Any, Any]:
        if in_transaction:
            construct = _not_concurrently(construct)
        match construct:
            case AlterTable():
                if isinstance(construct, AddColumn):
                    _create_named_types(connection, construct.column.type, types)
                if isinstance(construct, ColumnType | PostgresqlColumnType):
                    new_type: Any = construct.type_  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                    _create_named_types(connection, new_type, types)
                    construct.type_ = _translated(new_type, connection, schema_translate_map)
                construct.schema = schema_translate_map.get(construct.schema, construct.schema)
            case CreateTable():
                # SQLAlchemy's own events do not reach a type in every construct that may contain it.
                for column in construct.element.columns:
                    _create_named_types(connection, column.type, types)
            case ClauseElement():
                _translate_light_tables(construct, schema_translate_map)
            case _:
                pass
        return construct, multiparams, params

    event.listen(connection, "before_execute", before_execute, retval=True)
    try:
        with ExitStack() as translating:
            for placeholder, schema in schema_translate_map.items():
                translating.enter_context(translating_text(connection, placeholder, str(schema)))
            yield
    finally:
        event.remove(connection, "before_execute", before_execute)


def _translate_light_tables(statement: ClauseElement, schema_translate_map: Mapping[str | None, str | None]) -> None:
    """Apply the map to each ``sa.table("x", schema="tenant")`` as to declared tables.

    SQLAlchemy decides this by an attribute of the class; on the object, it depends on no tenant.
    """
    for element in visitors.iterate(statement):
        # The tables of UPDATE ... FROM are reached by their columns only.
        for each in (element, getattr(element, "table", None)):
            if isinstance(each, TableClause) and not isinstance(each, Table) and each.schema in schema_translate_map:
                each._use_schema_map = each.schema is not None  # noqa: SLF001


def _translated(
    type_: TypeEngine[Any], connection: Connection, schema_translate_map: Mapping[str | None, str | None]
) -> Any:
    """Return *type_* with its real schema: ALTER COLUMN … TYPE writes the schema without the map."""
    match type_._variant_mapping.get("postgresql", type_):  # noqa: SLF001
        case ARRAY() as array:
            return ARRAY(_translated(array.item_type, connection, schema_translate_map), dimensions=array.dimensions)
        case TypeDecorator() as decorator:
            return _translated(decorator.load_dialect_impl(connection.dialect), connection, schema_translate_map)
        case (Enum() | DOMAIN()) as named if named.schema in schema_translate_map:  # pyright: ignore[reportUnknownMemberType]
            return named.adapt(type(named), schema=schema_translate_map[named.schema])  # type: ignore[no-untyped-call]
        case other:
            return other


def _create_named_types(connection: Connection, type_: TypeEngine[Any], types: TypeFilter) -> None:
    """Create the ENUMs and DOMAINs of a new or changed column: Alembic emits no CREATE TYPE for them."""
    for named in named_types(type_):
        types.create(named, connection)


def _not_concurrently(construct: Any) -> Any:
    match construct:
        case CreateIndex() | DropIndex():
            construct.element.dialect_options["postgresql"]["concurrently"] = False
            return construct
        case TextClause() if _CONCURRENTLY.match(construct.text):
            return text(_CONCURRENTLY.sub(r"\1", construct.text))
        case _:
            return construct
