"""Tenants for every WSGI framework: a middleware that needs none of them.

The application and the body it returns run in a context of their own, so the
tenant is current while a streamed body is produced and closed, and neither the
tenant nor any other context variable stays behind on the server's thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tenantkit.arguments import CALLABLE, FUNCTION, optional, require
from tenantkit.context import copy_context_for, current_tenant_or_none
from tenantkit.deployment import TENANCY as _TENANCY
from tenantkit.exceptions import TenantNotFoundError, TenantUnavailableError
from tenantkit.resolvers import ByKey, Refusal, RequestView, Resolver, Target
from tenantkit.resolvers.chain import RESOLVER, resolve_both
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
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from tenantkit.tenant import Tenant

__all__ = ["TenantMiddleware", "refuse"]


def refuse(refusal: Refusal) -> WSGIApplication:
    """Return the application that answers a refused request, in JSON or plain text."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        content_type, body = refusal.body(environ.get("HTTP_ACCEPT", ""))
        headers = {"Content-Type": content_type, "Content-Length": str(len(body)), "Vary": "Accept", **refusal.headers}
        start_response(f"{refusal.status} {HTTPStatus(refusal.status).phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return app


class TenantMiddleware:
    """Runs *app* for the tenant of each request, or refuses the request.

    ::

        application = TenantMiddleware(
            application, tenancy, resolver=Subdomain("example.com"), shared=["/", "/login", "/static/*"]
        )

    `tenantkit.web.admission` describes which requests are refused.
    """

    def __init__(
        self,
        app: WSGIApplication,
        tenancy: Tenancy,
        *,
        resolver: Resolver,
        shared: Iterable[str] = (),
        load_session: Callable[[WSGIEnvironment], Mapping[str, Any]] | None = None,
        refuse: Callable[[Refusal], WSGIApplication] = refuse,
    ) -> None:
        """Wrap *app*.

        :param tenancy: the tenancy of the tenants.
        :param resolver: returns the tenant of a request.
        :param shared: the paths of routes that need no tenant; see `tenantkit.web.admission.SharedPaths`.
        :param load_session: reads the framework's session, for `SessionValue`.
        :param refuse: returns the response to a refused request: any WSGI application, such as a Werkzeug response.
        :raises TypeError: if an argument has the wrong type.
        """
        require(
            app=(app, CALLABLE),
            tenancy=(tenancy, _TENANCY),
            resolver=(resolver, RESOLVER),
            load_session=(load_session, optional(FUNCTION)),
            refuse=(refuse, FUNCTION),
        )
        self.app = app
        self._tenancy = tenancy
        self._resolver = resolver
        self._shared = SharedPaths(shared)
        self._load_session = load_session
        self._refuse = refuse

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        headers = _headers(environ)
        read = ReadHeaders(headers)
        target, by_host = resolve_both(self._resolver, self._view(environ, headers, read))
        # Without an outer middleware, the context may be that of the server's previous request.
        outer = current_tenant_or_none() if TENANCY in environ else None
        if target is None and environ.get(TENANCY) is not self._tenancy:
            outer = None  # it may be a tenant of another registry
        tenant, refusal = self._admit(target, by_host, outer)
        environ = {**_below(environ, target), TENANCY: self._tenancy}
        start_response = _vary(start_response, read)
        if refusal is not None:
            if _path(environ) not in self._shared and not is_preflight(environ["REQUEST_METHOD"], headers):
                return self._refuse(refusal)(environ, start_response)
            if is_named(target, refusal):
                environ[REFUSAL] = refusal
            tenant = None
        context = copy_context_for(tenant)
        answering = _Answering(start_response)

        def refuse_after(error: TenantUnavailableError) -> Iterable[bytes]:
            if (after := refusal_after(error, tenant)) is None:
                raise error
            return self._refuse(after)(environ, answering.again)

        try:
            body = context.run(self.app, environ, answering)
        except TenantUnavailableError as error:
            return refuse_after(error)
        # A list is finished: no code of the application runs when the server reads it.
        return body if isinstance(body, list) else _Body(context, body, refuse_after)

    def _view(self, environ: WSGIEnvironment, headers: Mapping[str, str], read: ReadHeaders) -> RequestView:
        load = self._load_session
        return RequestView(
            host=parse_host(headers.get("host", "")),
            path=_path(environ),
            headers=read,
            load_session=None if load is None else lambda: load(environ),
        )

    def _admit(
        self, target: Target | Refusal | None, by_host: Target | None, outer: Tenant | None
    ) -> tuple[Tenant | None, Refusal | None]:
        """Return the tenant that a request names, and its refusal, if it is refused."""
        if isinstance(target, Refusal):
            return None, target
        if target is None:
            return outer, refusal_of(self._tenancy.isolations, outer)
        try:
            tenant = self._find(target)
            others = [outer, self._find(by_host) if by_host is not None else None]
        except Exception as error:  # noqa: BLE001 - refusal_on raises what it does not know
            return None, refusal_on(error)
        return tenant, refusal_of(self._tenancy.isolations, tenant, *others)

    def _find(self, target: Target) -> Tenant | None:
        cache, name = self._tenancy.cache, name_of(target)
        if (known := cache.find(name)) is not None or cache.is_missing(name):
            return known
        try:
            if isinstance(target, ByKey):
                return self._tenancy.get(target.key)
            return self._tenancy.get_by_domain(target.domain)
        except TenantNotFoundError:
            return None


class _Answering:
    """Starts the response of an application, and knows whether it has begun."""

    def __init__(self, start_response: StartResponse) -> None:
        self._start_response = start_response
        self.has_begun = False

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.has_begun = True
        return self._start_response(*arguments, **options)

    def again(self, status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        """Start another response, while an error is handled.

        The server replaces the application's headers, or raises the error if it has sent them.
        """
        return self._start_response(status, headers, *([sys.exc_info()] if self.has_begun else []))


class _Body:
    """A response body whose every step runs in the request's context."""

    def __init__(
        self,
        context: Context,
        body: Iterable[bytes],
        refuse_after: Callable[[TenantUnavailableError], Iterable[bytes]],
    ) -> None:
        self._context = context
        self._body = body
        self._refuse_after = refuse_after
        self._chunks = context.run(iter, body)
        self._is_sent = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = self._context.run(next, self._chunks)
        except TenantUnavailableError as error:
            if self._is_sent:
                raise
            self._chunks = iter(self._refuse_after(error))
            chunk = next(self._chunks)
        self._is_sent = self._is_sent or bool(chunk)
        return chunk

    def close(self) -> None:
        if (close := getattr(self._body, "close", None)) is not None:
            self._context.run(close)


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    return {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}


def _vary(start_response: StartResponse, headers: ReadHeaders) -> StartResponse:
    """Return a *start_response* that adds to the response's ``Vary`` the headers that name the tenant."""
    if headers.vary() is None:
        return start_response

    def start_with_vary(status: str, fields: list[tuple[str, str]], *exc_info: Any) -> Any:
        present = [value for name, value in fields if name.lower() == "vary"]
        if (vary := headers.vary(*present)) is not None:
            fields = [*((name, value) for name, value in fields if name.lower() != "vary"), ("Vary", vary)]
        return start_response(status, fields, *exc_info)

    return start_with_vary


def _path(environ: WSGIEnvironment) -> str:
    """Return the path as text: WSGI carries its bytes as Latin-1."""
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode("utf-8", "replace")


def _below(environ: WSGIEnvironment, target: Target | Refusal | None) -> WSGIEnvironment:
    """Return *environ* with the prefix that named the tenant as part of the application's root."""
    if not isinstance(target, ByKey) or not target.prefix:
        return environ
    prefix = target.prefix
    return {
        **environ,
        "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + prefix,
        "PATH_INFO": environ.get("PATH_INFO", "").removeprefix(prefix),
    }
