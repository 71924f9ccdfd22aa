"""The proof that an application shows no tenant another one's rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import select
from sqlalchemy.orm import undefer

from tenantkit.arguments import CALLABLE, FUNCTION, MAPPING, TEXTS, optional, require
from tenantkit.deployment import TENANCY
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.status import Status
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import Tenant
from tenantkit.testing.canaries import Canaries, Canary
from tenantkit.testing.clients import REQUESTS, SAFE, Client, Request
from tenantkit.testing.databases import AnyTenancy, sync_tenancy
from tenantkit.testing.driving import Driver
from tenantkit.testing.models import extends_another, mappers_of, text_of
from tenantkit.testing.planting import Factory, plant
from tenantkit.testing.report import IsolationReport, LeakError, UnprovenWarning
from tenantkit.testing.routes import Route, routes_of
from tenantkit.testing.transports import open_transport

Contents: TypeAlias = dict[str, list[str]]


def assert_isolated(
    tenancy: AnyTenancy,
    app: Any = None,
    *,
    tenants: Collection[str] | None = None,
    base_url: Callable[[Tenant], str] = lambda tenant: f"http://{tenant.key}.localhost",
    login: Callable[[Client], object] | None = None,
    factories: Mapping[Any, Factory] | None = None,
    requests: Collection[Request] = (),
    parameters: Mapping[str, Any] | None = None,
    skip: Collection[str] = (),
) -> IsolationReport:
    """Prove that neither of two tenants sees rows of the other: in a session, in a response or in a log record.

    Rows that can be recognised are planted in both tenants, which are committed: the test asks for the fixture
    ``database_copy``. Every mapped model is loaded by a session, and every route of *app* is called as each of the
    tenants, with values of its own rows; as the first one, also with those of the other one's.

    :param app: a Flask or FastAPI application, or any WSGI or ASGI application with *requests*.
    :param tenants: the keys of the two tenants; by default, the first two active ones.
    :param base_url: returns the URL of a tenant.
    :param login: is called with a `Client` of each tenant, to log in or to set its ``headers``.
    :param factories: a function for each model whose rows cannot be generated; see `plant`.
    :param requests: further requests, or the ones to make for routes whose bodies cannot be generated.
    :param parameters: the mapped attributes that parameters mean whose names do not tell, such as
        ``{"slug": Article.key}``.
    :param skip: routes not to call, such as ``"POST /logout"``.
    :raises LeakError: if one tenant has seen a canary of the other, which says where; or if nothing is proven, since
        no tenant has seen its own.
    :raises ConfigurationError: if rows or requests cannot be made.

    Routes that could not be driven, such as those that only answered 404, and exceptions of routes are listed in the
    report and by an `UnprovenWarning`.
    """
    sync = sync_tenancy(tenancy)
    require(
        tenancy=(sync, TENANCY),
        app=(app, optional(CALLABLE)),
        tenants=(tenants, optional(TEXTS)),
        base_url=(base_url, FUNCTION),
        login=(login, optional(FUNCTION)),
        factories=(factories, optional(MAPPING)),
        requests=(requests, REQUESTS),
        parameters=(parameters, optional(MAPPING)),
        skip=(skip, TEXTS),
    )
    own, other = _two_tenants(sync, tenants)
    canaries = plant(sync, [own, other], factories)
    report = IsolationReport()
    for tenant in (other, own):
        _check_models(sync, tenant, canaries, report)
    if app is not None:
        routes, document = _routes(app, requests, skip)
        driver = Driver(canaries, report, document, parameters or {}, own.key)
        with open_transport(app, tenancy) as transport, driver.watching():
            clients = [Client(transport, tenant, base_url(tenant)) for tenant in (own, other)]
            if login is not None:
                for client in clients:
                    login(client)
            _drive(driver, clients, routes, partial(_contents, sync, other))
        driver.conclude()
        for tenant in (own, other):
            if not report.leaks and tenant.key not in driver.seen:
                raise LeakError(
                    f"This has proven nothing: no response to {tenant.key} had any of its own rows. Does login= log "
                    f"in, and does base_url= lead to the tenant?\n{report.summary()}"
                )
    if report.leaks:
        raise LeakError("\n".join(["Tenants see rows of each other:", *(f"  {each}" for each in report.leaks)]))
    if summary := report.summary():
        warnings.warn(summary, UnprovenWarning, stacklevel=2)
    return report


def _two_tenants(tenancy: Tenancy, keys: Collection[str] | None) -> list[Tenant]:
    found = tenancy.list(status=Status.ACTIVE, limit=2) if keys is None else [tenancy.get(key) for key in keys]
    if len(found) != 2:  # noqa: PLR2004 - tenants of which neither must see the other
        raise ConfigurationError(f"It takes two active tenants, and there are {len(found)}: create them, or name two.")
    return found


def _routes(app: Any, requests: Collection[Request], skip: Collection[str]) -> tuple[list[Route], Mapping[str, Any]]:
    routes, document = routes_of(app, requests)
    if unknown := {*skip} - {each.name for each in routes}:
        raise ConfigurationError(f"skip= names {min(unknown)!r}, which the application has no route for.")
    return [each for each in routes if each.name not in skip], document


def _drive(driver: Driver, clients: list[Client], routes: list[Route], contents: Callable[[], Contents]) -> None:
    own, other = clients
    reading = [each for each in routes if each.method in SAFE]
    changing = [each for each in routes if each.method not in SAFE]
    # The other one first, so that what the application keeps of its responses, objects or sessions can reach this one.
    driver.drive(other, reading)
    driver.drive(own, reading, foreign=other.tenant.key)
    before = contents()
    driver.drive(own, changing, foreign=other.tenant.key)
    for table, rows in contents().items():
        if changed := sorted({*rows} ^ {*before[table]}):
            canary = Canary(other.tenant.key, table, changed[0])
            driver.report.add(own.tenant.key, f"The rows of {other.tenant.key} are not what they were", [canary])
    driver.drive(other, reading)


def _contents(tenancy: Tenancy, tenant: Tenant) -> Contents:
    """Return all rows of a tenant as text, by table."""
    with tenancy.session(tenant) as session:
        return {table.name: [str(row) for row in session.execute(select(table))] for table in tenancy.tables.tenant}


def _check_models(tenancy: Tenancy, tenant: Tenant, canaries: Canaries, report: IsolationReport) -> None:
    """Load all objects of each model as *tenant*."""
    for mapper in mappers_of(tenancy.tables.tenant):
        name = mapper.class_.__name__
        try:
            with tenancy.session(tenant) as session:
                found = session.scalars(select(mapper.class_).options(undefer("*"))).unique()
                text = " ".join(map(text_of, found))
        except Exception as error:  # noqa: BLE001 - of types and listeners of the application's own
            report.errors[name] = f"its rows cannot be loaded: {type(error).__name__}: {as_clause(error)}"
            continue
        report.add(tenant.key, f"a session that loads {name}", canaries.of_others(text, tenant.key))
        if canaries.of(tenant.key, text):
            report.proven.add(name)
        elif extends_another(mapper):
            report.unproven[name] = "rows that continue those of another table are not planted"
        elif canaries.of(tenant.key, str(canaries.rows_of(tenant.key, mapper.class_))):
            report.unproven[name] = "a session did not find the planted rows"
