"""Tenants for every ASGI framework: a middleware that needs none of them.

The tenant is current for all work of the application in the call: endpoints
(also in worker threads), background tasks, streamed bodies, and a websocket
while it is open. Tasks that the application starts itself keep the tenant that
was current at their start.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from tenantkit.arguments import CALLABLE, FUNCTION, require
from tenantkit.context import current_tenant_or_none, tenant_context
from tenantkit.deployment import TENANCY as _TENANCY
from tenantkit.exceptions import ConfigurationError, TenantNotFoundError, TenantUnavailableError
from tenantkit.resolvers import ByKey, Refusal, RequestView, Resolver, Target
from tenantkit.resolvers.chain import RESOLVER, is_blocking, mounts, resolve_both
from tenantkit.resolvers.request import ReadHeaders, parse_host
from tenantkit.tenancy import Tenancy
from tenantkit.web.admission import (
    REFUSAL,
    TENANCY,
    SharedPaths,
    is_named,
    is_preflight,
    name_of,
    refusal_after,
    refusal_of,
    refusal_on,
)

if TYPE_CHECKING:
    from tenantkit.asyncio import AsyncTenancy
    from tenantkit.tenant import Tenant

__all__ = ["TenantMiddleware", "refuse"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


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

    `tenantkit.web.admission` describes which requests are refused. A websocket is refused before it is accepted.
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

        :param tenancy: the tenancy of the tenants. A `Tenancy` queries the database in a thread.
        :param resolver: returns the tenant of a request.
        :param shared: the paths of routes that need no tenant; see `tenantkit.web.admission.SharedPaths`.
        :param refuse: returns the response to a refused request: any ASGI application, such as a Starlette response.
        :raises TypeError: if an argument has the wrong type.
        :raises ConfigurationError: if *resolver* has a `PathPrefix`, and *app* is one route of Litestar or Starlette.
        """
        require(
            app=(app, CALLABLE),
            tenancy=(getattr(tenancy, "sync", tenancy), _TENANCY),
            resolver=(resolver, RESOLVER),
            refuse=(refuse, FUNCTION),
        )
        if mounts(resolver) and _is_routed(app):
            raise ConfigurationError(
                "PathPrefix takes a part off the path, but here the middleware would run after the router. Wrap the "
                "whole application: app = TenantMiddleware(app, tenancy, resolver=...)."
            )
        self.app = app
        self._tenancy = tenancy
        self._directory = tenancy if isinstance(tenancy, Tenancy) else tenancy.sync
        self._resolver = resolver
        self._shared = SharedPaths(shared)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket; other events, such as lifespan, are passed through."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = _headers(scope)
        read = ReadHeaders(headers)
        view = _view(scope, headers, read)
        if is_blocking(self._resolver):
            target, by_host = await asyncio.to_thread(resolve_both, self._resolver, view)
        else:
            target, by_host = resolve_both(self._resolver, view)
        # Without an outer middleware, the context may be that of the server's previous request.
        outer = current_tenant_or_none() if TENANCY in scope else None
        if target is None and scope.get(TENANCY) is not self._tenancy:
            outer = None  # it may be a tenant of another registry
        tenant, refusal = await self._admit(target, by_host, outer)
        scope = {**_below(scope, target), TENANCY: self._tenancy}
        send = _vary(send, read)
        if refusal is None:
            current = tenant
        elif self.is_shared(scope) or is_preflight(scope.get("method", ""), headers):
            current = None
            if is_named(target, refusal):
                scope = {**scope, REFUSAL: refusal}
        else:
            await _deny(self._refuse(refusal), scope, receive, send)
            return
        # Also without a tenant: servers start the next request of a connection in the context of the previous one.
        with tenant_context(current):
            answering = _Answering(send)
            try:
                await self.app(scope, receive, answering)
            except TenantUnavailableError as error:
                refusal = refusal_after(error, current)
                if refusal is None or answering.has_begun or scope["type"] != "http":
                    raise
                await self._refuse(refusal)(scope, receive, send)

    def is_shared(self, scope: Scope) -> bool:
        """Return whether the route that *scope* leads to needs no tenant."""
        return _route_path(scope) in self._shared

    async def _admit(
        self, target: Target | Refusal | None, by_host: Target | None, outer: Tenant | None
    ) -> tuple[Tenant | None, Refusal | None]:
        """Return the tenant that a request names, and its refusal, if it is refused."""
        if isinstance(target, Refusal):
            return None, target
        if target is None:
            return outer, refusal_of(self._directory.isolations, outer)
        try:
            tenant = await self._find(target)
            others = [outer, await self._find(by_host) if by_host is not None else None]
        except Exception as error:  # noqa: BLE001 - refusal_on raises what it does not know
            return None, refusal_on(error)
        return tenant, refusal_of(self._directory.isolations, tenant, *others)

    async def _find(self, target: Target) -> Tenant | None:
        """Look a tenant up without blocking the event loop."""
        tenancy = self._tenancy
        cache, name = self._directory.cache, name_of(target)
        if (known := cache.find(name)) is not None or cache.is_missing(name):
            return known
        try:
            if isinstance(tenancy, Tenancy):
                if isinstance(target, ByKey):
                    return await asyncio.to_thread(tenancy.get, target.key)
                return await asyncio.to_thread(tenancy.get_by_domain, target.domain)
            if isinstance(target, ByKey):
                return await tenancy.get(target.key)
            return await tenancy.get_by_domain(target.domain)
        except TenantNotFoundError:
            return None


class _Answering:
    """Sends the response of an application, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        await self._send(message)


def _is_routed(app: object) -> bool:
    """Return whether *app* is the object that Litestar or Starlette passes to the middleware of one route."""
    module: str = getattr(app if inspect.isroutine(app) else type(app), "__module__", "")
    if module.startswith("starlette.routing"):
        return inspect.isroutine(app)
    return module.startswith("litestar.") and module != "litestar.app"


def _view(scope: Scope, headers: Mapping[str, str], read: ReadHeaders) -> RequestView:
    session = scope.get("session")
    return RequestView(
        host=parse_host(headers.get("host", "")),
        path=_route_path(scope),
        headers=read,
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
    """Return the path below the root path, also for servers that omit the root from the path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    below = path.removeprefix(root)
    return below if below != path and below[:1] in {"", "/"} else path


def _below(scope: Scope, target: Target | Refusal | None) -> Scope:
    """Return *scope* with the prefix that named the tenant as part of the application's root."""
    if not isinstance(target, ByKey) or not target.prefix:
        return scope
    root = scope.get("root_path", "").rstrip("/")
    below = {**scope, "root_path": root + target.prefix, "path": root + _route_path(scope)}
    if "router" in scope:
        mount = root.removeprefix(scope.get("app_root_path", "").rstrip("/"))
        below["router"] = _PrefixedRouter(scope["router"], mount, target.prefix)
    return below


class _PrefixedRouter:
    """Builds URLs for an application that Starlette has mounted: its ``url_for`` uses the outermost router.

    That one knows the mount, but not the prefix behind it.
    """

    def __init__(self, router: Any, mount: str, prefix: str) -> None:
        self._router = router
        self._mount = mount
        self._prefix = prefix

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        path = self._router.url_path_for(name, **path_params)
        below = path.removeprefix(self._mount)
        if below[:1] not in {"", "/"} or len(below) + len(self._mount) != len(path):
            return path
        return type(path)(self._mount + self._prefix + below, path.protocol, path.host)


def _vary(send: Send, headers: ReadHeaders) -> Send:
    """Return a *send* that adds to the response's ``Vary`` the headers that name the tenant."""
    if headers.vary() is None:
        return send

    async def send_with_vary(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            others: list[tuple[bytes, bytes]] = []
            present: list[str] = []
            for name, value in message.get("headers", ()):
                if name.lower() == b"vary":
                    present.append(value.decode("latin-1"))
                else:
                    others.append((name, value))
            if (vary := headers.vary(*present)) is not None:
                message = {**message, "headers": [*others, (b"vary", vary.encode("latin-1"))]}
        await send(message)

    return send_with_vary


async def _deny(response: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
    await response(scope, receive, send)
