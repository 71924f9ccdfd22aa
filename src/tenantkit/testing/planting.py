"""Canary rows in the tables of an application, generated from its metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, TypeAlias, cast

from sqlalchemy import Column, ForeignKeyConstraint, Integer, Numeric, Table, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.schema import sort_tables_and_constraints  # pyright: ignore[reportUnknownVariableType]

from tenantkit.arguments import MAPPING, Kind, optional, require
from tenantkit.deployment import TENANCY
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.postgres.errors import reason, sqlstate
from tenantkit.registry.tables import tenants as registered
from tenantkit.sessions.transactions import INTERNAL
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import Tenant
from tenantkit.testing.canaries import Canaries, Rows
from tenantkit.testing.models import discriminators, extends_another, mappers_of, table_of
from tenantkit.testing.values import OMIT, candidates

Factory: TypeAlias = Callable[[str], Mapping[str, Any]] | None
"""Returns values for columns of a canary row, by name; it is called with a canary of letters and digits.

``None`` leaves a table without rows.
"""

_COMMON = 2
"""Number of rows of each table, with the same primary keys in each tenant. The other tenant has one more."""

_ATTEMPTS = 400

_COLUMNS_OF = text(
    """
    SELECT attname FROM pg_attribute WHERE (attrelid, attnum) IN (
        SELECT conrelid, unnest(conkey) FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
        WHERE conname = :name AND nspname = :schema
        UNION ALL
        SELECT indrelid, unnest(indkey) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relname = :name AND nspname = :schema)
    """
).execution_options(**{INTERNAL: True})

_TENANTS = Kind(
    "a list or tuple of Tenants",
    lambda each: isinstance(each, list | tuple) and all(isinstance(tenant, Tenant) for tenant in cast("Any", each)),
)

_OUT_OF_RANGE = "22003"


def plant(tenancy: Tenancy, tenants: Sequence[Tenant], factories: Mapping[Any, Factory] | None = None) -> Canaries:
    """Insert canary rows into every table of *tenants*, and into the shared tables that these refer to.

    Shared tables with a column for the tenant get rows of each tenant. Rows have the same primary keys in each tenant,
    and tenants after the first one have a row more of each.

    :param factories: a function for each model, or table, whose rows cannot be generated: it is called with a canary
        of letters and digits, and returns values by the names of columns. ``None`` leaves a table without rows.
    :raises ConfigurationError: if rows of some tables cannot be generated: it names all of them.
    """
    require(tenancy=(tenancy, TENANCY), tenants=(tenants, _TENANTS), factories=(factories, optional(MAPPING)))
    given = {table_of(model): factory for model, factory in (factories or {}).items()}
    canaries = Canaries()
    failures: dict[str, str] = {}
    shared, per_tenant = _divide(tenancy)
    with tenancy.shared_session() as session:
        _Planter(session, canaries, None, given, failures).plant(shared, _COMMON + 1)
        session.commit()
    for position, tenant in enumerate(tenants):
        with tenancy.session(tenant) as session:
            _Planter(session, canaries, tenant, given, failures).plant(per_tenant, _COMMON + (position > 0))
            session.commit()
    if failures:
        lines = "\n".join(f"  {name}: {why}" for name, why in failures.items())
        raise ConfigurationError(
            f"No canary rows can be generated for these tables:\n{lines}\nGive a factory for each: "
            'factories={Model: lambda canary: {"column": f"AB-{canary}"}}.'
        )
    return canaries


def _in_order(tables: list[Table]) -> list[Table]:
    """Return *tables*, referenced ones first."""
    sort: Any = sort_tables_and_constraints  # pyright: ignore[reportUnknownVariableType]
    return [table for table, _ in sort(tables) if table is not None]


def _divide(tenancy: Tenancy) -> tuple[list[Table], list[Table]]:
    """Return the shared tables without a column for the tenant, and all others."""
    shared = [each for each in tenancy.tables.shared if each.schema != registered.schema]
    owned = [table for table in shared if any(_is_tenant(table, column.name) for column in table.columns)]
    return [table for table in shared if table not in owned], [*owned, *tenancy.tables.tenant]


def _is_tenant(table: Table, name: str) -> bool:
    targets = {key.column for key in table.columns[name].foreign_keys}
    return name in {"tenant", "tenant_id", "tenant_key"} or registered.c.id in targets


class _Planter:
    """Inserts rows for one tenant, or for none."""

    def __init__(
        self,
        session: Session,
        canaries: Canaries,
        tenant: Tenant | None,
        factories: Mapping[Table, Factory],
        failures: dict[str, str],
    ) -> None:
        self._session = session
        self._canaries = canaries
        self._tenant = tenant
        self._key = tenant.key if tenant else None
        self._factories = factories
        self._failures = failures
        self._identities: Mapping[Column[Any], list[Any]] = {}
        self._rows: Rows = canaries.rows.setdefault(self._key, {})

    def plant(self, tables: list[Table], count: int) -> None:
        """Insert *count* rows into each of *tables*, referenced ones first."""
        self._identities = discriminators(tables)
        extensions = {each.local_table for each in mappers_of(tables) if extends_another(each)}
        without = extensions | {table for table, factory in self._factories.items() if factory is None}
        for table in _in_order([each for each in tables if each not in without]):
            for number in range(count):
                if table.fullname in self._failures or self._lacks_rows(table):
                    break
                try:
                    self._rows.setdefault(table, []).append(self._insert(table, number))
                except _ImpossibleError as error:
                    self._failures[table.fullname] = str(error)

    def _lacks_rows(self, table: Table) -> bool:
        """Return whether a table cannot have rows since another one failed."""
        return any(
            key.column.table.fullname in self._failures and not column.nullable
            for column in table.columns
            for key in column.foreign_keys
        )

    def _insert(self, table: Table, number: int) -> Mapping[str, Any]:
        slots = dict(self._slots(table, number))
        chosen = dict.fromkeys(slots, 0)
        searches: dict[frozenset[tuple[str, ...]], Iterator[tuple[int, ...]]] = {}
        for _ in range(_ATTEMPTS):
            values: dict[str, Any] = {}
            for columns, options in slots.items():
                if (option := options[chosen[columns]]) is not OMIT:
                    values.update(zip(columns, option if len(columns) > 1 else (option,), strict=True))
            try:
                with self._session.begin_nested():
                    returned = self._session.execute(table.insert().values(values).returning(*table.columns))
                    return dict(returned.mappings().one())
            except DBAPIError as error:
                refused = self._refused(table, error)
                touched = [columns for columns in slots if refused & {*columns}]
                key = frozenset(touched)
                search = searches.setdefault(key, islice(_choices(slots, touched), 1, None))
                if not touched or (combination := next(search, None)) is None:
                    raise _ImpossibleError(reason(error)) from error
                chosen.update(zip(touched, combination, strict=True))
            except SQLAlchemyError as error:
                raise _ImpossibleError(as_clause(error)) from error
        raise _ImpossibleError(f"no values were accepted in {_ATTEMPTS} attempts")

    def _slots(self, table: Table, number: int) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
        """Yield the values to try, by the columns that have them together."""
        given: Mapping[str, Any] = {}
        if (factory := self._factories.get(table)) is not None:
            given = factory(self._canaries.text(self._key, table.name))
            yield from (((name,), [value]) for name, value in given.items())
        filled = {*given}
        keys = [each for each in table.constraints if isinstance(each, ForeignKeyConstraint)]
        for key in sorted(keys, key=lambda each: (-len(each.columns), each.column_keys)):
            columns = [element.parent.name for element in key.elements]
            if filled & {*columns} or any(_is_tenant(table, name) for name in columns):
                continue
            filled |= {*columns}
            yield tuple(columns), self._references(key, number)
        for column in table.columns:
            if column.name in filled:
                continue
            if self._tenant is not None and _is_tenant(table, column.name):
                is_text = column.name != "tenant_id" and not column.foreign_keys
                yield (column.name,), [self._tenant.key if is_text else self._tenant.id]
                continue
            if (identities := self._identities.get(column)) is not None:
                first = number % len(identities)
                yield (column.name,), [*identities[first:], *identities[:first]]
                continue
            options = candidates(column, self._canaries, self._key, number)
            if not options:
                raise _ImpossibleError(f"no value is known for its column {column.name} of the type {column.type!r}")
            yield (column.name,), options

    def _references(self, key: ForeignKeyConstraint, number: int) -> list[Any]:
        target = key.referred_table
        rows = self._rows.get(target) or self._canaries.rows.get(None, {}).get(target, [])
        rotated = [*rows[number:], *rows[:number]]
        names = [element.column.name for element in key.elements]
        found = [tuple(row[name] for name in names) for row in rotated]
        options: list[Any] = found if len(names) > 1 else [each for (each,) in found]
        optional = all(element.parent.nullable for element in key.elements)
        if optional and target is key.table:
            return [OMIT, *options]
        options += [OMIT] if optional else []
        if not options:
            raise _ImpossibleError(f"there is no row of {target.fullname} to refer to")
        return options

    def _refused(self, table: Table, error: DBAPIError) -> set[str]:
        """Return the columns that an error is about."""
        if sqlstate(error) == _OUT_OF_RANGE:  # perhaps in a computed column: PostgreSQL does not say where
            return {column.name for column in table.columns if isinstance(column.type, Integer | Numeric)}
        found: Any = getattr(error.orig, "diag", None)
        if found is None or found.table_name not in {table.name, None}:
            return set()
        if found.column_name is not None:
            return {found.column_name}
        of = {"name": found.constraint_name, "schema": found.schema_name}
        return set(self._session.connection().execute(_COLUMNS_OF, of).scalars())


class _ImpossibleError(Exception):
    """A row cannot be generated."""


def _choices(slots: Mapping[tuple[str, ...], list[Any]], touched: list[tuple[str, ...]]) -> Iterator[tuple[int, ...]]:
    return product(*(range(len(slots[columns])) for columns in touched))
