"""The physical form of tenant tables in a common schema, derived from the tables as the models declare them.

The models have keys of one column, and no tenant column. In a common schema each table has it, and each key, unique
constraint, index and foreign key between tenant tables begins with it, under the name that it has in a schema of one
tenant. So two tenants may have the same keys, and no row refers to another tenant's.

If the models declare the column, it is used as it is, and a primary key of one UUID stays, beside a unique constraint
with the column, to which foreign keys point.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import singledispatchmethod
from typing import Any, cast

from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import NullType

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.row.declared import read_column
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.default_names import default_name
from tenantkit.postgres.quoting import quote_identifier

_ORDERED = (None, False, "btree")
"""Values of ``postgresql_using`` of indexes to which the tenant column is of use."""


def physical_table(
    table: Table, tenant: TenantColumn, foreign_keys: Collection[ForeignKeyConstraint] | None = None
) -> Table:
    """Return the physical form of a tenant table, in a metadata of its own with the tables that it refers to.

    :param foreign_keys: those to include; by default all.
    :raises ConfigurationError: if *table* has something that row isolation does not support.
    """
    form = _PhysicalForm(table, tenant)
    for constraint in table.constraints:
        if foreign_keys is None or not isinstance(constraint, ForeignKeyConstraint) or constraint in foreign_keys:
            form.add(constraint)
    form.add_target()
    for index in table.indexes:
        form.index(index)
    return form.table


def physical_constraint(constraint: Constraint, tenant: TenantColumn) -> Constraint:
    """Return the physical form of a constraint of an existing tenant table; raises as `physical_table`."""
    return _PhysicalForm(constraint.table, tenant).add(constraint)


def physical_index(index: Index, tenant: TenantColumn) -> Index:
    """Return the physical form of an index of a tenant table."""
    if index.table is None:
        raise ConfigurationError(f"The index {index.name!r} has no table.")
    return _PhysicalForm(index.table, tenant).index(index)


class _PhysicalForm:
    """The physical form of one table, with its columns, to which the rest is added."""

    def __init__(self, declared: Table, tenant: TenantColumn) -> None:
        tenant.require_free(declared.fullname, declared.columns)
        self._declared = declared
        self._tenant = tenant
        own = tenant.find(declared.columns)
        self._tenant_key = tenant.name if own is None else own.key
        if own is not None and not isinstance(own.type, NullType) and (found := read_column(own).type) != tenant.type:
            raise ConfigurationError(
                f"{declared.fullname} has the tenant column {tenant.name!r} with the type {found}, but the models "
                f"declare it with {tenant.type}."
            )
        prefixes: Any = declared._prefixes  # noqa: SLF001 - as Table.to_metadata() does # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        columns = [self._column(column) for column in declared.columns]
        if own is None:
            columns.append(tenant.make())  # last: an INSERT in text may have values without names of columns
        self.table = Table(
            declared.name,
            MetaData(naming_convention=declared.metadata.naming_convention),
            *columns,
            schema=declared.schema,
            comment=declared.comment,
            prefixes=prefixes,
            info=declared.info,
            **declared.kwargs,
        )

    def _column(self, declared: Column[Any]) -> Column[Any]:
        column = declared._copy()  # noqa: SLF001 - as Table.to_metadata() does
        # These would make constraints again.
        column.unique = column.index = None
        column.primary_key = False
        if declared.name == self._tenant.name:
            column.nullable = False
            if column.server_default is None:
                column.server_default = self._tenant.make().server_default
        return column

    def add(self, constraint: Constraint) -> Constraint:
        """Add the physical form of a constraint of the declared table, and return it."""
        made = self._physical(constraint)
        if made is not constraint:
            self.table.append_constraint(made)
        return made

    @singledispatchmethod
    def _physical(self, constraint: Constraint) -> Constraint:
        raise ConfigurationError(
            f"Row isolation does not support a {type(constraint).__name__} yet, as {self._declared.fullname} has. "
            "Give the tenants schemas of their own, or remove it."
        )

    @_physical.register
    def _(self, constraint: CheckConstraint) -> Constraint:
        is_columns = any(constraint in column.constraints for column in self._declared.columns)
        if is_columns or constraint._type_bound:  # noqa: SLF001 - the copied column or its type has it
            return constraint
        return constraint._copy(target_table=self.table)  # noqa: SLF001

    @_physical.register
    def _(self, constraint: PrimaryKeyConstraint) -> Constraint:
        keys = [column.key for column in constraint.columns]
        if not keys:
            return constraint
        if self._tenant.keeps_key(self._declared):
            columns = [self.table.columns[key] for key in keys]
            return PrimaryKeyConstraint(*columns, name=self._name(constraint, (), "pkey"), **_options(constraint))
        numbered = self._declared.autoincrement_column
        if numbered is not None:
            self.table.columns[numbered.key].autoincrement = True  # of one key column of several, too
        return PrimaryKeyConstraint(*self._led(keys), name=self._name(constraint, (), "pkey"), **_options(constraint))

    def add_target(self) -> None:
        """Add the unique constraint to which foreign keys point if the primary key stays as it is declared."""
        if not self._tenant.keeps_key(self._declared):
            return
        columns = self._led([column.key for column in self._declared.primary_key.columns])
        names = [column.name for column in columns]
        made = (each for each in self.table.constraints if isinstance(each, UniqueConstraint))
        if all([column.name for column in each.columns] != names for each in made):
            name = default_name(self._declared.name, names, "key")
            self.table.append_constraint(UniqueConstraint(*columns, name=name))

    @_physical.register
    def _(self, constraint: UniqueConstraint) -> Constraint:
        keys = [column.key for column in constraint.columns]
        return UniqueConstraint(*self._led(keys), name=self._name(constraint, keys, "key"), **_options(constraint))

    @_physical.register
    def _(self, constraint: ForeignKeyConstraint) -> Constraint:
        targets = [element.column for element in constraint.elements]
        keys, referred = list(constraint.column_keys), targets[0].table
        columns = [self._stub(referred, target) for target in targets]
        ondelete = constraint.ondelete
        is_tenants = referred.schema == self._declared.schema
        if is_tenants:
            self._require_leading(constraint)
            if (ondelete or "").upper() in {"SET NULL", "SET DEFAULT"}:
                others = [self._declared.columns[key].name for key in keys if key != self._tenant_key]
                ondelete = f"{ondelete} ({', '.join(map(quote_identifier, others))})"
        if leads := is_tenants and self._tenant_key not in keys:
            theirs = self._tenant.find(referred.columns)
            columns.insert(0, self._stub(referred, self._tenant.make() if theirs is None else theirs))
        return ForeignKeyConstraint(
            [self._tenant_key, *keys] if leads else keys,
            columns,
            name=self._name(constraint, keys, "fkey"),
            onupdate=constraint.onupdate,
            ondelete=ondelete,
            match=constraint.match if not leads else None,
            use_alter=constraint.use_alter,
            **_options(constraint),
        )

    def _require_leading(self, constraint: ForeignKeyConstraint) -> None:
        """Raise if a foreign key would mean something else with the tenant column."""
        if (constraint.onupdate or "").upper() in {"SET NULL", "SET DEFAULT"}:
            problem = f"ON UPDATE {constraint.onupdate}, which would change the tenant of a row"
        elif (constraint.match or "").upper() == "FULL" and len(constraint.elements) > 1:
            problem = "MATCH FULL over several columns, which the tenant column would join"
        else:
            return
        raise ConfigurationError(
            f"Row isolation does not support the foreign key of {self._declared.fullname} to "
            f"{constraint.referred_table.fullname}: it has {problem}. Leave that out."
        )

    def _stub(self, referred: Table, target: Column[Any]) -> Column[Any]:
        """Return a column of the table that a foreign key points to."""
        if referred is self._declared:
            return self.table.columns[target.key]
        stub = Table(referred.name, self.table.metadata, schema=referred.schema, extend_existing=True)
        if target.key not in stub.columns:
            stub.append_column(Column(target.name, target.type, key=target.key))
        return stub.columns[target.key]

    def index(self, index: Index) -> Index:
        """Add the physical form of an index, and return it."""

        def replace(element: Any, **_: Any) -> Any:
            is_own = isinstance(element, Column) and element.table is self._declared
            return self.table.columns[element.key] if is_own else None

        # Alembic has an element of its own in place of text, with a column that the table does not have.
        declared: list[Any] = [
            each.text if hasattr(each, "fake_column") else each for each in cast("list[Any]", index.expressions)
        ]
        expressions: list[Any] = [visitors.replacement_traverse(expression, {}, replace) for expression in declared]
        is_ordered = index.dialect_kwargs.get("postgresql_using") in _ORDERED
        if (is_ordered or index.unique) and self._tenant_key not in index.columns:
            expressions = [self.table.columns[self._tenant_key], *expressions]
        return Index(
            index.name, *expressions, unique=index.unique, info=index.info, _table=self.table, **index.dialect_kwargs
        )

    def _led(self, keys: Sequence[str]) -> list[Column[Any]]:
        """Return the columns with *keys*, after the tenant column unless they contain it."""
        led = keys if self._tenant_key in keys else (self._tenant_key, *keys)
        return [self.table.columns[key] for key in led]

    def _name(self, constraint: Constraint, keys: Sequence[str], suffix: str) -> str:
        """Return the name that a constraint has in a schema of one tenant."""
        if isinstance(constraint.name, str):
            return conv(constraint.name)
        names = [self._declared.columns[key].name for key in keys]
        return conv(default_name(self._declared.name, names, suffix))


def _options(constraint: Constraint) -> dict[str, Any]:
    return {
        "deferrable": constraint.deferrable,
        "initially": constraint.initially,
        "comment": constraint.comment,
        "info": constraint.info,
        **constraint.dialect_kwargs,
    }
