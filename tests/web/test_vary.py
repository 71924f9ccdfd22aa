"""Responses vary by the headers that name their tenant, so that caches distinguish them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jwt
import pytest
from flask import Flask
from flask import Response as FlaskResponse
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client

from tenantkit import Tenancy, asgi
from tenantkit.flask import TenantKit, shared_route
from tenantkit.resolvers import Cookie, Domain, Header, PathPrefix, Resolver, SessionValue, Subdomain, first_of
from tenantkit.resolvers.jwt import JWTClaim
from tenantkit.resolvers.request import ReadHeaders

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

pytestmark = pytest.mark.each_value

Ask: TypeAlias = Callable[..., "TestResponse"]

HOST = first_of(Subdomain("localhost"), Domain(), PathPrefix("/t"))
TOKEN = JWTClaim("tenant", key="a secret of at least thirty-two bytes", algorithms=["HS256"])
CASES: dict[str, tuple[Resolver, set[str]]] = {
    "host and path": (HOST, set()),
    "header": (Header("X-Tenant"), {"x-tenant"}),
    "cookie": (Cookie("tenant"), {"cookie"}),
    "session": (SessionValue("tenant"), {"cookie"}),
    "token": (TOKEN, {"authorization"}),
    "several": (first_of(Header("X-Tenant"), Cookie("tenant"), Domain()), {"x-tenant", "cookie"}),
    "token in a cookie": (
        JWTClaim(
            "tenant",
            key="a secret of at least thirty-two bytes",
            algorithms=["HS256"],
            token=lambda request: request.cookies.get("token"),
        ),
        {"cookie"},
    ),
    "own": (lambda request: request.headers.get("X-Workspace"), {"x-workspace"}),
    "own, all headers": (lambda request: dict(request.headers).get("x-workspace"), {"*"}),
    "own, host": (lambda request: request.headers.get("host"), set()),
}


@pytest.fixture(params=["starlette", "flask"])
def make_ask(request: pytest.FixtureRequest, tenancy: Tenancy) -> Callable[..., Ask]:
    """Make an application whose views set ``Vary`` as requested."""

    def make(resolver: Resolver, own: list[str] | None = None) -> Ask:
        client: Any
        if request.param == "starlette":

            async def page(_request: Request) -> Response:
                response = Response()
                for value in own or []:
                    response.headers.append("vary", value)
                return response

            app = Starlette(
                routes=[Route("/page", page), Route("/open", page)],
                middleware=[
                    Middleware(SessionMiddleware, secret_key="secret"),
                    Middleware(asgi.TenantMiddleware, tenancy=tenancy, resolver=resolver, shared=["/open"]),
                ],
            )
            client = TestClient(app)
        else:
            flask = Flask(__name__)
            flask.secret_key = "secret"
            TenantKit().init_app(flask, tenancy, resolver=resolver)

            def view() -> FlaskResponse:
                response = FlaskResponse()
                for value in own or []:
                    response.headers.add("Vary", value)
                return response

            flask.add_url_rule("/page", "page", view)
            flask.add_url_rule("/open", "open", shared_route(lambda: view()))  # noqa: PLW0108 - only this function is marked
            client = Client(flask, use_cookies=False)

        def ask(path: str, **headers: str) -> Any:
            return client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

        return ask

    return make


def vary(response: Any) -> set[str]:
    values = (
        response.headers.get_list("vary") if hasattr(response.headers, "get_list") else response.headers.getlist("Vary")
    )
    assert len(values) <= 1
    return {name.strip().lower() for value in values for name in value.split(",")}


@pytest.mark.parametrize("case", CASES)
def test_a_response_varies_by_what_the_resolver_reads(make_ask: Callable[..., Ask], case: str) -> None:
    resolver, names = CASES[case]
    response = make_ask(resolver)("/open")
    assert response.status_code == 200
    assert vary(response) == names


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_varies_by_what_the_resolver_reads(make_ask: Callable[..., Ask], case: str) -> None:
    resolver, names = CASES[case]
    response = make_ask(resolver)("/page")
    assert response.status_code == 404
    assert names <= vary(response)
    assert "no-store" in response.headers["cache-control"]


def test_a_response_for_a_tenant_varies(make_ask: Callable[..., Ask]) -> None:
    ask = make_ask(first_of(TOKEN, Cookie("tenant"), Header("X-Tenant")))
    claims = {"tenant": "acme", "exp": 2**40}
    signed = jwt.encode(claims, "a secret of at least thirty-two bytes", algorithm="HS256")
    assert vary(ask("/page", authorization=f"Bearer {signed}")) == {"authorization"}
    assert vary(ask("/page", cookie="tenant=acme")) == {"authorization", "cookie"}
    assert vary(ask("/page", x_tenant="acme")) == {"authorization", "cookie", "x-tenant"}


@pytest.mark.parametrize(
    ("own", "merged"),
    [
        (["Accept-Encoding"], {"accept-encoding", "x-tenant"}),
        (["X-TENANT"], {"x-tenant"}),
        (["Origin, Accept", "Cookie"], {"origin", "accept", "cookie", "x-tenant"}),
        (["*"], {"*"}),
    ],
)
def test_the_applications_vary_header_is_kept(make_ask: Callable[..., Ask], own: list[str], merged: set[str]) -> None:
    response = make_ask(Header("X-Tenant"), own)("/page", x_tenant="acme")
    values = (
        response.headers.get_list("vary") if hasattr(response.headers, "get_list") else response.headers.getlist("Vary")
    )
    assert {name.strip().lower() for value in values for name in value.split(",")} == merged


UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Settings for a loaded machine."""

READ = st.sampled_from(["accept", "Cookie", "X-Tenant", "*"])
PRESENT = st.sampled_from(["accept", "Cookie", "X-Tenant", "*", "", " ", "origin "])


@UNHURRIED
@given(st.lists(READ), st.lists(st.lists(PRESENT).map(",".join)))
@example(["*"], ["accept"])
def test_the_merged_header_names_all_of_both_and_nothing_twice(read: list[str], present: list[str]) -> None:
    headers = ReadHeaders({})
    for name in read:
        headers.get(name)
    merged = headers.vary(*present)
    had = [name.strip().lower() for value in present for name in value.split(",") if name.strip()]
    names = had if merged is None else [name.strip().lower() for name in merged.split(",")]
    if "*" in had or "*" in read:
        assert merged == "*" or merged is None
    else:
        assert set(names) == set(had) | {name.lower() for name in read}
    assert len(names) == len(set(names)) or len(had) != len(set(had))
