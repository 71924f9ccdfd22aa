"""The statements of a backfill: one ``sa.update()``, as a whole and for some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import (
    ARRAY,
    ColumnClause,
    ColumnElement,
    Select,
    TableClause,
    Text,
    TextClause,
    Update,
    any_,
    cast,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, coercions, roles
from sqlalchemy.sql.base import DedupeColumnCollection
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.selectable import AliasedReturnsRows
from sqlalchemy.types import TypeEngine, UserDefinedType
from sqlalchemy.util import immutabledict
from typing_extensions import override

Where: TypeAlias = "str | ColumnElement[bool] | TextClause"

S = TypeVar("S", Select[Any], Update)


class _TID(UserDefinedType[str]):
    """The type of the system column ``ctid``."""

    cache_ok = True

    @override
    def get_col_spec(self, **_: object) -> str:
        """Return PostgreSQL's name of the type."""
        return "tid"


class Whole(Grouping[Any]):
    """A condition in parentheses of its own: text may hold an OR, and end with a comment."""

    inherit_cache = True


@compiles(Whole)
def _compile(element: Whole, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.element, **options)}\n)"


@dataclass(frozen=True, slots=True)
class RowsUpdate:
    """The statement ``sa.update(target).where(where).values(values)``, for some rows at a time.

    A row's place is its table, which may be a partition of the target, and its ``ctid`` there. A search by place
    needs no index.
    """

    target: TableClause
    where: Where
    values: Mapping[str, Any]

    @property
    def whole(self) -> Update:
        """The statement that sets all rows at once."""
        return _core(update(self.target).where(_criterion(self.where)).values(dict(self.values)))

    def places(self, *, pages: tuple[int, int] | None = None, limit: int | None = None) -> Select[Any]:
        """Return the query for the places of remaining rows, on the *pages* from one number up to another."""
        query = select(self._place).select_from(self.target).where(self._condition).limit(limit)
        return _core(query if pages is None else query.where(*self._on(pages)))

    def lock(self, places: Sequence[str] | None, *, limit: int | None = None) -> Select[Any]:
        """Return the query that locks remaining rows, at *places* or anywhere, and returns their places."""
        query = select(self._place).select_from(self.target).where(self._condition).limit(limit)
        if places is not None:
            query = query.where(*self._at(places))
        return _core(query.with_for_update(key_share=True, of=self.target))

    def set(self, places: Sequence[str]) -> Update:
        """Return the statement that sets the rows at *places*, and returns the new place of each."""
        statement = update(self.target).where(self._condition, *self._at(places)).values(dict(self.values))
        return _core(statement.returning(self._place))

    def left(self, places: Sequence[str] | None, key: Sequence[str]) -> Select[Any]:
        """Return the query for the *key* of a remaining row, at *places* or anywhere."""
        columns: list[ColumnElement[Any]] = [ColumnClause(name, _selectable=self.target) for name in key]
        columns = columns or [literal_column("1")]
        query = select(*columns).select_from(self.target).where(self._condition).limit(1)
        return _core(query if places is None else query.where(*self._at(places)))

    def found(self, pages: tuple[int, int], columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """Return the query for *columns* of remaining rows on *pages*, for use in another query."""
        query = select(*columns).select_from(self.target).where(self._condition, *self._on(pages))
        return _core(query.correlate(None))

    def at(self, places: Sequence[str]) -> Select[Any]:
        """Return the query for those of *places* that have a row."""
        return select(self._place).select_from(self.target).where(*self._at(places))

    @property
    def _condition(self) -> Whole:
        return Whole(_core(update(self.target).where(_criterion(self.where))).whereclause)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    @property
    def _ctid(self) -> ColumnClause[str]:
        return ColumnClause("ctid", _TID(), _selectable=self.target)

    @property
    def _place(self) -> ColumnElement[str]:
        part: ColumnClause[Any] = ColumnClause("tableoid", _selectable=self.target)
        return (cast(part, Text) + cast(self._ctid, Text)).label("place")

    def _on(self, pages: tuple[int, int]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        first, end = (cast(literal(f"({number},0)", Text), _TID) for number in pages)
        return self._ctid >= first, self._ctid < end

    def _at(self, places: Sequence[str]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        # PostgreSQL finds the rows by the first condition; partitions have places with the same numbers.
        numbers = literal([place[place.index("(") :] for place in places], ARRAY(Text))
        own = any_(literal([*places], ARRAY(Text)))
        return self._ctid == any_(cast(numbers, ARRAY(_TID))), self._place.element == own


def _criterion(where: Where) -> Any:
    if isinstance(where, str):
        return literal_column(f"({where}\n)")  # pyright: ignore[reportUnknownVariableType]
    return where


def _core(statement: S) -> S:
    """Return *statement* as a statement of SQLAlchemy Core, also if it names mapped attributes."""
    statement._propagate_attrs = immutabledict()  # noqa: SLF001 - there is no public way
    return statement


def tables_in(*expressions: Any) -> Iterator[TableClause]:
    """Yield the tables that *expressions* refer to by themselves, not by an alias."""
    stack = [each for expression in expressions if (each := _element(expression)) is not None]
    while stack:
        element = stack.pop()
        of: Any = getattr(element, "table", None)
        for found in (element, of):
            if isinstance(found, TableClause):
                yield found._deannotate()  # noqa: SLF001 - of mapped attributes, which know their class
        is_alias = isinstance(element, AliasedReturnsRows) and isinstance(element.element, TableClause)
        if not is_alias:
            stack += element.get_children()


def _element(expression: Any) -> ClauseElement | None:
    made = getattr(expression, "__clause_element__", None)
    element = expression if made is None else made()
    return element if isinstance(element, ClauseElement) else None


def is_expression(value: Any) -> bool:
    """Return whether *value* is an SQL expression rather than a value for a parameter."""
    return _element(value) is not None


def column_name(key: Any) -> str:
    """Return the name in a table of the column *key*: a name, a column or a mapped attribute."""
    element: Any = _element(key)
    name: str = coercions.expect_as_key(roles.DMLColumnRole, key) if element is None else element._deannotate().key  # noqa: SLF001
    return name


def with_columns(of: TableClause, types: Mapping[str, TypeEngine[Any]]) -> TableClause:
    """Return a copy of *of* with further columns, which SQLAlchemy considers equal to *of*.

    Subqueries that refer to *of* are correlated with it: an annotated object is equal to the original.
    """
    if not types:
        return of
    wide = of._annotate({"tenantkit": "with columns"})  # noqa: SLF001 - there is no public way
    wide._columns = DedupeColumnCollection()  # noqa: SLF001
    for each in of.c:
        wide._columns.add(each)  # noqa: SLF001
    for name, type_ in types.items():
        new: ColumnClause[Any] = ColumnClause(name, type_, _selectable=wide)
        wide._columns.add(new)  # noqa: SLF001
    # Without this, it has the columns of the original.
    wide.__dict__["c"] = wide.__dict__["columns"] = wide._columns.as_readonly()  # noqa: SLF001
    return wide
