"""Classification of tables as shared tables and tenant tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ForeignKey, MetaData, Table
from sqlalchemy.exc import NoReferencedTableError

from tenantkit.arguments import instance
from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import first_lines
from tenantkit.schema_objects import Sides, adopt, create_by_side

NO_TENANT_SCHEMA = "tenantkit_no_tenant"
"""The schema that replaces the placeholder without a tenant. It never exists, so statements fail."""


def _advise_metadata(name: str, value: object) -> str | None:
    if not isinstance(getattr(value, "metadata", None), MetaData):
        return None
    return f"Pass its metadata: {name}={value.__name__ if isinstance(value, type) else '...'}.metadata."


METADATA = instance(MetaData, "a MetaData", _advise_metadata)


class Metadata(NamedTuple):
    """The metadata objects in which an application declares its tables."""

    shared: MetaData | None
    tenant: MetaData


@dataclass(frozen=True, slots=True)
class Tables:
    """An application's tables, divided into shared tables and tenant tables."""

    placeholder: str | None
    shared: tuple[Table, ...]
    tenant: tuple[Table, ...]


def classify(
    shared: MetaData | None, tenant: MetaData, *, placeholder: str | None, by_revisions: bool = False
) -> Tables:
    """Divide the declared tables into shared tables and tenant tables.

    *shared* may be ``None``, or the same object as *tenant*: then the
    schema of each table decides. *by_revisions* means that revisions
    create the tables.

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
    if shared is None:
        _require_tenant_tables(found)
    _require_schemas(found, is_one=shared is None or shared is tenant)
    _require_no_reference_to_tenants(found)
    sides = Sides(placeholder, found.shared, found.tenant, tenant)
    adopt(sides, by_revisions=by_revisions)
    create_by_side(sides, shared)
    return found


def shared_schemas(metadata: Metadata, tables: Tables) -> tuple[str, ...]:
    """Return the real schemas of shared tables, beginning with that of the shared metadata."""
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
            if referenced_table(key) == ("tenantkit", "tenants") and not _is_resolved(key):
                raise ConfigurationError(
                    f"The table {table.key} references tenantkit.tenants by name, but its metadata does not have that "
                    "table. Write ForeignKey(tenants.c.id), with: from tenantkit.registry.tables import tenants"
                )
    for table in tables.shared:
        for key in table.foreign_keys:
            target = ".".join(filter(None, referenced_table(key)))
            if target in tenant_keys:
                raise ConfigurationError(
                    f"The shared table {table.key} references the tenant table {target}: a row that all tenants see "
                    "cannot point into one tenant's schema. Turn the reference round, or make both tenant tables."
                )


def referenced_table(key: ForeignKey) -> tuple[str | None, str]:
    """Return the schema and the name of the table that *key* references, which its metadata need not have."""
    if hasattr(key, "target_tokens"):  # since SQLAlchemy 2.1; its names may contain dots
        return key.target_tokens.schema, key.target_tokens.table_name or ""
    schema, _, name = key.target_fullname.rpartition(".")[0].rpartition(".")
    return schema or None, name


def _is_resolved(key: ForeignKey) -> bool:
    try:
        _ = key.column
    except NoReferencedTableError:
        return False
    return True


def _require_tenant_tables(tables: Tables) -> None:
    """Raise if there are no tenant tables, which cannot be intended."""
    if tables.tenant or not tables.shared:
        return
    if tables.placeholder is None:
        advice = "Declare them without a schema, as placeholder=None says, or pass placeholder= the schema they have."
    elif bare := [table.name for table in tables.shared if table.schema is None]:
        advice = (
            f"If each tenant has its own {first_lines(bare)}, pass placeholder=None: then tables without a schema are "
            "tenant tables. If some of these are shared, declare tenant tables with "
            f"MetaData(schema={tables.placeholder!r}), and shared ones with the real schema that they are in."
        )
    else:
        advice = (
            f"Declare tenant tables with MetaData(schema={tables.placeholder!r}), or pass placeholder= the schema they "
            "have, if no real schema has that name."
        )
    raise ConfigurationError(
        f"No table carries the placeholder schema {tables.placeholder!r}, so nothing would be kept per tenant. {advice}"
    )


def _require_schemas(tables: Tables, *, is_one: bool) -> None:
    if bare := [table.name for table in tables.shared if table.schema is None]:
        if is_one:
            raise ConfigurationError(
                f"Tables without a schema: {first_lines(bare)}. If each tenant has its own, declare them with "
                f"MetaData(schema={tables.placeholder!r}); if all tenants share them, name the real schema they are in."
            )
        raise ConfigurationError(
            f"Shared tables without a schema: {first_lines(bare)}. Name it, be it MetaData(schema='public'): "
            "without one, they would be looked up along the search_path, which leads to the tenant's schema."
        )
