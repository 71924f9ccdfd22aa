"""The clone of a tenant: the creation of a tenant whose rows are those of another one, changed on request."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from tenantkit.arguments import FLAG, FUNCTION, JSON_OBJECT, NAME, STORABLE_NAME, instance, one_of, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import TenantExistsError
from tenantkit.lifecycle.order import Order, check_order
from tenantkit.registry import store
from tenantkit.registry.history import Event
from tenantkit.status import Status
from tenantkit.tenant import KEY, Isolation
from tenantkit.transfer.filling import create_filled
from tenantkit.transfer.living import LivingRows, read_living
from tenantkit.transfer.plan import find_complete, known_database, require_revisions
from tenantkit.transfer.results import Cloned, ClonePlan
from tenantkit.transfer.source import require_readable
from tenantkit.transfer.transform import Transform


def clone(
    tenancy: Deployment,
    key: str,
    *,
    as_: str,
    name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    isolation: str | None = None,
    database: str | None = None,
    suspended: bool = False,
    transform: Transform | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> Cloned:
    """Create the tenant *as_* with the rows that the tenant *key* has in one snapshot, at the newest revision.

    The tenant *key* goes on being served meanwhile; its migrations wait. Its domains and its history stay with it. The
    new tenant is not served before it is complete. After a clone that failed or was killed, the same call makes it.

    :param as_: the new tenant's key.
    :param name: its name, by default that of *key*.
    :param attributes: its attributes, by default those of *key*.
    :param isolation: ``schema``, ``database`` or ``row``, by default that of *key*.
    :param database: the database to create it in, or on whose server to; by default that of *key*.
    :param suspended: leave it suspended.
    :param transform: functions that change rows, or leave them out. The foreign keys of what is left are checked.
    :param progress: called before each table with its name, its number, and the number of tables.
    :raises TenantNotFoundError: if there is no tenant *key*.
    :raises TenantUnavailableError: if it is being created or dropped, or this version of tenantkit cannot reach it.
    :raises TenantExistsError: if *as_* is taken, or another process is creating it.
    :raises BackupError: if the rows cannot be copied, or the code cannot make the tables. Nothing was changed then.
    :raises ProvisioningError: if a step failed: so did a function of *transform*, or a row breaks a constraint.
    :raises ConfigurationError: if an argument cannot be used.
    """
    require(tenancy=(tenancy, TENANCY), suspended=(suspended, FLAG), progress=(progress, optional(FUNCTION)))
    chosen: dict[str, Any] = {"name": name, "attributes": attributes, "isolation": isolation, "database": database}
    with _planned(tenancy, key, as_, transform, **chosen) as (connection, active, rows, plan):
        order = replace(active, becomes=Status.SUSPENDED) if suspended else active
        in_steps = transform is not None  # its functions may be slow
        tenant, taken = create_filled(tenancy, connection, order, rows, in_steps=in_steps, progress=progress)
        return Cloned(tenant=tenant, plan=plan, rows=taken)


def preview_clone(
    tenancy: Deployment,
    key: str,
    *,
    as_: str,
    name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    isolation: str | None = None,
    database: str | None = None,
    transform: Transform | None = None,
) -> ClonePlan:
    """Return what `clone` would do with the same arguments, and change nothing; no function of *transform* is called.

    It raises the errors of `clone` that are raised before anything changes.
    """
    require(tenancy=(tenancy, TENANCY))
    chosen: dict[str, Any] = {"name": name, "attributes": attributes, "isolation": isolation, "database": database}
    with _planned(tenancy, key, as_, transform, **chosen) as (*_, plan):
        return plan


@contextmanager
def _planned(
    tenancy: Deployment,
    key: str,
    as_: str,
    transform: Transform | None,
    *,
    name: str | None,
    attributes: Mapping[str, Any] | None,
    isolation: str | None,
    database: str | None,
) -> Generator[tuple[Connection, Order, LivingRows, ClonePlan]]:
    require(
        key=(key, KEY),
        as_=(as_, KEY),
        name=(name, optional(STORABLE_NAME)),
        attributes=(attributes, optional(JSON_OBJECT)),
        isolation=(isolation, optional(one_of(*Isolation))),
        database=(database, optional(NAME)),
        transform=(transform, optional(instance(Transform, "a tenantkit.transfer.Transform"))),
    )
    chosen = Transform() if transform is None else transform
    chosen.require_of(tenancy)
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            source = store.get(connection, key)
            if find_complete(connection, as_) is not None:
                raise TenantExistsError(as_)
        require_readable(tenancy, source)
        order = check_order(
            tenancy,
            as_,
            name=source.name if name is None else name,
            domains=(),
            attributes=source.attributes if attributes is None else attributes,
            database=known_database(tenancy, source.placement.database) if database is None else database,
            isolation=source.isolation if isolation is None else isolation,
            row_value=None,
            policy=tenancy.placement_policy,
            reserved=tenancy.reserved_keys,
        )
        rows = read_living(tenancy, source, chosen)
        origin = {"key": rows.subject} | ({"transformed": list(chosen.names)} if chosen.names else {})
        yield connection, replace(order, origin=(Event.CLONED, origin)), rows, _plan(tenancy, order, rows)


def _plan(tenancy: Deployment, order: Order, rows: LivingRows) -> ClonePlan:
    return ClonePlan(
        source=rows.subject,
        key=order.key,
        name=order.name,
        isolation=str(order.isolation),
        database=order.wanted,
        from_revision=rows.manifest.revision,
        to_revision=require_revisions(tenancy, rows.manifest, rows.subject),
        rows=rows.rows,
        transformed=rows.transform.names,
    )
