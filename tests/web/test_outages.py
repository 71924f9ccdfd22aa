"""Requests while the database is down, and the number of lookups while it is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import pytest
from anyio.from_thread import BlockingPortal
from fastapi import FastAPI
from flask import Flask
from sqlalchemy import URL, Engine, event
from starlette.testclient import TestClient
from werkzeug.exceptions import HTTPException

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.context import current_tenant_or_none
from tenantkit.fastapi import TenantMiddleware, refuse_unserved, shared
from tenantkit.flask import TenantKit, shared_route
from tenantkit.flask import refuse_unserved as refuse_unserved_in_flask
from tenantkit.registry.cache import MISS_TTL
from tenantkit.resolvers import Domain, PathPrefix, Subdomain, first_of
from tests.support.models import APPLICATION

RESOLVER = first_of(Subdomain("localhost"), PathPrefix("/t"), Domain())

Site: TypeAlias = tuple[Any, Engine]
"""A client of an application, and the engine of its registry."""


def current_key() -> str:
    tenant = current_tenant_or_none()
    return tenant.key if tenant else "-"


def flask_app(tenancy: Tenancy) -> Flask:
    app = Flask(__name__)
    TenantKit().init_app(app, tenancy, resolver=RESOLVER)

    @app.errorhandler(HTTPException)
    def show(error: HTTPException) -> tuple[str, int]:
        return f"sorry: {error.description}", error.code or 500

    @app.get("/notes")
    def notes() -> str:
        return current_key()

    @app.get("/open")
    @shared_route
    def shared_page() -> str:
        return current_key()

    @app.get("/login")
    @shared_route
    def login() -> str:
        refuse_unserved_in_flask()
        return current_key()

    return app


def fastapi_app(tenancy: Tenancy | AsyncTenancy) -> FastAPI:
    app = FastAPI()
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)
    app.add_api_route("/notes", current_key)
    app.add_api_route("/open", current_key, dependencies=[shared])
    app.add_api_route("/login", current_key, dependencies=[shared, refuse_unserved])
    return app


@pytest.fixture(params=["flask", "fastapi", "fastapi-psycopg", "fastapi-asyncpg"])
def make_site(request: pytest.FixtureRequest, make_tenancy: Callable[..., Tenancy]) -> Generator[Callable[[URL], Site]]:
    """Make an application on a database, with each kind of tenancy."""
    framework, _, driver = request.param.partition("-")
    opened: list[tuple[BlockingPortal, AsyncTenancy]] = []

    def make(url: URL) -> Site:
        if not driver:
            tenancy = make_tenancy(database=url)
            client = flask_app(tenancy).test_client() if framework == "flask" else TestClient(fastapi_app(tenancy))
            return client, tenancy.engine
        portal: BlockingPortal = request.getfixturevalue("portal")
        url = url.set(drivername=f"postgresql+{driver}")
        asynchronous = AsyncTenancy(url, listen=False, **APPLICATION)
        opened.append((portal, asynchronous))
        client = TestClient(fastapi_app(asynchronous))
        client.portal = portal  # one event loop for all requests, as on a server
        return client, asynchronous.engine.sync_engine

    yield make
    for portal, asynchronous in opened:
        portal.call(asynchronous.close)


@pytest.fixture(params=["no server", "no such database", "wrong password"])
def down(request: pytest.FixtureRequest, server_url: URL) -> URL:
    """The address of a database that does not answer."""
    match request.param:
        case "no server":
            return server_url.set(host="127.0.0.1", port=9, query={})
        case "no such database":
            return server_url.set(database="no_such_database")
        case _:
            return server_url.set(username="no_such_role", password="secret")


def test_while_the_database_is_down_a_request_is_refused_with_503(make_site: Callable[[URL], Site], down: URL) -> None:
    client, _ = make_site(down)
    for path in ("/t/acme/notes", "/t/acme/login"):
        response = client.get(path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert response.headers["cache-control"] == "no-store"
        assert "unavailable for a moment" in response.text
    assert client.get("/notes").status_code == 503


def test_while_the_database_is_down_a_shared_route_is_served(make_site: Callable[[URL], Site], down: URL) -> None:
    client, _ = make_site(down)
    for path in ("/open", "/t/acme/open"):
        response = client.get(path)
        assert (response.status_code, response.text.strip('"')) == (200, "-")


def test_flasks_error_handlers_answer_while_the_database_is_down(
    make_tenancy: Callable[..., Tenancy], down: URL
) -> None:
    response = flask_app(make_tenancy(database=down)).test_client().get("/t/acme/notes")
    assert response.text == "sorry: This service is unavailable for a moment"


def test_another_error_than_an_outage_is_raised(make_site: Callable[[URL], Site], empty_database: URL) -> None:
    client, _ = make_site(empty_database)
    with pytest.raises(Exception, match=r"tenantkit\.tenants"):
        client.get("/t/acme/notes")


def test_an_unknown_key_or_domain_is_looked_up_once_in_seconds(make_site: Callable[[URL], Site], database: URL) -> None:
    client, engine = make_site(database)
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM tenantkit.tenants" in statement:
            statements.append(statement)

    for url in (
        "http://example.com/open",
        "http://example.com/notes",
        "/t/nobody/notes",
        "http://nobody.localhost/notes",
    ):
        statements.clear()
        began = time.monotonic()
        for _ in range(50):
            assert client.get(url).status_code == (200 if url.endswith("/open") else 404)
        times = 1 + int((time.monotonic() - began) / MISS_TTL)
        # example.com as a domain; the key nobody, and the test client's own host as a domain.
        assert len(statements) <= times * (2 if url.startswith("/") else 1)


def test_a_tenant_is_served_as_soon_as_this_process_has_created_it(tenancy: Tenancy) -> None:
    client = flask_app(tenancy).test_client()
    assert client.get("/t/new/notes").status_code == 404
    assert client.get("/notes", base_url="http://new.example.org").status_code == 404
    tenancy.create("new")
    assert client.get("/t/new/notes").text == "new"
    tenancy.add_domain("new", "new.example.org")
    assert client.get("/notes", base_url="http://new.example.org").text == "new"


def test_a_tenant_is_served_as_soon_as_this_process_is_notified(
    make_tenancy: Callable[..., Tenancy], tenancy: Tenancy
) -> None:
    listening = make_tenancy(listen=True)
    client = flask_app(listening).test_client()
    client.get("/t/acme/notes")
    assert listening.lookups.listener is not None
    assert listening.lookups.listener.listening.wait(30)
    assert client.get("/t/new/notes").status_code == 404
    assert listening.cache.is_missing(("key", "new"))
    tenancy.create("new")
    while listening.cache.is_missing(("key", "new")):
        time.sleep(0.01)
    assert client.get("/t/new/notes").text == "new"


def test_without_a_cache_a_tenant_is_looked_up_each_time(
    make_tenancy: Callable[..., Tenancy], tenancy: Tenancy
) -> None:
    client = flask_app(make_tenancy(cache_ttl=0)).test_client()
    assert client.get("/t/new/notes").status_code == 404
    tenancy.create("new")
    assert client.get("/t/new/notes").text == "new"
