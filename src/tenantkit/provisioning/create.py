"""Bringing a tenant into being.

The key is claimed in a short transaction, which other processes see at once.
Everything else (schema, tables, seed, activation) is one more transaction, so a
process that dies leaves a claim and nothing else. While that transaction runs it
holds the lock of the registry row; a claim whose row is not locked is a dead
one, and the next ``create`` of the key takes it over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from uuid import uuid4

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tenantkit.exceptions import ProvisioningError, TenantExistsError
from tenantkit.provisioning import schemas
from tenantkit.provisioning.drop import finish
from tenantkit.provisioning.locks import limit_lock_waits, reason, retrying, sqlstate
from tenantkit.registry import store
from tenantkit.registry.tables import tenants
from tenantkit.tenant import Placement, Status, Tenant

if TYPE_CHECKING:
    from tenantkit.sessions import TenantSession

Seed: TypeAlias = "Callable[[TenantSession], object]"
"""Fills a new tenant, in a session of its own that commits with everything else."""

_UNFINISHED = (Status.PROVISIONING, Status.FAILED)
_CLAIMING = "claiming the key"


class Builder(Protocol):
    """Makes a tenant's tables in an empty schema, within the caller's transaction."""

    def __call__(self, connection: Connection, placement: Placement) -> None:
        """Make them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of a new tenant; all of it has been validated."""

    key: str
    name: str
    placement: Placement
    domains: Sequence[str] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


def create(
    connection: Connection, order: Order, *, build: Builder, seed: Callable[[Connection, Tenant], None]
) -> Tenant:
    """Create a tenant, or finish one whose creation failed or died; return it, active.

    Needs a connection without a transaction: it commits twice.

    :raises TenantExistsError: if the key is taken, or being provisioned by another process.
    :raises DomainExistsError: if a domain is taken.
    :raises ProvisioningError: if a step failed. The tenant is then `Status.FAILED` without a schema.
    """
    claim = uuid4().hex
    with connection.begin():
        doomed = store.get(connection, order.key) if _lock_row(connection, order.key) is Status.DROPPING else None
    if doomed is not None:
        finish(connection, doomed)
    with connection.begin():
        tenant = _claim(connection, order, claim)
    progress = _Progress()
    try:
        for attempt in retrying():
            with attempt, connection.begin():
                tenant = _build(connection, tenant, claim, build, seed, progress)
    except Exception as error:
        if progress.step == _CLAIMING and isinstance(error, TenantExistsError):
            raise
        _mark_failed(connection, tenant, claim, f"{progress.step}: {type(error).__name__}")
        raise ProvisioningError(tenant.key, progress.step, reason(error)) from error
    return tenant


@dataclass(slots=True)
class _Progress:
    step: str = _CLAIMING


def _claim(connection: Connection, order: Order, claim: str) -> Tenant:
    status = _lock_row(connection, order.key)
    if status is None:
        if schemas.read_mark(connection, order.placement.schema) is not None:
            raise ProvisioningError(
                order.key, _CLAIMING, f"the schema {order.placement.schema!r} exists, and is not tenantkit's"
            )
        tenant = store.add(
            connection,
            key=order.key,
            name=order.name,
            placement=order.placement,
            claim=claim,
            attributes=order.attributes,
        )
    elif status in _UNFINISHED:
        connection.execute(
            tenants.update()
            .where(tenants.c.key == order.key)
            .values(
                status=Status.PROVISIONING, claim=claim, name=order.name, attributes=dict(order.attributes), error=None
            )
        )
        tenant = store.get(connection, order.key)
    else:
        raise TenantExistsError(order.key)
    store.set_domains(connection, tenant.id, order.domains)
    return store.get(connection, order.key)


def _build(
    connection: Connection,
    tenant: Tenant,
    claim: str,
    build: Builder,
    seed: Callable[[Connection, Tenant], None],
    progress: _Progress,
) -> Tenant:
    if _lock_row(connection, tenant.key, claim=claim) is not Status.PROVISIONING:
        raise TenantExistsError(tenant.key)
    limit_lock_waits(connection)
    progress.step = "creating the schema"
    if schemas.read_mark(connection, tenant.schema) == schemas.mark_of(tenant):
        schemas.drop_schema(connection, tenant.schema)
    schemas.make_schema(connection, tenant)
    progress.step = "creating the tables"
    build(connection, tenant.placement)
    progress.step = "seeding"
    seed(connection, tenant)
    progress.step = "activating"
    return store.transition(connection, tenant.key, Status.ACTIVE, claim=None, error=None)


def _lock_row(connection: Connection, key: str, *, claim: str | None = None) -> Status | None:
    """Lock the registry row of *key* and return its state; ``None`` if there is none (or it has another claim)."""
    query = select(tenants.c.status).where(tenants.c.key == key).with_for_update(nowait=True)
    if claim is not None:
        query = query.where(tenants.c.claim == claim)
    try:
        with connection.begin_nested():
            status = connection.execute(query).scalar_one_or_none()
    except DBAPIError as error:
        if sqlstate(error) == "55P03":  # another process is at work on this tenant
            raise TenantExistsError(key) from error
        raise
    return None if status is None else Status(status)


def _mark_failed(connection: Connection, tenant: Tenant, claim: str, error: str) -> None:
    # If even this cannot be written, the claim stays: without its lock, it counts as dead all the same.
    with suppress(SQLAlchemyError), connection.begin():
        connection.execute(
            tenants.update()
            .where(tenants.c.id == tenant.id, tenants.c.claim == claim)
            .values(status=Status.FAILED, error=error)
        )
