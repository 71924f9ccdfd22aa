"""CORS: preflights are answered, and refusals can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI
from flask import Flask, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import TestClient
from werkzeug.test import Client

from tenantkit import Tenancy, current_tenant
from tenantkit.fastapi import TenantMiddleware
from tenantkit.flask import TenantKit
from tenantkit.resolvers import Cookie, Header, PathPrefix, first_of

ORIGIN = "https://shop.example"
RESOLVER = first_of(PathPrefix("/t"), Header("X-Tenant"), Cookie("tenant"))
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-tenant"}

Ask: TypeAlias = Callable[..., Any]


def fastapi_app(tenancy: Tenancy, *, outside: bool) -> Ask:
    app = FastAPI()
    app.add_api_route("/notes", lambda: current_tenant().key)
    cors: dict[str, Any] = {"allow_origins": [ORIGIN], "allow_headers": ["X-Tenant"]}
    if not outside:
        app.add_middleware(CORSMiddleware, **cors)
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)
    if outside:
        app.add_middleware(CORSMiddleware, **cors)
    return TestClient(app).request


def flask_app(tenancy: Tenancy) -> Ask:
    app = Flask(__name__)
    TenantKit().init_app(app, tenancy, resolver=RESOLVER)
    app.add_url_rule("/notes", view_func=lambda: current_tenant().key)

    @app.after_request
    def allow(response: Response) -> Response:  # as Flask-CORS does
        response.headers["Access-Control-Allow-Origin"] = ORIGIN
        response.headers["Access-Control-Allow-Headers"] = "X-Tenant"
        return response

    client = Client(app, use_cookies=False)
    return lambda method, path, **options: client.open(path, method=method, **options)


@pytest.fixture(params=["fastapi, CORS outside", "fastapi, CORS inside", "flask"])
def ask(request: pytest.FixtureRequest, tenancy: Tenancy) -> Ask:
    if request.param == "flask":
        return flask_app(tenancy)
    return fastapi_app(tenancy, outside=request.param.endswith("outside"))


@pytest.mark.parametrize("path", ["/notes", "/t/acme/notes", "/t/nobody/notes", "/t/paused/notes"])
def test_a_preflight_is_answered_without_a_tenant(ask: Ask, path: str) -> None:
    response = ask("OPTIONS", path, headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "x-tenant" in response.headers["access-control-allow-headers"].lower()


def test_other_requests_than_preflights_need_a_tenant(ask: Ask) -> None:
    for left_out in ("Origin", "Access-Control-Request-Method"):
        headers = {name: value for name, value in PREFLIGHT.items() if name != left_out}
        assert ask("OPTIONS", "/notes", headers=headers).status_code == 404
    for method in ("GET", "POST"):
        assert ask(method, "/notes", headers=PREFLIGHT).status_code == 404


@pytest.mark.parametrize("kind", ["fastapi", "flask"])
def test_scripts_of_other_sites_can_read_a_refusal(tenancy: Tenancy, kind: str) -> None:
    ask = flask_app(tenancy) if kind == "flask" else fastapi_app(tenancy, outside=True)
    for path, status in (("/notes", 404), ("/t/nobody/notes", 404), ("/t/paused/notes", 503)):
        response = ask("GET", path, headers={"Origin": ORIGIN})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert response.headers["cache-control"] == "no-store"
    served = ask("GET", "/notes", headers={"Origin": ORIGIN, "X-Tenant": "acme"})
    assert (served.status_code, served.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "x-tenant" in served.headers["vary"].lower()
