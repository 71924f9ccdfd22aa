"""Which tables are shared and which exist once per tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Boolean, MetaData, Table, TypeDecorator
from sqlalchemy.types import SchemaType, TypeEngine

from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import first_lines

NO_TENANT_SCHEMA = "tenantkit_no_tenant"
"""Where the placeholder points when there is no tenant: a schema that never exists, so reads fail."""


@dataclass(frozen=True, slots=True)
class Tables:
    """An application's tables, divided by who sees them."""

    placeholder: str | None
    shared: tuple[Table, ...]
    tenant: tuple[Table, ...]

    @property
    def empty(self) -> bool:
        """Whether no table has been declared yet."""
        return not self.shared and not self.tenant


def classify(*, shared: MetaData | None, tenant: MetaData, placeholder: str | None) -> Tables:
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
    if not found.empty and not found.tenant:
        raise ConfigurationError(
            f"No table carries the placeholder schema {placeholder!r}, so nothing would be kept per tenant. "
            f"Declare tenant tables with MetaData(schema={placeholder!r}), or pass placeholder= the schema they have."
        )
    _require_no_reference_to_tenants(found)
    _adopt_named_types(found)
    return found


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
    for table in tables.shared:
        for key in table.foreign_keys:
            target = key.target_fullname.rpartition(".")[0]
            if target in tenant_keys:
                raise ConfigurationError(
                    f"The shared table {table.key} references the tenant table {target}: a row that all tenants see "
                    "cannot point into one tenant's schema. Turn the reference round, or make both tenant tables."
                )


def _adopt_named_types(tables: Tables) -> None:
    """Give ENUM and DOMAIN types of tenant tables the placeholder, if they were declared without a schema.

    SQLAlchemy 2.1 lets a type inherit its metadata's schema, but not one that it derives from
    ``Mapped[SomeEnum]``, nor one in a table that names its schema itself. Without this, the type
    would be made once, in ``public``, for all tenants.
    """
    for table in tables.tenant:
        for column in table.columns:
            named = _named_type(column.type)
            if named is not None and named.schema is None:
                named.schema = tables.placeholder


def _named_type(type_: TypeEngine[Any]) -> SchemaType | None:
    match type_:
        case Boolean():  # a SchemaType for the CHECK constraint that other databases need; it has no name
            return None
        case SchemaType():
            return type_
        case ARRAY():
            return _named_type(type_.item_type)
        case TypeDecorator():
            return _named_type(type_.impl_instance)
        case _:
            return None
