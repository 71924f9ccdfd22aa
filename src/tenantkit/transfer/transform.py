"""Functions of the application that change rows on their way into a clone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from sqlalchemy import Column, Table

from tenantkit.arguments import FUNCTION, MAPPING, require
from tenantkit.deployment import Deployment
from tenantkit.exceptions import BackupError, ConfigurationError
from tenantkit.naming import first_lines
from tenantkit.transfer import catalog
from tenantkit.transfer.rewriting import Rewriting
from tenantkit.transfer.source import Source

ChangeValue: TypeAlias = Callable[[Any], Any]
ChangeRow: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """Functions that change, or leave out, the rows of a clone: for staging, a demo, or a developer's machine.

    Values are those of psycopg: an enum is the text of its label, ``jsonb`` a dict or list. What no function changes is
    copied byte by byte.

    ::

        Transform(
            columns={User.email: lambda email: "someone@example.com"},
            rows={Order: lambda row: row if row["year"] == 2026 else None},
        )
    """

    columns: Mapping[Any, ChangeValue] = field(default_factory=dict[Any, ChangeValue])
    """For columns (``User.email``, or a `sqlalchemy.Column`), functions from a value to the one in the clone. They are
    called after those of rows, and not for NULL."""
    rows: Mapping[Any, ChangeRow] = field(default_factory=dict[Any, ChangeRow])
    """For models or tables, functions from a row, a dict of all columns that are not generated, to the row in the clone
    with the same columns, or to ``None``, which leaves the row out."""

    def __post_init__(self) -> None:
        """Check what can be checked without a tenancy.

        :raises TypeError: if a key is no column or no table, or a value no function.
        :raises ConfigurationError: if one column or table is named twice.
        """
        require(columns=(self.columns, MAPPING), rows=(self.rows, MAPPING))
        for name, functions in (("columns", self.columns), ("rows", self.rows)):
            for function in functions.values():
                require(**{f"a value of {name}": (function, FUNCTION)})
        named = [str(_column(key)) for key in self.columns] + [str(_table(key)) for key in self.rows]
        if twice := {each for each in named if named.count(each) > 1}:
            raise ConfigurationError(f"Transform() has {min(twice)!r} twice. Name it once.")

    @property
    def names(self) -> tuple[str, ...]:
        """The tables, and the columns as ``table.column``, that have functions."""
        columns = [f"{column.table.name}.{column.name}" for column in map(_column, self.columns)]
        return tuple(sorted({*columns, *(_table(key).name for key in self.rows)}))

    def require_of(self, tenancy: Deployment) -> None:
        """Raise unless all columns and tables are those of the application's tenants.

        :raises ConfigurationError: if one is not, or a column is generated.
        """
        known = {table.key for table in tenancy.tables.tenant}
        shared = {table.key for table in tenancy.tables.shared}
        named = [column.table for column in map(_column, self.columns)] + [_table(each) for each in self.rows]
        for table in named:
            if table.key not in known:
                told = "a shared table, which is not cloned" if table.key in shared else "no table of this application"
                raise ConfigurationError(f"Transform() names {table.key!r}: {told}. Name tables of tenants.")
        for column in map(_column, self.columns):
            if column.computed is not None:
                raise ConfigurationError(
                    f"Transform() names {str(column)!r}, which is generated. Name the columns that it is made of."
                )

    def rewritings(self, source: Source) -> dict[str, Rewriting]:
        """Return what changes the rows of each table of *source* whose rows change, partitions among them.

        :raises BackupError: if the tenant lacks one of the columns or tables.
        """
        if missing := [*self._missing(source)]:
            raise BackupError(
                source.tenant.key,
                f"the functions of transform= are for what its tables do not have: {first_lines(missing)}",
                "Nothing was changed. Correct the names, or migrate the tenant first.",
            )
        rows = {_table(key).name: function for key, function in self.rows.items()}
        columns = {(_column(key).table.name, _column(key).name): each for key, each in self.columns.items()}
        found: dict[str, Rewriting] = {}
        for table in source.tables:
            name = source.whole_of(table).name
            values = {column: function for (of, column), function in columns.items() if of == name}
            if values or name in rows:
                types = catalog.read_column_types(source.connection, source.schema, table.name)
                names = [column.name for column in table.columns]
                found[table.name] = Rewriting(
                    table=name,
                    columns={column: types[column][0] for column in names},
                    key=tuple(column for column in names if types[column][1]),
                    row=rows.get(name),
                    values=values,
                )
        return found

    def _missing(self, source: Source) -> Iterator[str]:
        there = {table.name: {column.name for column in table.columns} for table in source.wholes}
        for table in map(_table, self.rows):
            if table.name not in there:
                yield table.name
        for column in map(_column, self.columns):
            if column.name not in there.get(column.table.name, ()):
                yield f"{column.table.name}.{column.name}"


def _column(key: Any) -> Column[Any]:
    [column, *_] = getattr(getattr(key, "property", None), "columns", [key])  # of an attribute of a model
    if not issubclass(type(column), Column) or not isinstance(getattr(column, "table", None), Table):
        raise TypeError(f"Transform(columns=...) has {str(key)[:60]}: it takes columns, such as User.email.")
    found: Column[Any] = column
    return found


def _table(key: Any) -> Table:
    table: Any = getattr(key, "__table__", key)
    if isinstance(table, Table):
        return cast("Table", table)
    raise TypeError(f"Transform(rows=...) has {str(key)[:60]}: it takes models and tables.")
