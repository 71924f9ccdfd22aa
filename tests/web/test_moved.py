"""A request that writes to former tables of its tenant is answered with 503, and the next one finds the new ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, nullcontext
from io import BytesIO, StringIO
from typing import Annotated, Any, NamedTuple
from wsgiref.handlers import SimpleHandler

import pytest
from fastapi import Depends, FastAPI
from flask import Flask
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.testclient import TestClient
from werkzeug.datastructures import Headers
from werkzeug.test import Client, EnvironBuilder

from tenantkit import Tenancy, asgi, current_tenant, wsgi
from tenantkit.asyncio import AsyncTenancy
from tenantkit.fastapi import TenantMiddleware, async_tenant_session, tenant_session
from tenantkit.flask import TenantKit
from tenantkit.lifecycle import swap
from tenantkit.resolvers import PathPrefix
from tests.support.models import APPLICATION, Project

RESOLVER = PathPrefix("/t")


def add(session: Session) -> None:
    session.add(Project(name="new"))
    session.commit()


def in_flask(tenancy: Tenancy) -> Client:
    app, kit = Flask(__name__), TenantKit()
    kit.init_app(app, tenancy, resolver=RESOLVER)

    @app.post("/")
    def create() -> str:
        add(kit.session)
        return current_tenant().schema

    return Client(app)


def in_fastapi(tenancy: Tenancy) -> TestClient:
    app = FastAPI()
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)

    @app.post("/")
    def create(session: Annotated[Session, Depends(tenant_session)]) -> str:
        add(session)
        return current_tenant().schema

    return TestClient(app)


def in_async_fastapi(tenancy: Tenancy) -> TestClient:
    url = tenancy.engine.url.set(drivername="postgresql+asyncpg")
    other = AsyncTenancy(url, listen=False, cache_ttl=3600, **APPLICATION)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await other.close()

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(TenantMiddleware, tenancy=other, resolver=RESOLVER)

    @app.post("/")
    async def create(session: Annotated[AsyncSession, Depends(async_tenant_session)]) -> str:
        session.add(Project(name="new"))
        await session.commit()
        return current_tenant().schema

    return TestClient(app)


def in_asgi(tenancy: Tenancy) -> TestClient:
    async def app(_scope: asgi.Scope, _receive: asgi.Receive, send: asgi.Send) -> None:
        with tenancy.session() as session:
            add(session)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": current_tenant().schema.encode()})

    return TestClient(asgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))


class Answer(NamedTuple):
    status_code: int
    headers: Headers
    text: str


class Server:
    """The server of Python's own library, which keeps the headers until the body begins."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def post(self, path: str) -> Answer:
        """Return the response."""
        environ = EnvironBuilder(path, method="POST").get_environ()
        sent, errors = BytesIO(), StringIO()
        SimpleHandler(BytesIO(), sent, errors, environ).run(self._app)
        head, _, body = sent.getvalue().decode().partition("\r\n\r\n")
        status, *fields = head.splitlines()
        headers = Headers([(name, value) for name, _, value in (field.partition(": ") for field in fields)])
        return Answer(int(status.split()[1]), headers, body + errors.getvalue())


def in_wsgi(tenancy: Tenancy, *, first: tuple[bytes, ...] = ()) -> Server:
    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield from first
        with tenancy.session() as session:
            add(session)
        yield current_tenant().schema.encode()

    return Server(wsgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))


def in_plain_wsgi(tenancy: Tenancy) -> Server:
    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        with tenancy.session() as session:
            add(session)
        return [current_tenant().schema.encode()]

    return Server(wsgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))


def in_late_wsgi(tenancy: Tenancy) -> Client:
    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        with tenancy.session() as session:
            add(session)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [current_tenant().schema.encode()]

    return Client(wsgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))


SITES = (in_flask, in_fastapi, in_async_fastapi, in_asgi, in_wsgi, in_plain_wsgi, in_late_wsgi)


@pytest.fixture
def unaware(make_tenancy: Callable[..., Tenancy]) -> Tenancy:
    """A process that hears of no change."""
    return make_tenancy(cache_ttl=3600)


@pytest.mark.some_values(site=4)
@pytest.mark.parametrize("site", SITES)
def test_a_write_to_former_tables_is_answered_with_503_and_the_next_one_goes_to_the_new_ones(
    unaware: Tenancy, tenancy: Tenancy, site: Callable[[Tenancy], Any]
) -> None:
    client = site(unaware)
    with client if site is in_async_fastapi else nullcontext():
        assert client.post("/t/acme/").status_code == 200
        swap(tenancy, "acme", "paused", any_tenant=True)
        refused = client.post("/t/acme/")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Cache-Control"] == "no-store"
        again = client.post("/t/acme/")
        assert (again.status_code, again.text.strip('"')) == (200, "t_paused")
    with tenancy.session("acme") as session:
        assert session.scalars(select(Project.name)).all() == ["new"]
    with tenancy.session("paused", any_status=True) as session:
        assert session.scalars(select(Project.name)).all() == ["acme", "new"]


def test_a_response_that_has_begun_is_not_replaced(unaware: Tenancy, tenancy: Tenancy) -> None:
    server = in_wsgi(unaware, first=(b"begun",))
    server.post("/t/acme/")
    swap(tenancy, "acme", "paused", any_tenant=True)
    response = server.post("/t/acme/")
    assert response.status_code == 200
    assert response.text.startswith("begun")
    assert "TenantMovedError" in response.text  # what the server has logged
