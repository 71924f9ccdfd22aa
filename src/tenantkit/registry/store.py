"""Reads and changes of the registry: functions of a connection, in the caller's transaction."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import IntegrityError

from tenantkit.arguments import (
    JSON_OBJECT,
    STORABLE,
    STORABLE_NAME,
    Kind,
    optional,
    require,
    require_options,
    some_of,
    whole,
)
from tenantkit.exceptions import (
    InvalidDomainError,
    InvalidTenantKeyError,
    TenantExistsError,
    TenantMismatchError,
    TenantNotFoundError,
)
from tenantkit.frozen import freeze
from tenantkit.isolation.isolations import Isolations
from tenantkit.naming import is_spare, validate_domain, validate_key
from tenantkit.registry.identity import identity, read_identity, require_row, require_same
from tenantkit.registry.row_values import assign, refusing_values_of_others
from tenantkit.registry.tables import domains, tenants
from tenantkit.status import Status
from tenantkit.tenant import KEY, Placement, Tenant

_domains_of_tenant = (
    select(func.array_agg(aggregate_order_by(domains.c.domain, domains.c.is_primary.desc(), domains.c.domain)))
    .where(domains.c.tenant_id == tenants.c.id)
    .scalar_subquery()
)

_tenant = select(tenants, _domains_of_tenant.label("domains"), identity.label("registry"))


def get(connection: Connection, key: str) -> Tenant:
    """Return the tenant with this key.

    :raises TenantNotFoundError: if there is none.
    """
    row = connection.execute(_tenant.where(_has_key(key))).one_or_none()
    if row is None:
        raise TenantNotFoundError(key=key)
    return _to_tenant(row)


def get_by_id(connection: Connection, tenant_id: int) -> Tenant | None:
    """Return the tenant with this id, whatever its key is now, if there is one."""
    row = connection.execute(_tenant.where(tenants.c.id == tenant_id)).one_or_none()
    return None if row is None else _to_tenant(row)


def get_again(tenant: Tenant, connection: Connection, key: str) -> Tenant:
    """Return the present state of *tenant*, whose key was *key*; it may have another one now.

    :raises TenantMismatchError: if it is of another registry, or it was dropped and another tenant has its key now.
    :raises TenantNotFoundError: if it was dropped.
    """
    now = get_by_id(connection, tenant.id)
    if now is not None and now.registry == tenant.registry:
        return now
    try:
        return require_same(tenant, get(connection, key))
    except TenantNotFoundError:
        if (here := read_identity(connection)) != tenant.registry:
            raise TenantMismatchError.of_registries(tenant.key, tenant.registry, here) from None
        raise


def get_by_domain(connection: Connection, domain: str) -> Tenant:
    """Return the tenant that has this domain, primary or not.

    :raises TenantNotFoundError: if there is none.
    """
    try:
        host = validate_domain(domain)
    except InvalidDomainError as error:
        raise TenantNotFoundError(domain=domain) from error
    owner = select(domains.c.tenant_id).where(domains.c.domain == host).scalar_subquery()
    row = connection.execute(_tenant.where(tenants.c.id == owner)).one_or_none()
    if row is None:
        raise TenantNotFoundError(domain=domain)
    return _to_tenant(row)


def find(
    connection: Connection,
    *,
    status: str | Collection[str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    search: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> list[Tenant]:
    """Return tenants in the order of their keys.

    :param status: only those in this state, or in one of these: `Status`, or its word. By default, all but spares.
    :param attributes: only those whose attributes contain all of these.
    :param search: only those whose key, name or a domain contains this text, in any case.
    :param after: only those after this key: for the next page, the last key of the previous one.
    :param limit: the maximum number of tenants.
    """
    query: Select[Any] = _tenant.order_by(tenants.c.key)
    if status is None:
        query = query.where(tenants.c.status != Status.SPARE)
    else:
        query = query.where(tenants.c.status.in_([status] if isinstance(status, str) else list(status)))
    if attributes:
        query = query.where(tenants.c.attributes.bool_op("@>")(_jsonb(attributes)))
    if search:
        found = tenants.c.key.icontains(search, autoescape=True) | tenants.c.name.icontains(search, autoescape=True)
        query = query.where(
            found
            | tenants.c.id.in_(select(domains.c.tenant_id).where(domains.c.domain.icontains(search, autoescape=True)))
        )
    if after is not None:
        query = query.where(tenants.c.key > after)
    if limit is not None:
        query = query.limit(limit)
    return [_to_tenant(row) for row in connection.execute(query).all()]


_FILTERS: Mapping[str, Kind] = {
    "status": optional(some_of(*Status)),
    "attributes": optional(JSON_OBJECT),
    "search": optional(STORABLE),
    "after": optional(replace(STORABLE, advice=KEY.advice)),
    "limit": optional(whole(0)),
}


def require_filters(filters: Mapping[str, Any]) -> None:
    """Raise unless these are options of `find` that it can use.

    :raises TypeError: if one does not exist or has the wrong type.
    :raises ConfigurationError: if one has a value that cannot be used.
    """
    require_options("list", filters, _FILTERS)


def changed(
    connection: Connection, isolations: Isolations, key: str, change: Callable[..., None], *args: Any, **options: Any
) -> Tenant:
    """Apply *change*, a function of this module or of `domains`, to a tenant, and return its new state.

    :raises TenantNotFoundError: if there is no such tenant.
    """
    change(connection, lock(connection, isolations, key).id, *args, **options)
    return get(connection, key)


def set_row_value(connection: Connection, isolations: Isolations, key: str, value: str) -> Tenant:
    """Set the value of a tenant of the column that the application declares, and return its new state.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises ConfigurationError: if its rows have another value already, or another tenant has this one.
    """
    assign(connection, isolations, lock(connection, isolations, key), value)
    return get(connection, key)


def add(
    connection: Connection,
    *,
    key: str,
    name: str,
    isolation: str,
    placement: Placement,
    claim: str | None,
    attributes: Mapping[str, Any],
    row_value: str | None = None,
) -> Tenant:
    """Enter a new tenant as `Status.PROVISIONING`.

    :raises TenantExistsError: if the key or its schema is taken.
    :raises ConfigurationError: if another tenant has its value of the tenant column.
    """
    row = {
        "key": key,
        "name": name,
        "status": Status.PROVISIONING,
        "isolation": isolation,
        "database": placement.database,
        "schema": placement.schema,
        "claim": claim,
        "attributes": freeze(attributes),
        "row_value": row_value,
    }
    try:
        with connection.begin_nested(), refusing_values_of_others():
            connection.execute(insert(tenants).values(row))
    except IntegrityError as error:
        raise TenantExistsError(key) from error
    return get(connection, key)


def change(
    connection: Connection, tenant_id: int, *, name: str | None = None, attributes: Mapping[str, Any] | None = None
) -> None:
    """Set a tenant's display name, and merge *attributes* into its own; a value of ``None`` removes that attribute."""
    require(name=(name, optional(STORABLE_NAME)), attributes=(attributes, optional(JSON_OBJECT)))
    values: dict[str, Any] = {"updated_at": func.now()}
    if name is not None:
        values["name"] = name
    if attributes:
        kept = {name: value for name, value in attributes.items() if value is not None}
        merged = tenants.c.attributes.op("||")(_jsonb(kept))
        for removed in attributes.keys() - kept.keys():
            merged = merged.op("-")(literal(removed, Text))
        values["attributes"] = merged
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(values))


def lock(connection: Connection, isolations: Isolations, key: str) -> Tenant:
    """Lock a tenant's row until the transaction ends, and return the tenant's present state.

    Of two processes that change a tenant, the second waits and sees the first one's change. Transactions with new rows
    of the tenant in common tables, which lock its key, neither wait nor are waited for.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises TenantUnavailableError: if this version of tenantkit cannot change it.
    """
    if connection.execute(select(tenants.c.id).where(_has_key(key)).with_for_update(key_share=True)).first() is None:
        raise TenantNotFoundError(key=key)
    tenant = get(connection, key)
    isolations.of(tenant)
    return tenant


def lock_by_id(connection: Connection, tenant_id: int) -> bool:
    """Lock a tenant's row and its key until the transaction ends, and return whether it still exists.

    By id, not by key: a new tenant may have the key meanwhile.
    """
    query = select(tenants.c.id).where(tenants.c.id == tenant_id).with_for_update()
    return connection.execute(query).first() is not None


def remove(connection: Connection, tenant_id: int) -> None:
    """Delete a tenant's row with its domains and outcomes; a trigger records it as a former tenant."""
    connection.execute(delete(tenants).where(tenants.c.id == tenant_id))


def rename(connection: Connection, tenant: Tenant, key: str, schema: str) -> Tenant:
    """Give a tenant another key and the name of its schema, and return its new state.

    :raises TenantExistsError: if another tenant has the key or the schema.
    """
    query = update(tenants).where(tenants.c.id == tenant.id)
    try:
        with connection.begin_nested():
            connection.execute(query.values(key=key, schema=schema, updated_at=func.now()))
    except IntegrityError as error:
        raise TenantExistsError(key) from error
    return get(connection, key)


def count_by_database(connection: Connection) -> dict[str, int]:
    """Return the number of tenants, without spares, in each database that has any."""
    query = select(tenants.c.database, func.count().label("tenants")).group_by(tenants.c.database)
    query = query.where(tenants.c.status != Status.SPARE)
    return {row.database: row.tenants for row in connection.execute(query)}


def has_key(connection: Connection, key: str) -> bool:
    """Return whether a tenant has this key."""
    return connection.execute(select(tenants.c.id).where(tenants.c.key == key)).first() is not None


def _jsonb(value: Mapping[str, Any]) -> ColumnElement[Any]:
    return func.to_jsonb(literal(freeze(value), JSON))


def _has_key(key: str) -> ColumnElement[bool]:
    """Return the condition; a string that cannot be a key is not sent, as the server refuses some."""
    if is_spare(key):
        return tenants.c.key == key
    try:
        return tenants.c.key == validate_key(key)
    except InvalidTenantKeyError as error:
        raise TenantNotFoundError(key=key) from error


def _to_tenant(row: Row[Any]) -> Tenant:
    # What was said of the status before a scheduled drop, such as "back soon", is kept for a cancellation only.
    is_said = row.status != Status.DROP_SCHEDULED
    # Thousands of tenants may stay in memory: equal strings are kept once.
    return Tenant(
        id=row.id,
        key=row.key,
        name=row.name,
        status=row.status,
        isolation=row.isolation,
        row_value=row.row_value,
        message=row.message if is_said else None,
        until=row.until if is_said else None,
        placement=Placement(sys.intern(row.database), row.schema),
        domains=tuple(row.domains or ()),
        attributes=row.attributes,
        created_at=row.created_at,
        updated_at=row.updated_at,
        registry=sys.intern(require_row(row.registry)),
        drop_at=row.drop_at,
    )
