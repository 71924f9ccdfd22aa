"""Tenants for every ASGI framework: a middleware that needs none of them.

The tenant is current for all that the application does in the call: endpoints
(also in worker threads), background tasks, streamed bodies, and a websocket
for as long as it is open. Tasks that the application starts by itself keep the
tenant they were started under.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tenantkit.admission import REFUSAL, Refusal, SharedPaths, is_named, refusal_of
from tenantkit.arguments import CALLABLE, FUNCTION, require
from tenantkit.context import tenant_context
from tenantkit.exceptions import TenantNotFoundError
from tenantkit.resolvers import ByDomain, ByKey, RequestView, Resolver, Target, resolve
from tenantkit.resolvers.chain import RESOLVER
from tenantkit.resolvers.request import parse_host
from tenantkit.tenancy import TENANCY as _TENANCY
from tenantkit.tenancy import Tenancy

if TYPE_CHECKING:
    from tenantkit.asyncio import AsyncTenancy
    from tenantkit.tenant import Tenant

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

TENANCY = "tenantkit.tenancy"
"""Where the scope of a request tells by which tenancy it is served."""


def refuse(refusal: Refusal) -> ASGIApp:
    """Return the application that answers a refused request, in JSON or plain text."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        content_type, body = refusal.body(_headers(scope).get("accept", ""))
        headers = {"content-type": content_type, "content-length": str(len(body)), "vary": "accept", **refusal.headers}
        kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": f"{kind}.start", "status": refusal.status, "headers": raw})
        await send({"type": f"{kind}.body", "body": body})

    return app


class TenantMiddleware:
    """Runs *app* for the tenant of each request, or refuses the request.

    ::

        app = TenantMiddleware(
            app, tenancy, resolver=Subdomain("example.com"), shared=["/", "/login", "/static/*"]
        )

    What is refused, and how, `tenantkit.admission` tells. A websocket is refused before it is accepted.
    """

    def __init__(
        self,
        app: ASGIApp,
        tenancy: Tenancy | AsyncTenancy,
        *,
        resolver: Resolver,
        shared: Iterable[str] = (),
        refuse: Callable[[Refusal], ASGIApp] = refuse,
    ) -> None:
        """Wrap *app*.

        :param tenancy: where tenants are looked up. A `Tenancy` is asked in a thread if it has to ask the database.
        :param resolver: tells which tenant a request is for.
        :param shared: the paths of routes that need no tenant; see `tenantkit.admission.SharedPaths`.
        :param refuse: makes the response to a refused request: any ASGI application, such as a Starlette response.
        :raises TypeError: if an argument has the wrong type.
        """
        require(
            app=(app, CALLABLE),
            tenancy=(getattr(tenancy, "sync", tenancy), _TENANCY),
            resolver=(resolver, RESOLVER),
            refuse=(refuse, FUNCTION),
        )
        self.app = app
        self._tenancy = tenancy
        self._resolver = resolver
        self._shared = SharedPaths(shared)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket; what is neither, such as lifespan, is passed through."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        target = resolve(self._resolver, _view(scope))
        tenant = await self._find(target) if target is not None else None
        scope = {**_below(scope, target), TENANCY: self._tenancy}
        refusal = refusal_of(tenant)
        if refusal is None:
            current = tenant
        elif self.is_shared(scope):
            current = None
            if is_named(target, refusal):
                scope = {**scope, REFUSAL: refusal}
        else:
            await _deny(self._refuse(refusal), scope, receive, send)
            return
        # Also without a tenant: servers start the next request of a connection in the context of the one before.
        with tenant_context(current):
            await self.app(scope, receive, send)

    def is_shared(self, scope: Scope) -> bool:
        """Return whether the route that *scope* leads to needs no tenant."""
        return _route_path(scope) in self._shared

    async def _find(self, target: Target) -> Tenant | None:
        """Look a tenant up without blocking the event loop."""
        tenancy = self._tenancy
        try:
            match target:
                case ByKey(key):
                    if not isinstance(tenancy, Tenancy):
                        return await tenancy.get(key)
                    return tenancy.cache.find(("key", key)) or await asyncio.to_thread(tenancy.get, key)
                case ByDomain(domain):
                    if not isinstance(tenancy, Tenancy):
                        return await tenancy.get_by_domain(domain)
                    return tenancy.cache.find(("domain", domain)) or await asyncio.to_thread(
                        tenancy.get_by_domain, domain
                    )
        except TenantNotFoundError:
            return None


def _view(scope: Scope) -> RequestView:
    headers = _headers(scope)
    session = scope.get("session")
    return RequestView(
        host=parse_host(headers.get("host", "")),
        path=_route_path(scope),
        headers=headers,
        load_session=None if session is None else lambda: session,
    )


def _headers(scope: Scope) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            headers[name] += ("; " if name == "cookie" else ",") + value
        else:
            headers[name] = value
    return headers


def _route_path(scope: Scope) -> str:
    """Return the path below the root path; servers that leave the root out of the path are understood too."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    below = path.removeprefix(root)
    return below if below != path and below[:1] in {"", "/"} else path


def _below(scope: Scope, target: Target | None) -> Scope:
    """Return *scope* with the prefix that named the tenant as part of the application's root."""
    if not isinstance(target, ByKey) or not target.prefix:
        return scope
    root = scope.get("root_path", "").rstrip("/")
    return {**scope, "root_path": root + target.prefix, "path": root + _route_path(scope)}


async def _deny(response: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
    await response(scope, receive, send)
