"""Named types and sequences: the side of each, and their creation with that side's tables.

SQLAlchemy attaches a type to a MetaData, and creates all types of a MetaData together with any of its tables. If the
two sides share a MetaData, or a table of one side uses a type of the other, each side would create both sides'
types. A listener on the application's own metadata objects restricts each ``create_all`` to the sides of the tables
that it creates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Boolean, Connection, Enum, MetaData, Sequence, Table, TypeDecorator, event
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM
from sqlalchemy.types import SchemaType, TypeEngine

from tenantkit.exceptions import ConfigurationError

_SIDES = "tenantkit_sides"
"""The key of a `Sides` in ``MetaData.info``."""


def named_types(type_: TypeEngine[Any] | None) -> Iterator[SchemaType]:
    """Yield the types that must exist in PostgreSQL for a column of *type_*, each before the types that use it."""
    variants: dict[str, TypeEngine[Any]] = getattr(type_, "_variant_mapping", {})
    match variants.get("postgresql", type_):
        case ARRAY() as array:
            yield from named_types(array.item_type)
        case TypeDecorator() as decorator:
            yield from named_types(decorator.impl_instance)
        case DOMAIN() as domain:
            yield from named_types(domain.data_type)
            yield domain
        case Boolean():  # a SchemaType for the CHECK constraint that other databases need
            return
        case SchemaType() as named:  # pyright: ignore[reportUnnecessaryComparison] - it is mixed in
            if named.name is not None and getattr(named, "native_enum", True):
                yield named
        case _:
            return


def schema_of(item: SchemaType | Sequence) -> str | None:
    """Return the schema that a type or sequence is declared with."""
    schema: str | None = getattr(item, "schema", None)
    return schema


def types_of(tables: Iterable[Table]) -> Iterator[tuple[Table, SchemaType]]:
    """Yield the named types of *tables*, each with a table that uses it."""
    for table in tables:
        for column in table.columns:
            for named in named_types(column.type):
                yield table, named


def sequences_of(tables: Iterable[Table]) -> Iterator[Sequence]:
    """Yield the sequences that number the rows of *tables*."""
    for table in tables:
        for column in table.columns:
            for default in (column.default, column.onupdate):
                if isinstance(default, Sequence):
                    yield default


@dataclass(frozen=True, slots=True)
class Sides:
    """The tables of each side, and the placeholder."""

    placeholder: str | None
    shared: tuple[Table, ...]
    tenant: tuple[Table, ...]
    metadata: MetaData
    """The tenants' metadata, which may have types and sequences that no table uses."""
    shared_metadata: MetaData | None = None
    """The metadata of the shared tables, if its sequences count too."""

    def is_tenants(self, schema: str | None, name: str | None) -> bool:
        """Return whether each tenant has its own type or sequence of this *schema* and *name*."""
        if schema is not None or self.placeholder is None:
            return schema == self.placeholder
        return name not in {named.name for _, named in types_of(self.shared) if schema_of(named) is None}

    def objects(self, *, tenants: bool) -> Iterator[SchemaType | Sequence]:
        """Yield the types and sequences of one side that tables use, and the sequences that no table uses."""
        unused = () if self.shared_metadata is None else _unused(self.shared_metadata)
        for item in (*self._objects_of(self.tenant + self.shared), *unused):
            if self.is_tenants(schema_of(item), item.name) is tenants:
                yield item

    def own(self) -> Iterator[SchemaType | Sequence]:
        """Yield the types and sequences of tenant tables, and the sequences of the tenants' metadata."""
        return self._objects_of(self.tenant)

    def _objects_of(self, tables: Iterable[Table]) -> Iterator[SchemaType | Sequence]:
        for _, named in types_of(tables):
            yield named
        yield from sequences_of(tables)
        yield from _unused(self.metadata)


def _unused(metadata: MetaData) -> Iterator[Sequence]:
    """Yield the sequences of *metadata* that are not the default of a column."""
    sequences: dict[str, Sequence] = metadata._sequences  # noqa: SLF001
    yield from (each for each in sequences.values() if each.column is None)


def adopt(sides: Sides, *, by_revisions: bool) -> None:
    """Give a schema to the types and sequences that were declared without one.

    Those of tenant tables, and sequences of no table, get the placeholder. Types of shared tables get the schema that
    they inherit from their metadata in SQLAlchemy 2.1; if that is the placeholder, the schema of their table. If
    their metadata has none, ``create_all`` creates them in the first schema of the connection's search_path; with
    *by_revisions*, they get the shared schema, in which revisions create them.

    :raises ConfigurationError: if tables of both sides use one type object without a schema.
    """
    of_shared = {id(named): table for table, named in types_of(sides.shared)}
    for table, named in types_of(sides.tenant):
        if id(named) in of_shared and schema_of(named) in {None, sides.placeholder}:
            raise ConfigurationError(
                f"The type of {table.key} and {of_shared[id(named)].key} is one object without a schema, and only one "
                f"of these tables is shared. Declare it twice, or with the shared schema: {named.name!r}, schema=..."
            )
    for table, named in types_of(sides.shared):
        inherited = table.metadata.schema
        is_open = schema_of(named) is None and (inherited is not None or by_revisions)
        if schema_of(named) == sides.placeholder or is_open:
            named.schema = table.schema if inherited in {None, sides.placeholder} else inherited
    for table in sides.shared:
        for sequence in sequences_of([table]):
            if sequence.schema == sides.placeholder:
                sequence.schema = table.schema
    for item in sides.own():
        if schema_of(item) is None:
            item.schema = sides.placeholder


def create_by_side(sides: Sides, shared: MetaData | None) -> None:
    """Make each ``create_all`` of the application's metadata create the types and sequences of one side only.

    That is the side of its tables. Objects of the shared side that tenant tables use are created with the shared
    tables, whichever metadata they were declared in.
    """
    for metadata in (sides.metadata, shared):
        if metadata is not None:
            metadata.info[_SIDES] = sides
            if not event.contains(metadata, "before_create", _before_create):
                event.listen(metadata, "before_create", _before_create, insert=True)


class TypeFilter:
    """Selects the types to create; it replaces the set in which SQLAlchemy remembers the types that it has created."""

    def __init__(self, is_wanted: Callable[[str | None, str], bool]) -> None:
        self._is_wanted = is_wanted
        self.created: set[tuple[str | None, str]] = set()
        self.memo: dict[str, Any] = {f"pg_{kind.__visit_name__}": self for kind in (ENUM, DOMAIN)}
        """The attribute ``memo`` of an object that runs DDL, in which types look up whether they were created."""

    def __contains__(self, key: tuple[str | None, str]) -> bool:
        return not self._is_wanted(*key)

    def add(self, key: tuple[str | None, str]) -> None:
        """Remember a type; called by SQLAlchemy, whether or not it creates the type."""
        self.created.add(key)

    def create(self, named: SchemaType, connection: Connection, *, checkfirst: Any = False) -> None:
        """Create an ENUM or a DOMAIN if it is wanted and its ``create_type`` is not False.

        Other named types are classes of the application, whose own events create them.
        """
        if isinstance(named, Enum | DOMAIN):
            target: Any = named
            named._on_metadata_create(target, connection, checkfirst=checkfirst, _ddl_runner=self)  # noqa: SLF001


def _before_create(metadata: MetaData, connection: Connection, *, _ddl_runner: Any, **_: Any) -> None:
    sides: Sides = metadata.info[_SIDES]
    wanted = _wanted_sides(sides, metadata, connection, _ddl_runner)

    def is_wanted(schema: str | None, name: str) -> bool:
        return sides.is_tenants(schema, name) in wanted and (schema, name) not in types.created

    types = TypeFilter(is_wanted)
    create_sequence, created = _ddl_runner.visit_sequence, set[tuple[str | None, str]]()

    def visit_sequence(sequence: Sequence, **options: Any) -> None:
        key = (sequence.schema, sequence.name)
        if sides.is_tenants(*key) in wanted and key not in created:
            created.add(key)
            create_sequence(sequence, **options)

    _ddl_runner.memo = types.memo
    _ddl_runner.visit_sequence = visit_sequence
    for tenants in wanted:
        # The shared side's objects may have been created with other tables.
        checkfirst = _ddl_runner.checkfirst if tenants else True
        for item in sides.objects(tenants=tenants):
            if isinstance(item, SchemaType):
                types.create(item, connection, checkfirst=checkfirst)
            elif not tenants and (item.schema, item.name) not in created:
                created.add((item.schema, item.name))
                item.create(connection, checkfirst=True)


def _wanted_sides(sides: Sides, metadata: MetaData, connection: Connection, runner: Any) -> set[bool]:
    """Return the sides of the tables to create: the tenants' (True), the shared side (False) or both."""
    tables = set(metadata.tables.values() if runner.tables is None else runner.tables)
    wanted = {side for side, own in ((True, sides.tenant), (False, sides.shared)) if not tables.isdisjoint(own)}
    options: Mapping[str, Any] = {} if wanted else connection.get_execution_options()
    return wanted or {sides.placeholder in (options.get("schema_translate_map") or {})}
