"""Tenants for FastAPI (extra ``tenantkit[fastapi]``).

::

    from typing import Annotated
    from fastapi import Depends, FastAPI
    from sqlalchemy import select
    from tenantkit.fastapi import CurrentTenant, TenantMiddleware, async_tenant_session, shared
    from tenantkit.resolvers import PathPrefix, Subdomain, first_of

    app = FastAPI()
    app.add_middleware(
        TenantMiddleware, tenancy=tenancy, resolver=first_of(Subdomain("example.com"), PathPrefix("/t"))
    )
    SessionDep = Annotated[AsyncTenantSession, Depends(async_tenant_session)]

    @app.get("/projects")
    async def projects(session: SessionDep, tenant: CurrentTenant) -> list[str]:
        return list(await session.scalars(select(Project.name)))

    @app.get("/login", dependencies=[shared])
    async def login(): ...

The middleware finds the tenant and refuses requests without one; dependencies only read it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, HTTPException
from fastapi.routing import iter_route_contexts
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection
from starlette.routing import Match
from typing_extensions import override

from tenantkit.asgi import TenantMiddleware as ASGIMiddleware
from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession
from tenantkit.context import current_tenant
from tenantkit.exceptions import ConfigurationError
from tenantkit.sessions.session import TenantSession
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import Tenant
from tenantkit.web.admission import REFUSAL, TENANCY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute

    from tenantkit.asgi import Scope
    from tenantkit.resolvers import Refusal

__all__ = [
    "CurrentTenant",
    "TenantMiddleware",
    "async_shared_session",
    "async_tenant_session",
    "refuse_unserved",
    "shared",
    "shared_session",
    "tenant_session",
]


async def _no_tenant_needed() -> None:
    """Mark a route; see `shared`."""


shared = Depends(_no_tenant_needed)
"""A dependency that marks a route or a router as needing no tenant.

::

    @app.get("/login", dependencies=[shared])

    accounts = APIRouter(prefix="/accounts", dependencies=[shared])
"""


async def _refuse_unserved(connection: HTTPConnection) -> None:
    refusal: Refusal | None = connection.scope.get(REFUSAL)
    if refusal is not None:
        raise HTTPException(refusal.status, refusal.detail, refusal.headers)


refuse_unserved = Depends(_refuse_unserved)
"""A dependency that refuses a request for an unknown or inactive tenant, also on a shared route.

For pages that need no tenant, but would look odd at the address of one that does not exist::

    @app.get("/login", dependencies=[shared, refuse_unserved])
"""


async def _current_tenant() -> Tenant:
    return current_tenant()


CurrentTenant = Annotated[Tenant, Depends(_current_tenant)]
"""The type of an endpoint's parameter for the tenant of the request."""


class TenantMiddleware(ASGIMiddleware):
    """`tenantkit.asgi.TenantMiddleware` that also knows the routes marked `shared`."""

    @override
    def is_shared(self, scope: Scope) -> bool:
        """Return whether the route that *scope* leads to needs no tenant."""
        return super().is_shared(scope) or _leads_to_shared(_routes(scope.get("app", self.app)), scope)


def tenant_session(connection: HTTPConnection) -> Generator[TenantSession]:
    """Open a session for the current tenant, for endpoints that are plain functions.

    Like the three below, it is a plain session: an endpoint commits its changes. It is
    rolled back and closed when FastAPI ends the dependency, which is after the response, its streamed
    body and background tasks, or when a websocket is closed; ``Depends(tenant_session, scope="function")``
    ends it before the response is sent.
    """
    with _sync_tenancy(connection).session() as opened:
        yield opened


def shared_session(connection: HTTPConnection) -> Generator[Session]:
    """Open a session for shared tables, for endpoints that are plain functions; see `tenant_session`."""
    with _sync_tenancy(connection).shared_session() as opened:
        yield opened


async def async_tenant_session(connection: HTTPConnection) -> AsyncGenerator[AsyncTenantSession]:
    """Open a session for the current tenant, with an `AsyncTenancy`; see `tenant_session`."""
    async with _async_tenancy(connection).session() as opened:
        yield opened


async def async_shared_session(connection: HTTPConnection) -> AsyncGenerator[AsyncSession]:
    """Open a session for shared tables, with an `AsyncTenancy`; see `tenant_session`."""
    async with _async_tenancy(connection).shared_session() as opened:
        yield opened


def _tenancy(connection: HTTPConnection) -> Tenancy | AsyncTenancy:
    tenancy: Tenancy | AsyncTenancy | None = connection.scope.get(TENANCY)
    if tenancy is None:
        raise ConfigurationError("No tenancy serves this application: app.add_middleware(TenantMiddleware, ...).")
    return tenancy


def _sync_tenancy(connection: HTTPConnection) -> Tenancy:
    tenancy = _tenancy(connection)
    return tenancy if isinstance(tenancy, Tenancy) else tenancy.sync


def _async_tenancy(connection: HTTPConnection) -> AsyncTenancy:
    tenancy = _tenancy(connection)
    if isinstance(tenancy, AsyncTenancy):
        return tenancy
    raise ConfigurationError("Asynchronous sessions need TenantMiddleware with an AsyncTenancy; it has a Tenancy.")


def _routes(app: Any) -> Sequence[BaseRoute]:
    """Return the routes of the application that *app* is, or that it wraps as middleware does."""
    inner = app
    while not hasattr(inner, "routes"):
        inner = getattr(inner, "app", None)
        if inner is None:
            raise ConfigurationError(
                f"TenantMiddleware wraps {app!r}, in which it finds no FastAPI application, and so no routes that are "
                "marked as shared. Let it wrap the application itself: app.add_middleware(TenantMiddleware, ...)."
            )
    routes: Sequence[BaseRoute] = inner.routes
    return routes


def _leads_to_shared(routes: Sequence[BaseRoute], scope: Scope) -> bool:
    """Return whether the router would choose a shared route: the first full match, else the first of another method."""
    partial = False
    for route in iter_route_contexts(routes):
        match, below = route.matches(scope)
        if match is Match.NONE:
            continue
        is_shared = any(mark.dependency is _no_tenant_needed for mark in getattr(route, "dependencies", ()))
        if not is_shared and getattr(route, "routes", None):
            is_shared = _leads_to_shared(route.routes, {**scope, **below})
        if match is Match.FULL:
            return is_shared
        partial = partial or is_shared
    return partial
