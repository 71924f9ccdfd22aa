"""Setting values in the rows that a table has already, in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import ColumnElement, Select, Text, Update, column, literal_column, select, table, text

from tenantkit.arguments import NAME, number, require, whole
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.changes.steps import ask, by_itself, step, tell

BATCH_SIZE = 1_000
_START = "(0,0)"
"""Before the first row: PostgreSQL counts the rows of a page from 1."""
_PASSES = 10
"""How often a table is gone through; what is added to its end meanwhile is for the next pass."""

_BETWEEN = text("ctid > CAST(:after AS tid) AND ctid < CAST(:end AS tid)")

# Of a table with partitions, or with others that inherit from it, the largest: each has places of its own.
_PARTS = """
    WITH RECURSIVE part AS (
        SELECT oid FROM pg_class
        WHERE relnamespace = to_regnamespace(quote_ident(coalesce(:schema, current_schema()))) AND relname = :name
        UNION ALL SELECT inhrelid FROM pg_inherits JOIN part ON inhparent = part.oid
    )
"""
_PAGES = text(f"{_PARTS} SELECT max(pg_relation_size(oid)) / current_setting('block_size')::int FROM part")  # noqa: S608 - ours
_COUNT = text(f"{_PARTS} SELECT count(*) FROM part")  # noqa: S608 - ours


@Operations.register_operation("backfill")
class BackfillOp(MigrateOperation):
    """Sets values in batches of rows."""

    def __init__(
        self,
        table_name: str,
        values: Mapping[str, Any],
        where: str | ColumnElement[bool],
        *,
        batch_size: int = BATCH_SIZE,
        pause: float = 0,
        schema: str | None = None,
    ) -> None:
        self.table_name = table_name
        self.values = values
        self.where = where
        self.batch_size = batch_size
        self.pause = pause
        self.schema = schema

    @classmethod
    def backfill(
        cls,
        operations: Operations,
        table_name: str,
        values: Mapping[str, Any],
        where: str | ColumnElement[bool],
        *,
        batch_size: int = 1_000,
        pause: float = 0,
        schema: str | None = None,
    ) -> None:
        """Set *values* in all rows for which *where* holds, in batches that are committed one by one.

        *where* says which rows are left, so it must not hold any more for a row that was set. A migration that was
        interrupted goes on with those that are left.

        :param values: as those of SQLAlchemy's ``update().values()``: by column, values or SQL expressions.
        :param where: a condition, as SQL or as an expression.
        :param batch_size: how many rows are locked and committed together.
        :param pause: for how many seconds to rest between two batches, for replicas and vacuum to keep up.
        """
        require(table_name=(table_name, NAME), batch_size=(batch_size, whole(1)), pause=(pause, number(0)))
        operations.invoke(cls(table_name, values, where, batch_size=batch_size, pause=pause, schema=schema))


@dataclass(frozen=True, slots=True)
class _Batches:
    """The statements for one table. Rows are gone through where they lie (``ctid``), which needs no index."""

    operation: BackfillOp

    def next(self, after: str, pages: int) -> Select[Any]:
        """Return the query that locks the next rows of the first *pages*, and says where they lie."""
        return (
            select(literal_column("ctid", Text))
            .select_from(self._table)
            .where(_BETWEEN.bindparams(after=after, end=f"({pages},0)"), self._where)
            .limit(self.operation.batch_size)
            .with_for_update(key_share=True)
        )

    def set(self, rows: Sequence[str]) -> Update:
        """Return the statement that sets *rows*; it tells of each whether it would be set again."""
        found = text("ctid = ANY (CAST(:rows AS tid[]))").bindparams(rows=[*rows])
        return self.set_all().where(found).returning(self._where.label("is_left"))

    def set_all(self) -> Update:
        """Return the statement that sets all rows at once."""
        statement: Update = self._table.update().where(self._where).values(dict(self.operation.values))
        return statement

    @property
    def _table(self) -> Any:
        return table(self.operation.table_name, *map(column, self.operation.values), schema=self.operation.schema)

    @property
    def _where(self) -> ColumnElement[bool]:
        where = self.operation.where
        return literal_column(f"({where})") if isinstance(where, str) else where


@Operations.implementation_for(BackfillOp)
def _backfill(operations: Operations, operation: BackfillOp) -> None:
    if operations.migration_context.as_sql:
        operations.execute(_Batches(operation).set_all())
        return
    with by_itself(operations):
        done = 0
        parts: int = ask(operations, _COUNT, schema=operation.schema, name=operation.table_name) or 1
        for _ in range(_PASSES * parts):
            before, done = done, _go_through(operations, operation, done)
            if done == before:
                return
    raise ConfigurationError(
        f"The backfill of {operation.table_name} does not end: rows keep coming for which where= holds. First have new "
        "rows set, by a default or a trigger, in a revision before."
    )


def _go_through(operations: Operations, operation: BackfillOp, done: int) -> int:
    """Set what is left from the first row to the last; return how many rows were set in all."""
    connection, batches = operations.get_bind(), _Batches(operation)
    pages: int = ask(operations, _PAGES, schema=operation.schema, name=operation.table_name) or 0
    after = _START
    while True:
        with step(operations):
            rows: Sequence[str] = connection.execute(batches.next(after, pages)).scalars().all()
            if any(connection.execute(batches.set(rows)).scalars().all() if rows else ()):
                raise ConfigurationError(
                    f"The backfill of {operation.table_name} would not end: where= still holds for rows that were set, "
                    "so nothing says which are left. Let it look at what values= changes, as 'x IS NULL' does, and "
                    "leave out rows that keep such a value."
                )
        if rows:
            after = max(rows, key=_place)
            done += len(rows)
            percent = 100 * (_place(after)[0] + 1) // pages
            tell(operations, f"backfill of {operation.table_name}", done, percent)
        if len(rows) < operation.batch_size:
            return done
        sleep(operation.pause)


def _place(row: str) -> tuple[int, int]:
    page, number = row.strip("()").split(",")
    return int(page), int(number)
