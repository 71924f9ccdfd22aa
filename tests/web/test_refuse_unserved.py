"""Shared routes that refuse requests for a tenant that is not served."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from fastapi import FastAPI
from flask import Blueprint, Flask
from starlette.testclient import TestClient

from tenantkit import Tenancy
from tenantkit.fastapi import TenantMiddleware, refuse_unserved, shared
from tenantkit.flask import TenantKit, shared_route
from tenantkit.flask import refuse_unserved as refuse_unserved_in_flask
from tenantkit.resolvers import Domain, PathPrefix, first_of

RESOLVER = first_of(PathPrefix("/t"), Domain())

Ask: TypeAlias = Callable[[str], tuple[int, str | None]]
"""Asks for a path, and returns the status code and Retry-After."""


@pytest.fixture(params=["flask", "fastapi"])
def ask(request: pytest.FixtureRequest, tenancy: Tenancy) -> Ask:
    """An application with two shared pages, of which ``/login`` refuses tenants that are not served."""
    return _ask_flask(tenancy) if request.param == "flask" else _ask_fastapi(tenancy)


def _ask_flask(tenancy: Tenancy) -> Ask:
    app = Flask(__name__)
    TenantKit().init_app(app, tenancy, resolver=RESOLVER)
    pages = shared_route(Blueprint("pages", __name__))
    pages.before_request(refuse_unserved_in_flask)
    pages.add_url_rule("/login", view_func=lambda: "log in")
    app.register_blueprint(pages)
    app.add_url_rule("/health", view_func=shared_route(lambda: "fine"))

    def ask(path: str) -> tuple[int, str | None]:
        response = app.test_client().get(path)
        return response.status_code, response.headers.get("Retry-After")

    return ask


def _ask_fastapi(tenancy: Tenancy) -> Ask:
    app = FastAPI()
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)

    @app.get("/login", dependencies=[shared, refuse_unserved])
    async def login() -> str:
        return "log in"

    @app.get("/health", dependencies=[shared])
    async def health() -> str:
        return "fine"

    def ask(path: str) -> tuple[int, str | None]:
        with TestClient(app) as client:
            response = client.get(path)
        return response.status_code, response.headers.get("Retry-After")

    return ask


def test_a_page_is_served_without_a_tenant_and_with_an_active_one(ask: Ask) -> None:
    assert ask("/login") == (200, None)
    assert ask("/t/acme/login") == (200, None)


def test_a_page_is_refused_for_an_unknown_tenant(ask: Ask) -> None:
    assert ask("/t/nobody/login") == (404, None)
    assert ask("/t/No%20Body/login")[0] == 404
    assert ask("/t/nobody/health") == (200, None)


def test_a_page_is_refused_for_a_suspended_tenant(ask: Ask) -> None:
    assert ask("/t/paused/login") == (503, "3600")
    assert ask("/t/paused/health") == (200, None)


def test_a_host_without_a_tenant_may_be_the_applications_own(ask: Ask) -> None:
    assert ask("http://nobodys.example.org/login") == (200, None)
