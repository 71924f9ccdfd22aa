"""Refusals have the same status and headers in every framework."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from flask import Flask, make_response, url_for
from flask.typing import ResponseReturnValue
from starlette.middleware.sessions import SessionMiddleware
from starlette.testclient import TestClient
from werkzeug.exceptions import HTTPException
from werkzeug.test import Client

from tenantkit import ConfigurationError, Tenancy, asgi, wsgi
from tenantkit.fastapi import TenantMiddleware, refuse_unserved, shared
from tenantkit.flask import TenantKit, shared_route
from tenantkit.flask import refuse_unserved as refuse_unserved_in_flask
from tenantkit.resolvers import PathPrefix, Refusal, SessionValue, first_of
from tenantkit.resolvers.jwt import JWTClaim

pytestmark = pytest.mark.each_value

SECRET = "a secret of at least thirty-two bytes"
RESOLVER = first_of(PathPrefix("/t"), JWTClaim("tenant", key=SECRET, algorithms=["HS256"]))


def flask_app(tenancy: Tenancy, handle: Callable[[HTTPException], ResponseReturnValue] | None) -> Any:
    app = Flask(__name__)
    TenantKit().init_app(app, tenancy, resolver=RESOLVER)
    if handle is not None:
        app.register_error_handler(HTTPException, handle)
    app.add_url_rule("/notes", "notes", lambda: "notes")
    app.add_url_rule("/open", "open", shared_route(lambda: "open"))

    @app.get("/login")
    @shared_route
    def login() -> str:
        refuse_unserved_in_flask()
        return "login"

    return Client(app)


def fastapi_app(tenancy: Tenancy) -> Any:
    app = FastAPI()
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)
    app.add_api_route("/notes", lambda: "notes")
    app.add_api_route("/open", lambda: "open", dependencies=[shared])
    app.add_api_route("/login", lambda: "login", dependencies=[shared, refuse_unserved])
    return TestClient(app)


def as_a_page(error: HTTPException) -> ResponseReturnValue:
    return f"<h1>{error.code}</h1>", error.code or 500


def as_a_cached_page(error: HTTPException) -> ResponseReturnValue:
    response = make_response(f"<h1>{error.code}</h1>", error.code or 500)
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


SITES: dict[str, Callable[[Tenancy], Any]] = {
    "fastapi": fastapi_app,
    "asgi": lambda tenancy: TestClient(asgi.TenantMiddleware(FastAPI(), tenancy, resolver=RESOLVER, shared=["/open"])),
    "wsgi": lambda tenancy: Client(wsgi.TenantMiddleware(Flask(__name__), tenancy, resolver=RESOLVER)),
    "flask": lambda tenancy: flask_app(tenancy, None),
    "flask, pages": lambda tenancy: flask_app(tenancy, as_a_page),
    "flask, cached pages": lambda tenancy: flask_app(tenancy, as_a_cached_page),
    "flask, error itself": lambda tenancy: flask_app(tenancy, lambda error: error),
}


@pytest.mark.parametrize("site", SITES)
def test_a_refusal_has_no_store_and_retry_after(tenancy: Tenancy, site: str) -> None:
    client = SITES[site](tenancy)
    for path, status in (("/notes", 404), ("/t/nobody/notes", 404), ("/t/paused/notes", 503)):
        response = client.get(path)
        assert (response.status_code, response.headers["cache-control"]) == (status, "no-store")
        assert response.headers.get("retry-after") == ("3600" if status == 503 else None)


@pytest.mark.parametrize("site", SITES)
def test_a_token_that_does_not_verify_is_a_401_with_a_challenge(tenancy: Tenancy, site: str) -> None:
    client = SITES[site](tenancy)
    expired = jwt.encode({"tenant": "acme", "exp": time.time() - 60}, SECRET, algorithm="HS256")
    for token in (expired, "a.b.c"):
        response = client.get("/notes", headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("site", ["fastapi", "flask"])
def test_a_shared_route_is_served_with_a_token_that_does_not_verify(tenancy: Tenancy, site: str) -> None:
    client = SITES[site](tenancy)
    forged = {"Authorization": "Bearer a.b.c"}
    assert client.get("/open", headers=forged).status_code == 200
    response = client.get("/login", headers=forged)
    assert (response.status_code, "www-authenticate" in response.headers) == (401, True)


def test_keys_are_fetched_outside_of_the_event_loop(tenancy: Tenancy) -> None:
    threads: list[int] = []

    def resolver(_request: Any) -> str:
        threads.append(threading.get_ident())
        return "acme"

    app = FastAPI()

    @app.get("/thread")
    async def thread() -> int:
        return threading.get_ident()

    resolver.blocking = True  # type: ignore[attr-defined]
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=first_of(PathPrefix("/t"), resolver))
    with TestClient(app) as client:
        assert client.get("/thread").json() not in threads


@pytest.mark.parametrize("site", ["asgi", "wsgi"])
def test_an_applications_resolver_may_refuse(tenancy: Tenancy, site: str) -> None:
    refusal = Refusal(401, "Who are <you>?", challenge="Basic")
    app: Any
    if site == "asgi":
        app = TestClient(asgi.TenantMiddleware(FastAPI(), tenancy, resolver=lambda _request: refusal))
    else:
        app = Client(wsgi.TenantMiddleware(Flask(__name__), tenancy, resolver=lambda _request: refusal))
    response = app.get("/", headers={"Accept": "text/html"})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Basic")
    assert "<h1>Who are &lt;you&gt;?</h1>" in response.text


def test_the_error_for_a_missing_secret_key_of_flask_names_it(tenancy: Tenancy) -> None:
    app = Flask(__name__)
    TenantKit().init_app(app, tenancy, resolver=SessionValue("tenant"))
    app.add_url_rule("/open", view_func=shared_route(lambda: "open"))
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        app.test_client().get("/open")
    app.secret_key = "secret"
    assert app.test_client().get("/open").text == "open"


def test_the_error_for_an_inner_session_middleware_of_starlette_names_it(tenancy: Tenancy) -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key="secret")
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=SessionValue("tenant"))
    with pytest.raises(ConfigurationError, match="outside of TenantMiddleware"):
        TestClient(app).get("/open")


def test_an_untrusted_host_is_a_400_for_flasks_error_handlers(tenancy: Tenancy) -> None:
    app = Flask(__name__)
    app.config["TRUSTED_HOSTS"] = ["example.com", ".example.com"]
    TenantKit().init_app(app, tenancy, resolver=RESOLVER)
    app.add_url_rule("/notes/", "notes", lambda: "notes")
    app.register_error_handler(404, lambda _error: (url_for("notes"), 404))
    client = app.test_client()
    for path in ("/notes/", "/t/acme/notes", "/t/acme/notes/", "/t/paused/notes/", "/nowhere"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 400, path
    assert client.get("/nowhere", headers={"Host": "example.com"}).text == "/notes/"
    assert client.get("/t/acme/notes/", headers={"Host": "example.com"}).text == "notes"
