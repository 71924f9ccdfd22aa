"""The ASGI middleware on plain applications: protocol, contexts, refusals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from sqlalchemy import URL, event
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from tenantkit import ConfigurationError, Status, Tenancy
from tenantkit.asgi import Message, Receive, Scope, Send, TenantMiddleware
from tenantkit.asyncio import AsyncTenancy
from tenantkit.context import current_tenant_or_none
from tenantkit.resolvers import Domain, Header, PathPrefix, Resolver, SessionValue, first_of
from tenantkit.status import SERVED
from tests.support.catalog import set_status
from tests.support.models import APPLICATION

pytestmark = pytest.mark.anyio

RESOLVER = first_of(PathPrefix("/t"), Header("X-Tenant"), Domain())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sync", "asyncio"])
async def served(
    request: pytest.FixtureRequest, tenancy: Tenancy, database: URL
) -> AsyncGenerator[Tenancy | AsyncTenancy]:
    """A synchronous and an asynchronous tenancy."""
    if request.param == "sync":
        yield tenancy
    else:
        asynchronous = AsyncTenancy(database, listen=False, **APPLICATION)
        yield asynchronous
        await asynchronous.close()


def current_key() -> str | None:
    tenant = current_tenant_or_none()
    return tenant.key if tenant else None


async def whoami(scope: Scope, _receive: Receive, send: Send) -> None:
    """Responds with the tenant and the paths that the application gets."""
    body = f"{current_key()} {scope.get('root_path', '')}|{scope['path']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def ask(app: Any, path: str = "/", *headers: tuple[str, str], **scope: Any) -> list[Message]:
    """Return the messages of *app* for one request; a websocket is answered after its connect event was received."""
    sent: list[Message] = []
    received = scope.get("type") != "websocket"

    async def receive() -> Message:
        nonlocal received
        received = True
        return {"type": "websocket.connect" if scope.get("type") == "websocket" else "http.request"}

    async def send(message: Message) -> None:
        assert received
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    await app({"type": "http", "method": "GET", "path": path, "headers": raw, **scope}, receive, send)
    return sent


async def text(app: Any, path: str = "/", *headers: tuple[str, str], **scope: Any) -> str:
    body: bytes = (await ask(app, path, *headers, **scope))[1]["body"]
    return body.decode()


async def test_the_prefix_becomes_part_of_the_root_path(served: Tenancy | AsyncTenancy) -> None:
    app = TenantMiddleware(whoami, served, resolver=RESOLVER, shared=["/login"])
    assert await text(app, "/t/acme/projects/1") == "acme /t/acme|/t/acme/projects/1"
    assert await text(app, "/t/acme") == "acme /t/acme|/t/acme"
    assert await text(app, "/t/acme//t/beta/") == "acme /t/acme|/t/acme//t/beta/"
    assert await text(app, "/t/paused/login") == "None /t/paused|/t/paused/login"
    assert await text(app, "/x", ("X-Tenant", "beta")) == "beta |/x"
    # With a root path, which is also part of the path by the specification, but not with older servers and proxies.
    for path in ("/api/t/acme/x", "/t/acme/x"):
        assert await text(app, path, root_path="/api") == "acme /api/t/acme|/api/t/acme/x"
    assert await text(app, "/api/login", root_path="/api") == "None /api|/api/login"
    assert (await ask(app, "/apis/t/acme/x", root_path="/api"))[0]["status"] == 404


async def test_domains_and_keys_are_looked_up_once(served: Tenancy | AsyncTenancy) -> None:
    app = TenantMiddleware(whoami, served, resolver=RESOLVER)
    for _ in range(2):
        assert await text(app, "/", ("Host", "acme.example.org:80")) == "acme |/"
        assert await text(app, "/", ("X-Tenant", "acme")) == "acme |/"
        assert (await ask(app, "/", ("Host", "nobody.example.org")))[0]["status"] == 404
        assert (await ask(app, "/", ("X-Tenant", "nobody")))[0]["status"] == 404


@pytest.mark.parametrize("header", [("X-Tenant", "acme"), ("Host", "acme.example.org")])
async def test_a_lookup_in_the_database_does_not_block_the_event_loop(
    tenancy: Tenancy, header: tuple[str, str]
) -> None:
    threads: list[int] = []

    @event.listens_for(tenancy.engine, "before_cursor_execute")
    def note(*_: object) -> None:
        threads.append(threading.get_ident())

    app = TenantMiddleware(whoami, tenancy, resolver=RESOLVER)
    assert await text(app, "/", header) == "acme |/"
    assert threads
    assert threading.get_ident() not in threads
    asked = len(threads)
    assert await text(app, "/", header) == "acme |/"
    assert len(threads) == asked


async def test_malformed_keys_and_hosts_never_reach_the_database(tenancy: Tenancy) -> None:
    statements: list[str] = []

    @event.listens_for(tenancy.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    app = TenantMiddleware(whoami, tenancy, resolver=RESOLVER)
    for name, value in (("X-Tenant", "a'; DROP SCHEMA x; --"), ("X-Tenant", ""), ("Host", "a'b"), ("Host", "acme@x")):
        assert (await ask(app, "/", (name, value)))[0]["status"] == 404
    for path in ("/t/ACME/", "/t//", "/t/../", "/t/pg_x/", "/t/\x00/", f"/t/{'a' * 49}/"):
        assert (await ask(app, path))[0]["status"] == 404
    assert statements == []


async def test_a_header_that_is_sent_twice_names_no_tenant(tenancy: Tenancy) -> None:
    app = TenantMiddleware(whoami, tenancy, resolver=RESOLVER)
    for name, values in (("X-Tenant", ("acme", "beta")), ("Host", ("acme.example.org", "beta.example.org"))):
        assert (await ask(app, "/", *((name, value) for value in values)))[0]["status"] == 404
    two_cookies = (("Cookie", "a=b"), ("Cookie", "tenant=acme"))
    by_cookie: Resolver = lambda request: request.cookies.get("tenant")  # noqa: E731 - a resolver may be a lambda
    assert await text(TenantMiddleware(whoami, tenancy, resolver=by_cookie), "/", *two_cookies) == "acme |/"


@pytest.mark.parametrize("status", sorted({*Status} - SERVED))
async def test_a_tenant_that_is_not_served_is_refused(tenancy: Tenancy, status: Status) -> None:
    set_status(tenancy.engine, status, "beta")
    app = TenantMiddleware(whoami, tenancy, resolver=RESOLVER)
    start, _ = await ask(app, "/", ("X-Tenant", "beta"))
    gone = status in {Status.FAILED, Status.DROPPING, Status.SPARE}
    assert start["status"] == (404 if gone else 503)
    assert (b"retry-after" in dict(start["headers"])) is not gone


async def test_the_response_to_a_refusal_can_be_any_application(tenancy: Tenancy) -> None:
    app = TenantMiddleware(
        whoami, tenancy, resolver=RESOLVER, refuse=lambda why: PlainTextResponse(why.detail, why.status, why.headers)
    )
    start, body = await ask(app, "/", ("X-Tenant", "paused"))
    assert (start["status"], body["body"]) == (503, b"This tenant is unavailable (suspended)")
    assert (b"retry-after", b"3600") in start["headers"]


async def test_a_websocket_is_closed_if_the_server_cannot_send_a_response(tenancy: Tenancy) -> None:
    app = TenantMiddleware(whoami, tenancy, resolver=RESOLVER)
    scopes: tuple[dict[str, Any], ...] = ({}, {"extensions": None}, {"extensions": {}})
    for scope in scopes:
        assert await ask(app, type="websocket", **scope) == [{"type": "websocket.close", "code": 1008}]
    denied = await ask(app, type="websocket", extensions={"websocket.http.response": {}})
    assert [message["type"] for message in denied] == ["websocket.http.response.start", "websocket.http.response.body"]


async def test_other_scopes_than_requests_and_websockets_are_passed_through(tenancy: Tenancy) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        scopes.append(scope)

    lifespan = {"type": "lifespan", "asgi": {}}
    await TenantMiddleware(app, tenancy, resolver=RESOLVER)(lifespan, None, None)
    assert scopes == [lifespan]


async def test_an_exception_restores_the_outer_tenant(tenancy: Tenancy) -> None:
    async def boom(_scope: Scope, _receive: Receive, _send: Send) -> None:
        assert current_key() == "acme"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask(TenantMiddleware(boom, tenancy, resolver=RESOLVER), "/", ("X-Tenant", "acme"))
    assert current_key() is None


async def test_requests_that_interleave_keep_their_own_tenants(served: Tenancy | AsyncTenancy) -> None:
    barrier = asyncio.Barrier(4)

    async def meet(scope: Scope, receive: Receive, send: Send) -> None:
        await barrier.wait()
        await whoami(scope, receive, send)

    app = TenantMiddleware(meet, served, resolver=RESOLVER)
    keys = ("acme", "beta", "gamma", "delta")
    found = await asyncio.gather(*(text(app, f"/t/{key}/") for key in keys))
    assert [answer.split()[0] for answer in found] == list(keys)


async def test_the_session_can_name_the_tenant(tenancy: Tenancy) -> None:
    async def log_in(scope: Scope, receive: Receive, send: Send) -> None:
        Request(scope).session["tenant"] = "beta"
        await whoami(scope, receive, send)

    inner: Callable[..., Any] = TenantMiddleware(log_in, tenancy, resolver=SessionValue("tenant"), shared=["/login"])
    app = SessionMiddleware(inner, secret_key="secret")
    start, body = await ask(app, "/login")
    assert body["body"] == b"None |/login"
    cookie = dict(start["headers"])[b"set-cookie"].decode().partition(";")[0]
    assert await text(app, "/", ("Cookie", cookie)) == "beta |/"
    with pytest.raises(ConfigurationError, match="outside of TenantMiddleware"):
        await ask(inner, "/login")
