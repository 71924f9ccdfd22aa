"""A client that calls a WSGI or ASGI application in this process, as one tenant."""

from __future__ import annotations

import json as json_module
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Protocol, cast
from urllib.parse import quote, urlencode, urlsplit

from tenantkit.arguments import Kind
from tenantkit.tenant import Tenant

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to make, as each tenant.

    ``{name}`` in the path, also in its query, stands for a value of a canary row, as in a route of the application.
    """

    method: str
    path: str
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


REQUESTS = Kind(
    "a collection of tenantkit.testing.Request",
    lambda each: isinstance(each, Collection) and all(isinstance(request, Request) for request in cast("Any", each)),
)


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    error: BaseException | None = None
    """The exception that the application raised, if it did not handle it."""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Message:
    """A request as the application receives it."""

    method: str
    host: str
    port: int
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes


class Transport(Protocol):
    """Calls an application."""

    def send(self, message: Message, /) -> Response:
        """Return the application's response, once it has ended all work for it."""
        ...


class Client:
    """A visitor of one tenant, who keeps cookies."""

    def __init__(self, transport: Transport, tenant: Tenant, base_url: str) -> None:
        self.tenant = tenant
        self.base_url = base_url.rstrip("/")
        self.headers: dict[str, str] = {}
        """Headers of each request, such as ``Authorization``."""
        self.cookies: dict[str, str] = {}
        self._transport = transport

    def get(self, path: str, **options: Any) -> Response:
        """Send a GET request; see `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Response:
        """Send a POST request; see `request`."""
        return self.request("POST", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request to *path* below the tenant's URL, with a body of *json* or of a *form*.

        Redirects are not followed.
        """
        url = urlsplit(self.base_url + path)
        body, kind = b"", None
        if json is not None:
            body, kind = json_module.dumps(json).encode(), "application/json"
        elif form is not None:
            body, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
        sent = {"Host": url.netloc, "Accept": "*/*", **self.headers, **(headers or {})}
        if kind is not None:
            sent |= {"Content-Type": kind, "Content-Length": str(len(body))}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self._transport.send(
            Message(method, url.hostname or "localhost", url.port or 80, url.path, url.query, [*sent.items()], body)
        )
        for name, value in response.headers:
            if name.lower() == "set-cookie":
                self._take(value)
        return response

    def _take(self, header: str) -> None:
        for name, cookie in SimpleCookie(header).items():
            if cookie["max-age"] == "0" or not cookie.value or "1970" in cookie["expires"]:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = cookie.coded_value


def encode(value: object) -> str:
    """Return *value* as a segment of a path, or in a query."""
    return quote(str(value), safe="")
