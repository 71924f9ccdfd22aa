"""FastAPI on a real server: each request has its tenant, and leaves no tenant for the next one."""

# No "from __future__ import annotations": FastAPI would not find a local kit in the annotations of endpoints.
import json
import socket
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2
import pytest
import websockets.sync.client
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import URL
from sqlalchemy.exc import InvalidRequestError
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient
from websockets.exceptions import InvalidStatus

from tenantkit import ConfigurationError, NoCurrentTenantError, Tenancy, TenantSession
from tenantkit.asyncio import AsyncTenancy
from tenantkit.fastapi import TenantMiddleware, async_tenant_session, shared, tenant_session
from tenantkit.resolvers import PathPrefix
from tenantkit.web.admission import TENANCY
from tests.support.models import APPLICATION
from tests.web.conftest import ACTIVE
from tests.web.fastapi_app import make_app, names
from tests.web.servers import serving_asgi


@dataclass
class Site:
    """A served application; *prefix* is that of its synchronous or asynchronous endpoints."""

    app: FastAPI
    tenancy: Tenancy
    port: int
    client: httpx2.Client
    prefix: str

    def get(self, path: str, key: str | None = None, **options: Any) -> httpx2.Response:
        return self.client.get(path, headers={"x-tenant": key} if key else {}, **options)


@pytest.fixture(params=["sync", "asyncio"])
def site(request: pytest.FixtureRequest, tenancy: Tenancy, database: URL) -> Generator[Site]:
    """The application on a real server, on a sync or an async tenancy with a pool of two connections."""
    served: Tenancy | AsyncTenancy = tenancy
    if request.param == "asyncio":
        pool = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 60}
        served = AsyncTenancy(database, listen=False, engine_options=pool, **APPLICATION)
    app = make_app(served)
    with serving_asgi(app) as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield Site(app, tenancy, port, client, "/async" if request.param == "asyncio" else "")


def test_every_way_of_naming_a_tenant_leads_to_its_rows(site: Site) -> None:
    for headers, path in (
        ({}, "/t/acme/projects"),
        ({"host": "acme.localhost"}, "/projects"),
        ({"host": f"ACME.localhost.:{site.port}"}, "/projects"),
        ({"host": "acme.example.org"}, "/projects"),
        ({"x-tenant": "acme"}, "/projects"),
    ):
        assert site.client.get(path, headers=headers).json() == ["acme", "acme"]
    if site.prefix:
        assert site.client.get("/t/acme/async/projects").json() == ["acme", "acme"]
        assert site.client.get("/async/countries").json() == []


@pytest.mark.parametrize(
    "path", ["/projects", "/t/nobody/projects", "/t/ACME/projects", "/t/a%22b/projects", "/nowhere"]
)
def test_an_unknown_tenant_is_a_404(site: Site, path: str) -> None:
    response = site.get(path)
    assert (response.status_code, response.json()) == (404, {"detail": "Unknown tenant"})
    assert "retry-after" not in response.headers


def test_a_suspended_tenant_is_a_503_with_retry_after(site: Site) -> None:
    response = site.client.get("/t/paused/projects", headers={"accept": "text/plain,*/*"})
    assert (response.status_code, response.text) == (503, "This tenant is unavailable (suspended)\n")
    assert response.headers["retry-after"] == "3600"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    page = site.client.get("/t/paused/projects", headers={"accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "<h1>This tenant is unavailable (suspended)</h1>" in page.text


def test_a_shared_route_has_its_tenant_if_it_is_active_and_otherwise_none(site: Site) -> None:
    for path in ("/login", "/health", "/accounts/me", "/accounts/nested/me", "/mounted/open"):
        assert site.get(path).json() is None
        assert site.get(path, "nobody").json() is None
        assert site.get(path, "paused").json() is None
        assert site.get(f"/t/paused{path}").json() is None
        assert site.get(f"/t/acme{path}").json() == "acme"


def test_a_route_without_the_mark_is_not_shared(site: Site) -> None:
    assert site.get("/late/x").json() == ["x"]
    assert site.client.post("/login").status_code == 404
    assert site.client.post("/accounts/me").status_code == 405
    for path in ("/mounted/closed", "/accounts", "/accounts/nested", "/mounted", "/docs", "/openapi.json", "/static"):
        assert site.get(path).status_code == 404, path


def test_a_shared_route_that_opens_a_tenant_session_without_a_tenant_fails(site: Site) -> None:
    assert site.get("/accounts/needs-a-tenant", "acme").json() == "acme"
    assert site.get("/accounts/needs-a-tenant").status_code == 500


def test_links_keep_the_path_prefix(site: Site) -> None:
    base = f"http://127.0.0.1:{site.port}/t/acme"
    assert site.get("/t/acme/links").json() == [f"{base}/projects", f"{base}/projects/x"]
    assert site.get("/t/acme/projects/").headers["location"] == f"{base}/projects"
    assert site.get("/links", "acme").json()[0] == f"http://127.0.0.1:{site.port}/projects"


def test_the_openapi_document_has_no_parameters_for_tenants(site: Site) -> None:
    document = site.get("/openapi.json", "acme").json()
    assert "servers" not in document
    assert "parameters" not in document["paths"]["/projects"]["get"]
    assert "parameters" not in document["paths"]["/login"]["get"]


def test_uncommitted_changes_are_rolled_back(site: Site) -> None:
    added = site.client.post(f"{site.prefix}/projects/new", headers={"x-tenant": "acme"}).json()
    assert added == ["acme", "new 1", "new 2", "never committed"]
    with site.tenancy.session("acme") as acme, site.tenancy.session("beta") as beta:
        assert names(acme) == ["acme", "new 1", "new 2"]
        assert names(beta) == ["beta"]


def test_requests_of_many_tenants_at_once_share_two_connections_and_no_rows(site: Site) -> None:
    def work(number: int) -> None:
        key = ACTIVE[number % len(ACTIVE)]
        headers = {"x-tenant": key}
        added = site.client.post(f"{site.prefix}/projects/{key}-{number}", headers=headers).json()
        listed = site.client.get(f"{site.prefix}/projects", headers=headers).json()
        assert {name.split("-")[0] for name in added + listed} == {key, "never committed"}
        assert site.client.get("/stream", headers=headers).text == f"{key} {key} {key} "

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(48)))
    for key in ACTIVE:
        with site.tenancy.session(key) as session:
            assert Counter(name.split("-")[0] for name in names(session)) == {key: 25}


def test_the_next_request_of_a_connection_starts_without_a_tenant(site: Site) -> None:
    assert [site.get("/login", key).json() for key in ("acme", None, "beta", None)] == ["acme", None, "beta", None]


def test_a_pipelined_request_does_not_inherit_the_tenant_of_the_one_before(site: Site) -> None:
    # uvicorn starts a pipelined request from within the one before, in a copy of its context.
    first = b"GET /login HTTP/1.1\r\nHost: x\r\nX-Tenant: acme\r\n\r\n"
    second = b"GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(first + second)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert [
        part.rpartition(b"\r\n")[2] for part in received.replace(b"HTTP/1.1", b"\r\nHTTP/1.1").split(b"\r\n\r\n")[1:]
    ]
    assert received.index(b'"acme"') < received.index(b"null")
    assert received.count(b'"acme"') == 1


def test_after_an_exception_no_tenant_is_current(site: Site) -> None:
    # uvicorn closes the connection after an exception.
    assert site.client.get("/boom", headers={"x-tenant": "acme", "connection": "close"}).status_code == 500
    assert site.get("/login").json() is None


def test_background_tasks_run_for_their_own_tenant(site: Site) -> None:
    for key in ("acme", "beta"):
        site.get("/background", key)
        site.get("/login")
    assert site.app.state.seen == ["acme", "acme", "beta", "beta"]


def test_a_task_keeps_the_tenant_of_its_start(site: Site) -> None:
    site.get("/task", "acme")
    site.get("/login", "beta")
    assert site.app.state.seen == ["acme"]


def test_streamed_bodies_keep_their_tenant_and_session(site: Site) -> None:
    with site.client.stream("GET", "/stream", headers={"x-tenant": "acme"}) as acme:
        assert site.get("/stream", "beta").text == "beta beta beta "
        assert acme.read() == b"acme acme acme "
    assert site.get("/sync-stream", "acme").text == "acme:acme " * 3


def test_a_bare_thread_has_no_tenant_and_a_copied_context_has_it(site: Site) -> None:
    assert site.get("/pool", "acme").json() == [None, "acme", "acme"]


def test_concurrent_websockets_keep_their_own_tenants(site: Site) -> None:
    connect = websockets.sync.client.connect
    url = f"ws://127.0.0.1:{site.port}"
    with connect(f"{url}/t/acme/ws") as acme, connect(f"{url}/ws", additional_headers={"x-tenant": "beta"}) as beta:
        for _ in range(3):
            acme.send("?")
            beta.send("?")
            assert site.get("/login").json() is None
            assert json.loads(acme.recv()) == ["acme", "acme"]
            assert json.loads(beta.recv()) == ["beta", "beta"]


def test_a_websocket_without_a_tenant_is_refused_before_it_is_accepted(site: Site) -> None:
    for path, status in (("/ws", 404), ("/t/nobody/ws", 404), ("/t/paused/ws", 503)):
        with pytest.raises(InvalidStatus) as refused:
            websockets.sync.client.connect(f"ws://127.0.0.1:{site.port}{path}")
        assert refused.value.response.status_code == status
        assert ("retry-after" in refused.value.response.headers) == (status == 503)


def test_a_shared_websocket_needs_no_tenant(site: Site) -> None:
    for path, key in (("/shared-ws", None), ("/t/acme/shared-ws", "acme")):
        with websockets.sync.client.connect(f"ws://127.0.0.1:{site.port}{path}") as connection:
            assert json.loads(connection.recv()) == key


def test_the_test_client_uses_the_same_middleware(tenancy: Tenancy) -> None:
    with TestClient(make_app(tenancy)) as client:
        assert client.get("/t/acme/projects").json() == ["acme", "acme"]
        assert client.get("/projects").status_code == 404
        with client.websocket_connect("/t/acme/ws") as websocket:
            websocket.send_text("?")
            assert websocket.receive_json() == ["acme", "acme"]
        with pytest.raises(NoCurrentTenantError):
            client.get("/accounts/needs-a-tenant")


def test_a_session_may_end_before_the_response_is_sent(tenancy: Tenancy) -> None:
    app = make_app(tenancy)

    @app.get("/closed-in-body")
    def closed_in_body(
        session: Annotated[TenantSession, Depends(tenant_session, scope="function")],
    ) -> StreamingResponse:
        def body() -> Generator[str]:
            with pytest.raises(InvalidRequestError, match="closed"):
                names(session)
            yield "closed"

        return StreamingResponse(body())

    assert TestClient(app).get("/t/acme/closed-in-body").text == "closed"


def test_the_middleware_may_wrap_the_application(tenancy: Tenancy) -> None:
    app = FastAPI()
    app.add_api_route("/open", lambda: "open", dependencies=[shared])
    app.add_api_route("/closed", lambda: "closed")
    client = TestClient(TenantMiddleware(app, tenancy, resolver=PathPrefix("/t")))
    assert client.get("/open").json() == "open"
    assert client.get("/closed").status_code == 404
    assert client.get("/t/acme/closed").json() == "closed"


@pytest.mark.anyio
async def test_async_sessions_need_an_async_tenancy(tenancy: Tenancy) -> None:
    with pytest.raises(ConfigurationError, match="AsyncTenancy"):
        await anext(async_tenant_session(HTTPConnection({"type": "http", TENANCY: tenancy})))


def test_sessions_need_the_middleware() -> None:
    with pytest.raises(ConfigurationError, match="add_middleware"):
        next(tenant_session(HTTPConnection({"type": "http"})))
