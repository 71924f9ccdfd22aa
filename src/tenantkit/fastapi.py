"""Tenants for FastAPI (extra ``tenantkit[fastapi]``).

::

    from typing import Annotated
    from fastapi import Depends, FastAPI
    from sqlalchemy import select
    from tenantkit.fastapi import CurrentTenant, TenantKit, TenantMiddleware, shared
    from tenantkit.resolvers import PathPrefix, Subdomain, first_of

    app = FastAPI()
    app.add_middleware(
        TenantMiddleware, tenancy=tenancy, resolver=first_of(PathPrefix("/t"), Subdomain("example.com"))
    )
    kit = TenantKit(tenancy)
    SessionDep = Annotated[AsyncTenantSession, Depends(kit.async_session)]

    @app.get("/projects")
    async def projects(session: SessionDep, tenant: CurrentTenant) -> list[str]:
        return list(await session.scalars(select(Project.name)))

    @app.get("/login", dependencies=[shared])
    async def login(): ...

The middleware finds the tenant and refuses requests without one; dependencies only read it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, HTTPException
from fastapi.routing import iter_route_contexts
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection
from starlette.routing import Match
from typing_extensions import override

from tenantkit.admission import REFUSAL, Refusal
from tenantkit.asgi import TenantMiddleware as ASGIMiddleware
from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession
from tenantkit.context import current_tenant
from tenantkit.exceptions import ConfigurationError
from tenantkit.sessions import TenantSession
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import Tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute

    from tenantkit.asgi import Scope


async def _no_tenant_needed() -> None:
    """Mark a route; see `shared`."""


shared = Depends(_no_tenant_needed)
"""Marks a route or a router as needing no tenant.

::

    @app.get("/login", dependencies=[shared])

    accounts = APIRouter(prefix="/accounts", dependencies=[shared])
"""


async def _refuse_unserved(connection: HTTPConnection) -> None:
    refusal: Refusal | None = connection.scope.get(REFUSAL)
    if refusal is not None:
        raise HTTPException(refusal.status, refusal.detail, refusal.headers)


refuse_unserved = Depends(_refuse_unserved)
"""Refuses a request for a tenant that is unknown or not active, on a shared route as on any other.

For pages that need no tenant, but would look odd at the address of one that does not exist::

    @app.get("/login", dependencies=[shared, refuse_unserved])
"""


async def _current_tenant() -> Tenant:
    return current_tenant()


CurrentTenant = Annotated[Tenant, Depends(_current_tenant)]
"""An endpoint's parameter that is the tenant the request is for."""


class TenantMiddleware(ASGIMiddleware):
    """`tenantkit.asgi.TenantMiddleware` that also knows the routes marked `shared`."""

    @override
    def is_shared(self, scope: Scope) -> bool:
        """Return whether the route that *scope* leads to needs no tenant."""
        return super().is_shared(scope) or _leads_to_shared(scope.get("app", self.app).routes, scope)


class TenantKit:
    """The dependencies of an application that serves the tenants of *tenancy*.

    Sessions are plain ones: an endpoint commits what it wants to keep. They
    are rolled back and closed when FastAPI ends the dependency, which is after
    the response, its streamed body and background tasks, or when a websocket is
    closed; ``Depends(kit.session, scope="function")`` ends it before the response is sent.
    """

    def __init__(self, tenancy: Tenancy | AsyncTenancy) -> None:
        self._tenancy = tenancy

    def session(self) -> Generator[TenantSession]:
        """Open a session for the current tenant, for endpoints that are plain functions."""
        with self._sync.session() as session:
            yield session

    def shared_session(self) -> Generator[Session]:
        """Open a session for shared tables, for endpoints that are plain functions."""
        with self._sync.shared_session() as session:
            yield session

    async def async_session(self) -> AsyncGenerator[AsyncTenantSession]:
        """Open a session for the current tenant; needs an `AsyncTenancy`."""
        async with self._async.session() as session:
            yield session

    async def async_shared_session(self) -> AsyncGenerator[AsyncSession]:
        """Open a session for shared tables; needs an `AsyncTenancy`."""
        async with self._async.shared_session() as session:
            yield session

    @property
    def _sync(self) -> Tenancy:
        return self._tenancy if isinstance(self._tenancy, Tenancy) else self._tenancy.sync

    @property
    def _async(self) -> AsyncTenancy:
        if isinstance(self._tenancy, AsyncTenancy):
            return self._tenancy
        raise ConfigurationError("Asynchronous sessions need TenantKit(AsyncTenancy(...)); this kit has a Tenancy.")


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
