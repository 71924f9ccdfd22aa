"""Links lead to the tenant's own pages, in every form of mounting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from flask import Flask, jsonify, url_for
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, NoMatchFound, Route
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from tenantkit import ConfigurationError, Tenancy, asgi, fastapi, wsgi
from tenantkit.flask import TenantKit
from tenantkit.resolvers import Header, PathPrefix, first_of

RESOLVER = first_of(PathPrefix("/t"), Header("X-Tenant"))

Follow: TypeAlias = Callable[[str], list[str]]
"""Returns the links of a page, each of which has been followed."""


def links_of(request: Request) -> list[str]:
    found = []
    for name in ("n", "api:n", "home"):
        try:
            found.append(str(request.url_for(name)))
        except NoMatchFound:
            continue
    return found


async def page(request: Request) -> Response:
    return JSONResponse(links_of(request))


def starlette_app(tenancy: Tenancy) -> Starlette:
    middleware = [Middleware(asgi.TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)]
    return Starlette(routes=[Route("/n", page, name="n")], middleware=middleware)


def fastapi_app(tenancy: Tenancy) -> FastAPI:
    app = FastAPI()
    app.add_middleware(fastapi.TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)

    @app.get("/n", name="n")
    async def n(request: FastAPIRequest) -> list[str]:
        return links_of(request)

    return app


@pytest.mark.parametrize("name", [None, "api"])
@pytest.mark.parametrize("inner", [starlette_app, fastapi_app])
@pytest.mark.parametrize("root", ["", "/root"])
def test_a_mounted_application_links_to_its_tenants_pages(
    tenancy: Tenancy, inner: Callable[[Tenancy], Any], name: str | None, root: str
) -> None:
    async def home(_request: Request) -> Response:
        return Response()

    outer = Starlette(routes=[Route("/", home, name="home"), Mount("/api", inner(tenancy), name=name)])
    client = TestClient(outer, root_path=root)
    base = f"http://testserver{root}"
    assert client.get(f"{root}/api/t/acme/n").json() == [f"{base}/api/t/acme/n", f"{base}/"]
    assert client.get(f"{root}/api/n", headers={"X-Tenant": "acme"}).json() == [f"{base}/api/n", f"{base}/"]
    location = client.get(f"{root}/api/t/acme/n/", follow_redirects=False).headers["location"]
    assert location == f"{base}/api/t/acme/n"


def test_an_application_that_is_mounted_twice_links_to_its_tenants_pages(tenancy: Tenancy) -> None:
    outer = Starlette(routes=[Mount("/v1", Starlette(routes=[Mount("/api", starlette_app(tenancy))]))])
    assert TestClient(outer).get("/v1/api/t/acme/n").json() == ["http://testserver/v1/api/t/acme/n"]


def test_applications_mounted_below_the_middleware_link_to_the_tenants_pages(tenancy: Tenancy) -> None:
    app = Starlette(routes=[Mount("/api", Starlette(routes=[Route("/n", page, name="n")]))])
    client = TestClient(asgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))
    assert client.get("/t/acme/api/n").json() == ["http://testserver/t/acme/api/n"]


def test_a_mounted_flask_application_links_to_its_tenants_pages(tenancy: Tenancy) -> None:
    app = Flask(__name__)
    TenantKit().init_app(app, tenancy, resolver=RESOLVER)
    app.add_url_rule("/n", "n", lambda: jsonify(url_for("n", _external=True)))
    client = Client(DispatcherMiddleware(Flask("outer"), {"/api": app}))
    assert client.get("/api/t/acme/n").json == "http://localhost/api/t/acme/n"
    assert client.get("/api/n", headers={"X-Tenant": "acme"}).json == "http://localhost/api/n"


def test_a_path_prefix_after_the_router_is_refused(tenancy: Tenancy) -> None:
    middleware = [Middleware(asgi.TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)]
    with pytest.raises(ConfigurationError, match=r"app = TenantMiddleware\(app"):
        Route("/n", page, middleware=middleware)
    Route("/n", page, middleware=[Middleware(asgi.TenantMiddleware, tenancy=tenancy, resolver=Header("X-Tenant"))])


def test_the_prefix_is_removed_for_any_wsgi_application(tenancy: Tenancy) -> None:
    app = Flask(__name__)
    app.add_url_rule("/n", "n", lambda: url_for("n"))
    assert Client(wsgi.TenantMiddleware(app, tenancy, resolver=RESOLVER)).get("/t/acme/n").text == "/t/acme/n"
