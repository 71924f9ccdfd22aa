"""Updates of a table's existing rows in batches."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import isfinite
from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import ColumnElement, Connection, TableClause, TextClause, inspect
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import coercions, roles

from tenantkit.arguments import NAME, Kind, number, require, whole
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.operations.batches import Batches
from tenantkit.migrations.operations.reads import require_own_reads
from tenantkit.migrations.operations.steps import COMMON_TABLES, EMPTY, IN_USE, by_itself, real_schema, step
from tenantkit.migrations.operations.targets import find_target, make_update
from tenantkit.migrations.operations.updates import Where, column_name
from tenantkit.naming import first_lines

BATCH_SIZE = 1_000
PAUSE = Kind("a number of seconds of at least 0", number(0).has_type, lambda each: isfinite(each) and each >= 0)
_VALUES = Kind("a mapping of columns to values that is not empty", lambda each: isinstance(each, Mapping), bool)


@Operations.register_operation("backfill")
class BackfillOp(MigrateOperation):
    """Sets values in batches of rows."""

    def __init__(
        self,
        table_name: str | TableClause,
        values: Mapping[Any, Any],
        where: Where,
        *,
        batch_size: int = BATCH_SIZE,
        pause: float = 0,
        schema: str | None = None,
        required: str | None = None,
    ) -> None:
        self.table = None if isinstance(table_name, str) else table_name
        self.table_name = table_name if isinstance(table_name, str) else table_name.name
        self.keys = [*values]
        self.values = {column_name(key): value for key, value in values.items()}
        self.where = where
        self.batch_size = batch_size
        self.pause = pause
        self.schema = schema if self.table is None else self.table.schema
        self.required = required
        """The column that must get a value in each row, if the backfill is for a required column."""

    @classmethod
    def backfill(
        cls,
        operations: Operations,
        table_name: str | TableClause,
        values: Mapping[Any, Any],
        where: str | ColumnElement[bool] | TextClause,
        *,
        batch_size: int = 1_000,
        pause: float = 0,
        schema: str | None = None,
    ) -> None:
        """Set *values* in all rows for which *where* holds, as ``sa.update()`` does, in batches committed one by one.

        *where* selects the remaining rows, so it must be false for a row that was set. An interrupted migration
        continues with the remaining rows. The operation does not wait for rows that are added meanwhile.

        *values* and *where* must not read, in other rows, what is set: this is refused as far as PostgreSQL's parser
        and the text of the functions that they call show it. What these functions read by SQL that they compose at run
        time, or by functions that they call in turn, is not seen.

        :param table_name: the table, by its name or as the object that *values* and *where* refer to.
        :param values: as those of SQLAlchemy's ``update().values()``: by column, values or SQL expressions.
        :param where: a condition, as SQL or as an expression.
        :param batch_size: the maximum number of rows that are locked and committed together.
        :param pause: seconds to wait between two batches, for replicas and vacuum to keep up.
        :raises TypeError: if an argument has the wrong type.
        :raises ConfigurationError: if an argument has a wrong value; if not all rows of the table can be seen or set;
            if a row that was set would be set again; if *values* or *where* read columns that are set in other rows.
        """
        given = table_name
        if not isinstance(table_name, str):
            table_name = _table(table_name, schema)
            schema = None
        require(
            table_name=(getattr(table_name, "name", table_name), NAME),
            values=(values, _VALUES),
            batch_size=(batch_size, whole(1)),
            pause=(pause, PAUSE),
        )
        mapper: Any = inspect(given, raiseerr=False)
        if isinstance(mapper, Mapper):
            values = {_of_attribute(given, key): value for key, value in values.items()}
        _require_expressions(values, where)
        operations.invoke(cls(table_name, values, where, batch_size=batch_size, pause=pause, schema=schema))


def _table(given: Any, schema: str | None) -> TableClause:
    """Return the table of a given object, which may be a mapped class."""
    try:
        coerced: Any = coercions.expect(roles.DMLTableRole, given)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        table: Any = coerced._deannotate()  # noqa: SLF001 - of mapped classes # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    except ArgumentError:
        table = None
    if not isinstance(table, TableClause):
        raise TypeError(f"table_name={given!r}: it takes a name, or a table of SQLAlchemy.")
    known: TableClause[Any] = table  # pyright: ignore[reportUnknownVariableType]
    if schema not in {None, known.schema}:
        raise ConfigurationError(
            f"schema={schema!r} is not that of the table, which is {known.schema!r}. Leave it out."
        )
    return known


def _of_attribute(mapped: Any, key: Any) -> Any:
    """Return the column of a mapped class's attribute, if *key* is the name of one."""
    attribute = inspect(mapped).column_attrs.get(key) if isinstance(key, str) else None
    return key if attribute is None else attribute.columns[0]


def _require_expressions(values: Mapping[Any, Any], where: Any) -> None:
    """Raise unless ``sa.update()`` accepts these."""
    if isinstance(where, str):
        require(where=(where.strip(), NAME))
    elif where is None or isinstance(where, bool):
        raise TypeError(f"where={where!r}: it takes a condition, which selects the remaining rows.")
    else:
        coercions.expect(roles.WhereHavingRole, where)
    names = [column_name(key) for key in values]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"values= sets {first_lines(twice)} twice.")


@Operations.implementation_for(BackfillOp)
def _backfill(operations: Operations, operation: BackfillOp) -> None:
    make = partial(
        make_update,
        operation.table_name,
        operation.schema,
        operation.where,
        operation.values,
        given=operation.table,
        keys=operation.keys,
    )
    if operations.migration_context.as_sql:
        operations.execute(make().whole)
        return
    if _has_no_rows(operations.get_bind()):
        return
    with by_itself(operations):
        connection = operations.get_bind()

        def real(schema: str | None) -> str | None:
            return real_schema(connection, schema)

        target = find_target(connection, operation.table_name, real(operation.schema))
        update = make(target=target, connection=connection, real=real)
        if target is None:
            connection.execute(update.places())
            return
        with step(operations):
            is_repeatable = require_own_reads(connection, target, update.whole, operation.values)
        batches = Batches(
            operations, operation.table_name, operation.batch_size, operation.pause, operation.required, target, update
        )
        if is_repeatable:
            batches.look_ahead()
        batches.run()


def _has_no_rows(connection: Connection) -> bool:
    """Return whether the tables are common ones that are being created.

    :raises ConfigurationError: if they are common ones with rows, of whose pages each tenant would need all.
    """
    common = connection.get_execution_options().get(COMMON_TABLES)
    if common == IN_USE:
        raise ConfigurationError(
            "tenantkit does not support a backfill of tables that are common to several tenants yet. Write it as an "
            "UPDATE by op.execute(), which is executed once for each tenant."
        )
    return bool(common == EMPTY)
