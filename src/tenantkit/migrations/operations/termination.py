"""Check, before a backfill, that its condition is false for rows that were set.

The condition is evaluated over a query that has the table's name and the new values. It may be text, so it is not
rewritten; ``note.x`` in it, and SQLAlchemy's ``t_acme.note.x``, are found by the table's name.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnClause, Connection, Row, Select, cast, event, literal
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, coercions, roles
from sqlalchemy.types import NullType, TypeEngine

from tenantkit.migrations.operations.updates import RowsUpdate, Whole, is_expression
from tenantkit.postgres.errors import sqlstate

_MARK = "/* new rows */"
_TABLE = re.compile(r'FROM ((?:(?:"(?:[^"]|"")+"|\w+)\.)?("(?:[^"]|"")+"|\w+))')
_INVALID_SQL = "42"
"""The class of SQLSTATEs for syntax errors and access rule violations."""


class _New(roles.StatementOptionRole, ClauseElement):
    """The rows with their new values."""

    inherit_cache = False

    def __init__(self, query: Select[Any]) -> None:
        self.query = query


@compiles(_New)
def _compile(element: _New, compiler: Any, **options: Any) -> str:
    return f"{_MARK}({compiler.process(element.query, **options)}\n){_MARK}"


def find_left(
    connection: Connection,
    update: RowsUpdate,
    types: Mapping[str, TypeEngine[Any]],
    key: Sequence[str],
    pages: tuple[int, int],
) -> Row[Any] | None:
    """Return the *key* of a row on *pages* that would be set again after it was set; ``None`` if none is found.

    :param types: the table's columns.
    :raises DBAPIError: if a value cannot be computed, such as that of a division by zero.
    """
    new = update.found(pages, [*_unchanged(update, types), *_changed(update, types)])
    query = update.left(None, key).prefix_with(_New(new))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    try:
        with _from_new_rows(connection):
            return connection.execute(query).one_or_none()
    except DBAPIError as error:
        if not (sqlstate(error) or "").startswith(_INVALID_SQL):
            raise
        return None  # some expressions are valid in an UPDATE only: each batch is checked again


def _unchanged(update: RowsUpdate, types: Mapping[str, TypeEngine[Any]]) -> list[ColumnClause[Any]]:
    names = {update.target.c[key].name for key in update.values}
    return [ColumnClause(name, _selectable=update.target) for name in types if name not in names]


def _changed(update: RowsUpdate, types: Mapping[str, TypeEngine[Any]]) -> list[Any]:
    columns: list[Any] = []
    for key, value in update.values.items():
        name, type_ = update.target.c[key].name, update.target.c[key].type
        expression: Any = coercions.expect(roles.ExpressionElementRole, value) if is_expression(value) else None
        made = Whole(literal(value, type_) if expression is None else expression)
        known = types.get(name, NullType())
        columns.append((made if isinstance(known, NullType) else cast(made, known)).label(name))
    return columns


@contextmanager
def _from_new_rows(connection: Connection) -> Generator[None]:
    """Make the query with `_New` read the new rows in place of the table."""

    def write(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> tuple[str, Any]:
        before, new, rest = statement.split(_MARK)
        table, name = _TABLE.search(rest).groups()  # type: ignore[union-attr]
        rest = rest.replace(f"FROM {table}", f"FROM {new} AS {name}", 1)
        return before + rest.replace(f"{table}.", f"{name}."), parameters

    event.listen(connection, "before_cursor_execute", write, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", write)
