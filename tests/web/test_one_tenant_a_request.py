"""A request has one tenant, in any order of its resolvers and middleware."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from itertools import permutations
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from fastapi import FastAPI
from flask import Flask
from sqlalchemy import URL
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client

from tenantkit import ConfigurationError, Tenancy, asgi, fastapi, wsgi
from tenantkit.context import current_tenant_or_none
from tenantkit.flask import TenantKit, shared_route
from tenantkit.resolvers import Cookie, Domain, Header, PathPrefix, RequestView, Resolver, Subdomain, first_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Ask: TypeAlias = Callable[..., tuple[int, str]]
"""Asks for a path at a host, and returns the status code and the text."""


def current_key() -> str:
    tenant = current_tenant_or_none()
    return tenant.key if tenant else "-"


async def whoami(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(current_key())


def whoami_wsgi(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [current_key().encode()]


def starlette_app(**options: Any) -> Starlette:
    return Starlette(routes=[Route("/{path:path}", whoami)], **options)


@pytest.fixture(params=["asgi", "wsgi"])
def make_ask(request: pytest.FixtureRequest, tenancy: Tenancy) -> Callable[[Resolver], Ask]:
    def make(resolver: Resolver) -> Ask:
        def ask(host: str, path: str, **headers: str) -> tuple[int, str]:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            client: Any
            if request.param == "asgi":
                client = TestClient(asgi.TenantMiddleware(starlette_app(), tenancy, resolver=resolver))
            else:
                client = Client(wsgi.TenantMiddleware(whoami_wsgi, tenancy, resolver=resolver))
            response = client.get(path, headers={"Host": host, **fields})
            return response.status_code, response.text

        return ask

    return make


def by_host(request: RequestView) -> str | None:
    return {"acme.test": "acme", "beta.test": "beta"}.get(request.host)


HOSTS: dict[str, tuple[Resolver, str]] = {
    "subdomain": (Subdomain("example.com"), "acme.example.com"),
    "domain": (Domain(), "acme.example.org"),
    "own": (by_host, "acme.test"),
}
OTHERS: dict[str, tuple[Resolver, str, dict[str, str]]] = {
    "path": (PathPrefix("/t"), "/t/beta/notes", {}),
    "header": (Header("X-Tenant"), "/notes", {"x_tenant": "beta"}),
    "cookie": (Cookie("tenant"), "/notes", {"cookie": "tenant=beta"}),
    "own": (lambda request: request.headers.get("x-workspace"), "/notes", {"x_workspace": "beta"}),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("host", HOSTS)
def test_the_host_of_a_tenant_serves_no_other(make_ask: Callable[[Resolver], Ask], host: str, other: str) -> None:
    by_host, name = HOSTS[host]
    by_other, path, headers = OTHERS[other]
    for resolvers in permutations([by_host, by_other]):
        for nested in (
            first_of(*resolvers),
            first_of(first_of(*resolvers)),
            lambda view, r=resolvers: r[0](view) or r[1](view),
        ):
            status, text = make_ask(nested)(name, path, **headers)
            # The tenant of the host may be served: it answers /t/beta/notes with a page of its own, or refuses.
            assert (status, text) == (200, "acme") or status == 404
            assert make_ask(nested)(
                name, path.replace("beta", "acme"), **{k: v.replace("beta", "acme") for k, v in headers.items()}
            ) == (200, "acme")


def test_a_host_without_a_tenant_serves_all_tenants_by_path(make_ask: Callable[[Resolver], Ask]) -> None:
    resolver = first_of(PathPrefix("/t"), Subdomain("example.com"), Domain())
    for host in ("example.com", "www.example.com", "elsewhere.test", "127.0.0.1"):
        assert make_ask(resolver)(host, "/t/beta/notes") == (200, "beta")


def test_a_suspended_tenants_host_serves_no_other(make_ask: Callable[[Resolver], Ask]) -> None:
    resolver = first_of(PathPrefix("/t"), Subdomain("example.com"))
    assert make_ask(resolver)("paused.example.com", "/t/beta/notes")[0] == 404


def test_a_default_tenant_does_not_belong_to_a_host(make_ask: Callable[[Resolver], Ask]) -> None:
    ask = make_ask(lambda request: request.headers.get("x-tenant") or "acme")
    assert ask("example.com", "/") == (200, "acme")
    assert ask("example.com", "/", x_tenant="beta") == (200, "beta")


def test_a_resolver_that_fails_with_the_host_alone_still_works(make_ask: Callable[[Resolver], Ask]) -> None:
    ask = make_ask(first_of(PathPrefix("/t"), lambda request: request.headers["x-tenant"]))
    assert ask("example.com", "/t/acme/notes") == (200, "acme")
    assert ask("example.com", "/notes", x_tenant="beta") == (200, "beta")


# Middleware around middleware


RESOLVER = first_of(PathPrefix("/t"), Header("X-Tenant"))


@pytest.fixture(params=["asgi", "fastapi", "wsgi", "flask"])
def nested(request: pytest.FixtureRequest, tenancy: Tenancy) -> Generator[Any]:
    """A client of an application with two middlewares; the inner one reads headers only."""
    inner: dict[str, Any] = {"resolver": Header("X-Tenant")}
    match request.param:
        case "asgi":
            app = asgi.TenantMiddleware(starlette_app(), tenancy, **inner)
            yield TestClient(asgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))
        case "fastapi":
            api = FastAPI()
            api.add_api_route("/notes", current_key)
            api.add_middleware(fastapi.TenantMiddleware, tenancy=tenancy, **inner)
            yield TestClient(fastapi.TenantMiddleware(CORSMiddleware(api), tenancy, resolver=RESOLVER))
        case "wsgi":
            app = wsgi.TenantMiddleware(whoami_wsgi, tenancy, **inner)
            yield Client(wsgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))
        case _:
            flask = Flask(__name__)
            TenantKit().init_app(flask, tenancy, **inner)
            flask.add_url_rule("/notes", view_func=current_key)
            yield Client(wsgi.TenantMiddleware(flask, tenancy, resolver=RESOLVER))


def test_an_inner_middleware_keeps_the_tenant_of_the_outer_one(nested: Any) -> None:
    assert nested.get("/t/acme/notes").text.strip('"') == "acme"
    assert nested.get("/notes", headers={"X-Tenant": "acme"}).text.strip('"') == "acme"
    assert nested.get("/notes").status_code == 404


def test_an_inner_middleware_serves_no_other_tenant_than_the_outer_one(nested: Any) -> None:
    assert nested.get("/t/acme/notes", headers={"X-Tenant": "acme"}).text.strip('"') == "acme"
    assert nested.get("/t/acme/notes", headers={"X-Tenant": "beta"}).status_code == 404
    assert nested.get("/t/acme/notes", headers={"X-Tenant": "nobody"}).status_code == 404


@pytest.mark.parametrize("edge", ["asgi", "wsgi"])
def test_middleware_with_another_tenancy_of_the_same_registry_serves_no_other_tenant(
    tenancy: Tenancy, make_tenancy: Callable[..., Tenancy], edge: str
) -> None:
    inner: dict[str, Any] = {"tenancy": make_tenancy(), "resolver": Header("X-Tenant")}
    client: Any
    if edge == "asgi":
        app = asgi.TenantMiddleware(starlette_app(), **inner)
        client = TestClient(asgi.TenantMiddleware(app, tenancy, resolver=RESOLVER, shared=["/*"]))
    else:
        served = wsgi.TenantMiddleware(whoami_wsgi, **inner)
        client = Client(wsgi.TenantMiddleware(served, tenancy, resolver=RESOLVER, shared=["/*"]))
    asked = {
        (path, key): client.get(path, headers={"X-Tenant": key} if key else {})
        for path in ("/t/acme/notes", "/notes")
        for key in ("acme", "beta", None)
    }
    served_keys = {place: response.text for place, response in asked.items() if response.status_code == 200}
    assert served_keys == {
        ("/t/acme/notes", "acme"): "acme",
        ("/notes", "acme"): "acme",
        ("/notes", "beta"): "beta",
    }


def test_two_registries_in_one_request_have_nothing_to_do_with_each_other(
    tenancy: Tenancy,
    make_tenancy: Callable[..., Tenancy],
    make_database: Callable[..., URL],
    application_template: str,
) -> None:
    other = make_tenancy(database=make_database(application_template))
    for key in ("first", "beta"):
        other.create(key)
    app = asgi.TenantMiddleware(starlette_app(), other, resolver=Header("X-Region-Tenant"))
    client = TestClient(asgi.TenantMiddleware(app, tenancy, resolver=PathPrefix("/t")))
    assert client.get("/t/acme/notes", headers={"X-Region-Tenant": "beta"}).text == "beta"
    assert client.get("/t/acme/notes").status_code == 404


def test_the_middleware_may_wrap_other_middleware(tenancy: Tenancy) -> None:
    app = FastAPI()
    app.add_api_route("/open", current_key, dependencies=[fastapi.shared])
    app.add_api_route("/closed", current_key)
    wrapped = CORSMiddleware(CORSMiddleware(app, allow_origins=["*"]), allow_origins=["*"])
    client = TestClient(fastapi.TenantMiddleware(wrapped, tenancy, resolver=PathPrefix("/t")))
    assert client.get("/open").json() == "-"
    assert client.get("/closed").status_code == 404
    assert client.get("/t/acme/closed").json() == "acme"


def test_the_middleware_reports_an_application_without_routes(tenancy: Tenancy) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="finds no FastAPI application"):
        TestClient(fastapi.TenantMiddleware(app, tenancy, resolver=PathPrefix("/t"))).get("/notes")


def test_a_flask_application_is_served_once(tenancy: Tenancy) -> None:
    app = Flask(__name__)
    kit = TenantKit()
    kit.init_app(app, tenancy, resolver=PathPrefix("/t"))
    app.add_url_rule("/", view_func=shared_route(lambda: current_key()))  # noqa: PLW0108 - keeps the mark on the function
    with pytest.raises(ConfigurationError, match="call init_app"):
        kit.init_app(app, tenancy, resolver=PathPrefix("/t"))
    assert app.test_client().get("/").text == "-"
