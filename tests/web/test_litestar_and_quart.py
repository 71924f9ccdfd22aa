"""Litestar and Quart: each request has its tenant, and leaves no tenant for the next one."""

# No "from __future__ import annotations": Litestar would not find names that a function imports.
import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

import httpx2
import pytest
import websockets.sync.client
from sqlalchemy import URL, select
from websockets.exceptions import InvalidStatus

from tenantkit import ConfigurationError, Tenancy
from tenantkit.asgi import TenantMiddleware
from tenantkit.asyncio import AsyncTenancy
from tenantkit.context import current_tenant_or_none
from tenantkit.resolvers import Domain, Header, PathPrefix, Resolver, Subdomain, first_of
from tests.support.models import APPLICATION, Project
from tests.web.conftest import ACTIVE
from tests.web.servers import serving_asgi

litestar = pytest.importorskip("litestar")
quart = pytest.importorskip("quart")

RESOLVER = first_of(Subdomain("localhost"), PathPrefix("/t"), Header("X-Tenant"), Domain())
SHARED = ["/login"]

MakeApp: TypeAlias = Callable[[AsyncTenancy], Any]


def current_key() -> str:
    tenant = current_tenant_or_none()
    return tenant.key if tenant else "-"


async def names(tenancy: AsyncTenancy) -> list[str]:
    async with tenancy.session() as session:
        return [current_key(), *await session.scalars(select(Project.name).order_by(Project.id))]


async def chunks() -> AsyncGenerator[str]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield f"{current_key()} "


def litestar_app(tenancy: AsyncTenancy) -> Any:
    from litestar import Litestar, Request, WebSocket, get, websocket
    from litestar.response import Stream

    @get("/projects", name="projects")
    async def projects() -> list[str]:
        return await names(tenancy)

    @get("/sync", sync_to_thread=True)
    def sync() -> str:
        return current_key()

    @get("/stream")
    async def stream() -> Stream:
        return Stream(chunks())

    @get("/login")
    async def login() -> str:
        return current_key()

    @get("/link")
    async def link(request: Request[Any, Any, Any]) -> str:
        return str(request.url_for("projects"))

    @websocket("/ws")
    async def socket(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(current_key())
        await socket.close()

    return Litestar([projects, sync, stream, login, link, socket], openapi_config=None, on_shutdown=[tenancy.close])


def quart_app(tenancy: AsyncTenancy) -> Any:
    from quart import Quart, url_for, websocket

    app = Quart(__name__)
    app.after_serving(tenancy.close)

    @app.get("/projects")
    async def projects() -> Any:
        return await names(tenancy)

    @app.get("/sync")
    def sync() -> str:
        return current_key()

    @app.get("/stream")
    async def stream() -> Any:
        return chunks()

    @app.get("/login")
    async def login() -> str:
        return current_key()

    @app.get("/link")
    async def link() -> str:
        return url_for("projects", _external=True)

    @app.websocket("/ws")
    async def socket() -> None:
        await websocket.send(current_key())

    return app


@contextmanager
def serving(app: Any, tenancy: AsyncTenancy, resolver: Resolver = RESOLVER) -> Generator[httpx2.Client]:
    wrapped: Any = TenantMiddleware(app, tenancy, resolver=resolver, shared=SHARED)
    with serving_asgi(wrapped) as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client


@pytest.fixture
def async_tenancy(database: URL) -> AsyncTenancy:
    pool = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 10}
    return AsyncTenancy(database, listen=False, engine_options=pool, **APPLICATION)


@pytest.fixture(params=[litestar_app, quart_app], ids=["litestar", "quart"])
def client(request: pytest.FixtureRequest, async_tenancy: AsyncTenancy) -> Generator[httpx2.Client]:
    app = request.param(async_tenancy)
    with serving(app, async_tenancy) as client:
        yield client


def test_every_way_of_naming_a_tenant_leads_to_its_rows(client: httpx2.Client) -> None:
    for headers, path in (
        ({}, "/t/acme/projects"),
        ({"host": "acme.localhost"}, "/projects"),
        ({"host": "acme.example.org"}, "/projects"),
        ({"x-tenant": "acme"}, "/projects"),
    ):
        assert client.get(path, headers=headers).json() == ["acme", "acme"]
    assert client.get("/t/acme/sync").text == "acme"
    assert client.get("/t/acme/stream").text == "acme acme acme "


def test_a_request_without_a_tenant_is_refused(client: httpx2.Client) -> None:
    for path, status in (("/projects", 404), ("/t/nobody/projects", 404), ("/t/paused/projects", 503)):
        response = client.get(path)
        assert (response.status_code, response.headers["cache-control"]) == (status, "no-store")
    assert client.get("/t/acme/nowhere").status_code == 404
    assert client.get("/t/beta/projects", headers={"host": "acme.localhost"}).status_code == 404


def test_a_shared_route_has_its_tenant_if_it_is_active_and_otherwise_none(client: httpx2.Client) -> None:
    for path, key in (("/login", "-"), ("/t/acme/login", "acme"), ("/t/paused/login", "-"), ("/t/nobody/login", "-")):
        assert client.get(path).text == key


def test_links_keep_the_path_prefix(client: httpx2.Client) -> None:
    assert client.get("/t/acme/link").text == f"{client.base_url}/t/acme/projects"
    assert client.get("/link", headers={"x-tenant": "acme"}).text == f"{client.base_url}/projects"


def test_a_websocket_has_its_tenant_or_is_refused(client: httpx2.Client) -> None:
    url = str(client.base_url).replace("http", "ws")
    with websockets.sync.client.connect(f"{url}/t/acme/ws") as connection:
        assert connection.recv() == "acme"
    for path, status in (("/ws", 404), ("/t/paused/ws", 503)):
        with pytest.raises(InvalidStatus) as refused:
            websockets.sync.client.connect(f"{url}{path}")
        assert refused.value.response.status_code == status


def test_requests_of_many_tenants_at_once_share_two_connections_and_no_rows(client: httpx2.Client) -> None:
    def work(number: int) -> None:
        key = ACTIVE[number % len(ACTIVE)]
        assert client.get("/projects", headers={"x-tenant": key}).json() == [key, key]
        assert client.get(f"/t/{key}/stream").text == f"{key} {key} {key} "

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(48)))


def test_litestars_middleware_serves_tenants_by_host_and_header(async_tenancy: AsyncTenancy) -> None:
    from litestar import Litestar, get
    from litestar.middleware import DefineMiddleware

    @get("/projects")
    async def projects() -> list[str]:
        return await names(async_tenancy)

    resolver = first_of(Subdomain("localhost"), Header("X-Tenant"), Domain())
    middleware = DefineMiddleware(TenantMiddleware, tenancy=async_tenancy, resolver=resolver)
    app: Any = Litestar([projects], middleware=[middleware], openapi_config=None, on_shutdown=[async_tenancy.close])
    with serving_asgi(app) as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for headers in ({"host": "acme.localhost"}, {"x-tenant": "acme"}, {"host": "acme.example.org"}):
            assert client.get("/projects", headers=headers).json() == ["acme", "acme"]
        assert client.get("/projects").status_code == 404


@pytest.mark.parametrize("resolver", [PathPrefix("/t"), RESOLVER, first_of(Domain(), first_of(PathPrefix("/t")))])
def test_litestars_middleware_refuses_a_path_prefix(tenancy: Tenancy, resolver: Resolver) -> None:
    from litestar import Litestar, get
    from litestar.middleware import DefineMiddleware

    @get("/projects")
    async def projects() -> str:
        return ""

    middleware = DefineMiddleware(TenantMiddleware, tenancy=tenancy, resolver=resolver)
    with pytest.raises(ConfigurationError, match=r"app = TenantMiddleware\(app"):
        Litestar([projects], middleware=[middleware])
