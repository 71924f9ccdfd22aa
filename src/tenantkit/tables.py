"""Which tables are shared and which exist once per tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, Boolean, ForeignKey, MetaData, Sequence, Table, TypeDecorator
from sqlalchemy.exc import NoReferencedTableError
from sqlalchemy.types import SchemaType, TypeEngine

from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import first_lines

NO_TENANT_SCHEMA = "tenantkit_no_tenant"
"""Where the placeholder points when there is no tenant: a schema that never exists, so reads fail."""


class Metadata(NamedTuple):
    """What an application declares its tables in."""

    shared: MetaData | None
    tenant: MetaData


@dataclass(frozen=True, slots=True)
class Tables:
    """An application's tables, divided by who sees them."""

    placeholder: str | None
    shared: tuple[Table, ...]
    tenant: tuple[Table, ...]


def classify(shared: MetaData | None, tenant: MetaData, *, placeholder: str | None) -> Tables:
    """Divide the declared tables into shared and tenant ones.

    *shared* may be left out, or be the same object as *tenant*: then the
    schema of each table tells which it is.

    :raises ConfigurationError: if a table is in both metadata or on the wrong
        one, if no table carries the placeholder, or if a shared table
        references a tenant table.
    """
    if shared is None or shared is tenant:
        found = Tables(
            placeholder,
            tuple(table for table in tenant.tables.values() if table.schema != placeholder),
            tuple(table for table in tenant.tables.values() if table.schema == placeholder),
        )
    else:
        _require_each_table_on_its_side(shared, tenant, placeholder)
        found = Tables(placeholder, tuple(shared.tables.values()), tuple(tenant.tables.values()))
    _require_schemas(found)
    if shared is None and found.shared and not found.tenant:
        raise ConfigurationError(
            f"No table carries the placeholder schema {placeholder!r}, so nothing would be kept per tenant. "
            f"Declare tenant tables with MetaData(schema={placeholder!r}), or pass placeholder= the schema they have."
        )
    _require_no_reference_to_tenants(found)
    _adopt_names(found)
    return found


def shared_schemas(metadata: Metadata, tables: Tables) -> tuple[str, ...]:
    """Return the real schemas of shared tables, the one that the shared metadata names first."""
    default = (metadata.shared or metadata.tenant).schema
    names = {table.schema or "public" for table in tables.shared}
    if metadata.shared is not None and default is not None:
        names.add(default)
    return tuple(sorted(names, key=lambda name: (name != default, name))) or ("public",)


def _require_each_table_on_its_side(shared: MetaData, tenant: MetaData, placeholder: str | None) -> None:
    if both := shared.tables.keys() & tenant.tables.keys():
        raise ConfigurationError(
            f"Declared in both the shared and the tenant metadata: {first_lines(both)}. "
            "Keep each table on one side: is a model's base class the wrong one?"
        )
    if wrong := [name for name, table in tenant.tables.items() if table.schema != placeholder]:
        raise ConfigurationError(
            f"In the tenant metadata, but without the placeholder schema {placeholder!r}: {first_lines(wrong)}. "
            "Remove the schema from the model, or move it to the shared metadata."
        )
    if wrong := [name for name, table in shared.tables.items() if table.schema == placeholder]:
        raise ConfigurationError(
            f"In the shared metadata, but with the tenants' placeholder schema {placeholder!r}: {first_lines(wrong)}. "
            "Give it a real schema, or move it to the tenant metadata."
        )


def _require_no_reference_to_tenants(tables: Tables) -> None:
    tenant_keys = {table.key for table in tables.tenant}
    for table in (*tables.shared, *tables.tenant):
        for key in table.foreign_keys:
            if key.target_fullname.startswith("tenantkit.tenants.") and not _is_resolved(key):
                raise ConfigurationError(
                    f"The table {table.key} references tenantkit.tenants by name, but its metadata does not have that "
                    "table. Write ForeignKey(tenants.c.id), with: from tenantkit.registry.tables import tenants"
                )
    for table in tables.shared:
        for key in table.foreign_keys:
            target = key.target_fullname.rpartition(".")[0]
            if target in tenant_keys:
                raise ConfigurationError(
                    f"The shared table {table.key} references the tenant table {target}: a row that all tenants see "
                    "cannot point into one tenant's schema. Turn the reference round, or make both tenant tables."
                )


def _is_resolved(key: ForeignKey) -> bool:
    try:
        _ = key.column
    except NoReferencedTableError:
        return False
    return True


def _require_schemas(tables: Tables) -> None:
    if bare := [table.name for table in tables.shared if table.schema is None]:
        raise ConfigurationError(
            f"Shared tables without a schema: {first_lines(bare)}. Name it, be it MetaData(schema='public'): "
            "textual SQL moves the search_path to the tenant's schema, and an unqualified name with it."
        )


def _adopt_names(tables: Tables) -> None:
    """Give the placeholder to types and sequences of tenant tables that were declared without a schema.

    SQLAlchemy 2.1 lets a type inherit its metadata's schema, but not one that it derives from
    ``Mapped[SomeEnum]``, nor one in a table that names its schema itself, nor a column's sequence.
    Without this, they would be made once, in ``public``, for all tenants.

    :raises ConfigurationError: if a shared table uses the same type object: it cannot be in two schemas.
    """
    of_shared = {id(named): table for table in tables.shared for named in _named_types(table)}
    for table in tables.tenant:
        for named in _named_types(table):
            if named.schema is None:  # pyright: ignore[reportUnknownMemberType]
                if id(named) in of_shared:
                    raise ConfigurationError(
                        f"The type of {table.key} and {of_shared[id(named)].key} is one object without a schema, and "
                        "only one of these tables is shared. Declare it twice, or with the shared schema."
                    )
                named.schema = tables.placeholder
        for column in table.columns:
            if isinstance(column.default, Sequence) and column.default.schema is None:
                column.default.schema = tables.placeholder


def _named_types(table: Table) -> list[SchemaType]:
    return [named for column in table.columns if (named := _named_type(column.type)) is not None]


def _named_type(type_: TypeEngine[Any]) -> SchemaType | None:
    match type_:
        case Boolean():  # a SchemaType for the CHECK constraint that other databases need; it has no name
            return None
        case SchemaType():  # pyright: ignore[reportUnnecessaryComparison] - it is mixed in
            return type_
        case ARRAY():
            return _named_type(type_.item_type)
        case TypeDecorator():
            return _named_type(type_.impl_instance)
        case _:
            return None
