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
from tenantkit.frozen import freeze
from tenantkit.isolation import schemas
from tenantkit.lifecycle.attendance import attending, is_unattended
from tenantkit.lifecycle.drop import finish
from tenantkit.naming import schema_name
from tenantkit.postgres.errors import reason, sqlstate
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.retry import retrying
from tenantkit.registry import applications, domains, store
from tenantkit.registry.applications import Application
from tenantkit.registry.grants import let_use_schema
from tenantkit.registry.tables import tenants
from tenantkit.status import Status
from tenantkit.tenant import MAIN_DATABASE, Placement, Tenant, require_supported
from tenantkit.user_code import with_place

if TYPE_CHECKING:
    from tenantkit.sessions.session import TenantSession

Seed: TypeAlias = "Callable[[TenantSession], object]"
"""Fills a new tenant, in a session of its own that commits with everything else."""

_UNFINISHED = (Status.PROVISIONING, Status.FAILED)
_CLAIMING = "claiming the key"
_NEW_ENUM_VALUE = "55P04"
"""unsafe_new_enum_value_usage: before PostgreSQL 17, what ALTER TYPE adds cannot be used until it is committed."""


class Builder(Protocol):
    """Makes a tenant's tables in an empty schema, within the caller's transaction."""

    def __call__(self, connection: Connection, placement: Placement) -> None:
        """Make them."""

    def in_steps(self, connection: Connection, placement: Placement) -> None:
        """Make them in transactions of its own, on a connection that has none."""

    def explain(self, connection: Connection, error: Exception) -> str | None:
        """Return why they could not be made, where more can be said than *error* does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of a new tenant; all of it has been validated."""

    key: str
    name: str
    application: Application
    database: str = MAIN_DATABASE
    domains: Sequence[str] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    grant_to: Sequence[str] = ()


def create(
    connection: Connection, order: Order, *, build: Builder, seed: Callable[[Connection, Tenant], None]
) -> Tenant:
    """Create a tenant, or finish one whose creation failed or died; return it, active.

    Needs a connection without a transaction: it commits twice.

    :raises TenantExistsError: if the key is taken, or being provisioned by another process.
    :raises DomainExistsError: if a domain is taken.
    :raises ProvisioningError: if a step failed. The tenant is then `Status.FAILED`, and the next call starts afresh.
    """
    claim = uuid4().hex
    with connection.begin():
        applications.claim(connection, order.application)
        doomed = store.get(connection, order.key) if _lock_row(connection, order.key) == Status.DROPPING else None
    if doomed is not None:
        finish(connection, doomed)
    with connection.begin():
        tenant = _claim(connection, order, claim)
    progress = _Progress()
    try:
        try:
            for attempt in retrying():
                with attempt, connection.begin():
                    _begin(connection, tenant, claim, progress, order.grant_to)
                    build(connection, tenant.placement)
                    tenant = _complete(connection, tenant, seed, progress)
        except DBAPIError as error:
            if sqlstate(error) != _NEW_ENUM_VALUE:
                raise
            tenant = _create_in_steps(connection, tenant, claim, build, seed, progress, order.grant_to)
    except (Exception, KeyboardInterrupt) as error:
        if progress.step == _CLAIMING and isinstance(error, TenantExistsError):
            raise
        _mark_failed(connection, tenant, claim, f"{progress.step}: {type(error).__name__}")
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ProvisioningError(tenant.key, progress.step, _explain(connection, build, error)) from error
    return tenant


@dataclass(slots=True)
class _Progress:
    step: str = _CLAIMING


def _claim(connection: Connection, order: Order, claim: str) -> Tenant:
    status = _lock_row(connection, order.key)
    if status is None:
        number = 1 + store.count_former(connection, order.key)
        schema = schema_name(order.key, prefix=order.application.schema_prefix, number=number)
        if schemas.read_mark(connection, schema) is not None:
            raise ProvisioningError(order.key, _CLAIMING, f"the schema {schema!r} exists, and is not tenantkit's")
        tenant = store.add(
            connection,
            key=order.key,
            name=order.name,
            placement=Placement(order.database, schema),
            claim=claim,
            attributes=order.attributes,
        )
        # Only now is the key ours: a tenant that had it may have been dropped since they were counted.
        if store.count_former(connection, order.key) >= number:
            raise TenantExistsError(order.key)
    elif status in _UNFINISHED:
        require_supported(store.get(connection, order.key))
        connection.execute(
            tenants.update()
            .where(tenants.c.key == order.key)
            .values(
                status=Status.PROVISIONING,
                claim=claim,
                name=order.name,
                attributes=freeze(order.attributes),
                error=None,
            )
        )
        tenant = store.get(connection, order.key)
    else:
        raise TenantExistsError(order.key)
    domains.replace(connection, tenant.id, order.domains)
    return store.get(connection, order.key)


def _create_in_steps(
    connection: Connection,
    tenant: Tenant,
    claim: str,
    build: Builder,
    seed: Callable[[Connection, Tenant], None],
    progress: _Progress,
    grant_to: Sequence[str],
) -> Tenant:
    """Create a tenant in several transactions, where PostgreSQL does not let it be one.

    Killed in between, it leaves a schema with the tenant's mark, which the next creation or a repair removes.
    """
    with attending(connection, tenant.id):
        with connection.begin():
            _begin(connection, tenant, claim, progress, grant_to)
        build.in_steps(connection, tenant.placement)
        with connection.begin():
            _require_claim(connection, tenant, claim)
            return _complete(connection, tenant, seed, progress)


def _begin(connection: Connection, tenant: Tenant, claim: str, progress: _Progress, grant_to: Sequence[str]) -> None:
    _require_claim(connection, tenant, claim)
    limit_lock_waits(connection)
    progress.step = "creating the schema"
    if schemas.read_mark(connection, tenant.schema) == schemas.mark_of(tenant):
        schemas.drop_schema(connection, tenant.schema)
    schemas.make_schema(connection, tenant)
    let_use_schema(connection, tenant.schema, grant_to)
    progress.step = "creating the tables"


def _complete(
    connection: Connection, tenant: Tenant, seed: Callable[[Connection, Tenant], None], progress: _Progress
) -> Tenant:
    progress.step = "seeding"
    seed(connection, tenant)
    progress.step = "activating"
    return store.transition(connection, tenant.key, Status.ACTIVE, error=None)


def _require_claim(connection: Connection, tenant: Tenant, claim: str) -> None:
    if _lock_row(connection, tenant.key, claim=claim) != Status.PROVISIONING:
        raise TenantExistsError(tenant.key)


def _lock_row(connection: Connection, key: str, *, claim: str | None = None) -> str | None:
    """Lock the registry row of *key* and return its state; ``None`` if there is none (or it has another claim)."""
    query = select(tenants.c.status, tenants.c.id).where(tenants.c.key == key).with_for_update(nowait=True)
    if claim is not None:
        query = query.where(tenants.c.claim == claim)
    try:
        with connection.begin_nested():
            row = connection.execute(query).one_or_none()
    except DBAPIError as error:
        if sqlstate(error) == "55P03":  # another process is at work on this tenant
            raise TenantExistsError(key) from error
        raise
    if row is None:
        return None
    if not is_unattended(connection, row.id):
        raise TenantExistsError(key)
    return str(row.status)


def _explain(connection: Connection, build: Builder, error: Exception) -> str:
    with suppress(SQLAlchemyError), connection.begin():
        return with_place(build.explain(connection, error) or reason(error), error)
    return with_place(reason(error), error)


def _mark_failed(connection: Connection, tenant: Tenant, claim: str, error: str) -> None:
    # If even this cannot be written, the claim stays: without its lock, it counts as dead all the same.
    with suppress(SQLAlchemyError), connection.begin():
        connection.execute(
            tenants.update()
            .where(tenants.c.id == tenant.id, tenants.c.claim == claim)
            .values(status=Status.FAILED, error=error)
        )
