"""Flask on a real server: each request has its tenant, and leaves no tenant for the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import click
import httpx2
import pytest
from flask import Flask, copy_current_request_context, url_for
from sqlalchemy import URL
from sqlalchemy.exc import InvalidRequestError

from tenantkit import NoCurrentTenantError, Tenancy, tenant_context
from tenantkit.context import current_tenant_or_none
from tenantkit.resolvers import Header, SessionValue
from tests.web.conftest import ACTIVE
from tests.web.flask_app import current_key, kit, make_app, names
from tests.web.servers import serving_wsgi


@pytest.fixture
def app(tenancy: Tenancy) -> Flask:
    return make_app(tenancy)


@pytest.fixture(params=["one thread for all", "a thread a connection"])
def client(request: pytest.FixtureRequest, app: Flask) -> Generator[httpx2.Client]:
    """A client of the application on a real server; with one thread, the next request would find leftovers."""
    with (
        serving_wsgi(app, threaded=request.param == "a thread a connection") as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield client


def get(client: httpx2.Client, path: str, key: str | None = None) -> Any:
    return client.get(path, headers={"x-tenant": key} if key else {}).json()


def test_every_way_of_naming_a_tenant_leads_to_its_rows(client: httpx2.Client) -> None:
    for headers, path in (
        ({}, "/t/acme/projects"),
        ({"host": "acme.localhost"}, "/projects"),
        ({"host": "ACME.localhost.:8000"}, "/projects"),
        ({"host": "acme.example.org"}, "/projects"),
        ({"x-tenant": "acme"}, "/projects"),
    ):
        assert client.get(path, headers=headers).json() == ["acme", "acme"]


def test_the_applications_error_handlers_answer_refusals(client: httpx2.Client, app: Flask) -> None:
    for path in (
        "/projects",
        "/t/nobody/projects",
        "/t/ACME/projects",
        "/t/a%22b/projects",
        "/nowhere",
        "/t/%ff/projects",
    ):
        response = client.get(path)
        assert response.status_code == 404
        assert response.text.startswith("sorry: Unknown tenant")
    response = client.get("/t/paused/projects")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3600")
    assert response.text == "sorry: This tenant is unavailable (suspended) /t/paused/projects"
    assert app.extensions["seen"] == []


def test_a_shared_view_has_its_tenant_if_it_is_active_and_otherwise_none(client: httpx2.Client) -> None:
    for path in ("/login", "/health", "/accounts/me", "/accounts/nested/me"):
        assert get(client, path) is None
        assert get(client, path, "nobody") is None
        assert get(client, path, "paused") is None
        assert get(client, f"/t/paused{path}") is None
        assert get(client, f"/t/acme{path}") == "acme"
    assert get(client, "/countries") == []


def test_a_view_without_the_mark_is_not_shared(client: httpx2.Client) -> None:
    for path in ("/static/flask_app.py", "/accounts/nested/static/flask_app.py", "/other/static/flask_app.py"):
        assert client.get(path).status_code == 200, path
    for path in ("/other/me", "/", "/accounts", "/me"):
        assert client.get(path).status_code == 404, path
    assert client.post("/login", params={"user": "eve"}).status_code == 404


def test_a_shared_view_that_uses_the_session_without_a_tenant_fails(client: httpx2.Client) -> None:
    path = "/shared-but-needs-a-tenant"
    assert get(client, path, "acme") == ["acme"]
    assert client.get(path).status_code == 500


def test_links_keep_the_path_prefix(client: httpx2.Client) -> None:
    assert get(client, "/t/acme/links") == ["/t/acme/projects", f"{client.base_url}/t/acme/projects/x"]
    assert get(client, "/links", "acme")[0] == "/projects"
    assert client.get("/t/acme/slashed").headers["location"] == f"{client.base_url}/t/acme/slashed/"


def test_a_session_lasts_as_long_as_its_request(client: httpx2.Client, app: Flask, tenancy: Tenancy) -> None:
    added = client.post("/projects/new", headers={"x-tenant": "acme"}).json()
    assert added == ["acme", "new 1", "new 2", "never committed"]
    with tenant_context(tenancy.get("acme")), pytest.raises(InvalidRequestError, match="closed"):
        names(app.extensions["seen"][-1])
    with tenancy.session("acme") as acme, tenancy.session("beta") as beta:
        assert names(acme) == ["acme", "new 1", "new 2"]
        assert names(beta) == ["beta"]


def test_the_next_request_of_a_connection_starts_without_a_tenant(client: httpx2.Client) -> None:
    assert [get(client, "/login", key) for key in ("acme", None, "beta", None)] == ["acme", None, "beta", None]


def test_after_an_exception_neither_tenant_nor_rows_remain(client: httpx2.Client) -> None:
    assert client.get("/boom", headers={"x-tenant": "acme"}).status_code == 500
    assert get(client, "/login") is None
    assert get(client, "/projects", "acme") == ["acme", "acme"]


def test_streamed_bodies_keep_their_tenant(client: httpx2.Client) -> None:
    for path in ("/stream-with-context", "/stream-own-session"):
        assert client.get(path, headers={"x-tenant": "acme"}).text == "acme:acme " * 3
        assert get(client, "/login") is None


def test_a_streamed_body_does_not_get_the_session_that_is_closed_by_then(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="application context"):
        app.test_client().get("/stream-late", headers={"x-tenant": "acme"})


def test_bodies_that_one_thread_reads_alternately_keep_their_own_tenants(app: Flask) -> None:
    for path in ("/stream-with-context", "/stream-own-session"):
        bodies = [
            app.test_client().get(path, headers={"x-tenant": key}, buffered=False).iter_encoded()
            for key in ("acme", "beta")
        ]
        chunks = [[next(body).decode() for body in bodies] for _ in range(3)]
        assert chunks == [["acme:acme ", "beta:beta "]] * 3
        assert current_key() is None
        assert [next(body, None) for body in bodies] == [None, None]


def test_an_aborted_stream_returns_its_connection(app: Flask, tenancy: Tenancy) -> None:
    for path in ("/stream-with-context", "/stream-own-session"):
        for _ in range(3):
            response = app.test_client().get(path, headers={"x-tenant": "acme"}, buffered=False)
            next(response.iter_encoded())
            response.close()
    assert tenancy.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert current_key() is None


@pytest.mark.all_cases
def test_requests_of_many_tenants_at_once_share_two_connections_and_no_rows(app: Flask, tenancy: Tenancy) -> None:
    def work(number: int) -> None:
        key = ACTIVE[number % len(ACTIVE)]
        headers = {"x-tenant": key}
        added = http.post(f"/projects/{key}-{number}", headers=headers).json()
        listed = http.get("/projects", headers=headers).json()
        assert {name.split("-")[0] for name in added + listed} == {key, "never committed"}
        assert http.get("/stream-own-session", headers=headers).text == f"{key}:{key} " * 3

    with (
        serving_wsgi(app) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(work, range(48)))
    for key in ACTIVE:
        with tenancy.session(key) as session:
            assert Counter(name.split("-")[0] for name in names(session)) == {key: 25}


def test_a_bare_thread_has_no_tenant_and_a_copied_context_has_it(client: httpx2.Client) -> None:
    assert get(client, "/pool", "acme") == [None, "acme"]


@pytest.mark.parametrize("has_tenant", [False, True])
def test_a_thread_with_the_request_leaves_its_session_open(tenancy: Tenancy, has_tenant: bool) -> None:
    app = Flask(__name__)
    kit.init_app(app, tenancy, resolver=Header("X-Tenant"))
    seen: list[Any] = []

    @app.get("/")
    def view() -> str:
        session = kit.session

        @copy_current_request_context
        def work() -> None:
            seen.append(names(kit.session) if current_tenant_or_none() else None)
            assert kit.session is not session if has_tenant else True

        with ThreadPoolExecutor() as pool:
            begun = pool.submit(copy_context().run, work) if has_tenant else pool.submit(work)
            begun.result()
        return ",".join(names(session))

    assert app.test_client().get("/", headers={"X-Tenant": "acme"}).text == "acme"
    assert seen == [["acme"] if has_tenant else None]


def test_a_session_cookie_of_one_tenant_is_refused_at_another(client: httpx2.Client) -> None:
    client.post("/t/acme/login", params={"user": "eve"})
    assert get(client, "/t/acme/me") == "eve"
    assert get(client, "/t/beta/me") is None


def test_the_session_can_name_the_tenant(tenancy: Tenancy) -> None:
    app = make_app(tenancy, resolver=SessionValue("tenant"))
    client = app.test_client()
    assert client.get("/projects").status_code == 404
    with client.session_transaction() as session:
        session["tenant"] = "beta"
    assert client.get("/projects").json == ["beta", "beta"]
    with client.session_transaction() as session:
        session["tenant"] = ["beta"]
    assert client.get("/projects").status_code == 404


def test_one_kit_serves_several_applications_each_with_its_own_tenancy(
    app: Flask, make_tenancy: Callable[..., Tenancy], make_database: Callable[..., URL], application_template: str
) -> None:
    other_tenancy = make_tenancy(database=make_database(application_template))
    other_tenancy.create("acme")
    other = make_app(other_tenancy)
    for _ in range(2):
        assert app.test_client().get("/t/acme/projects").json == ["acme", "acme"]
        assert other.test_client().get("/t/acme/projects").json == ["acme"]
    with other.app_context():
        assert kit.tenancy is other_tenancy


def test_requests_within_an_application_context_have_their_own_tenants(app: Flask, tenancy: Tenancy) -> None:
    with app.app_context(), tenant_context(tenancy.get("acme")):
        session = kit.session
        assert [app.test_client().get(f"/t/{key}/projects").json for key in ("beta", "gamma")] == [
            ["beta", "beta"],
            ["gamma", "gamma"],
        ]
        assert app.test_client().get("/login").json is None
        assert kit.session is session
        assert names(session) == ["acme"]
    with tenant_context(tenancy.get("acme")), pytest.raises(InvalidRequestError, match="closed"):
        names(session)


def test_a_client_that_keeps_the_request_context_keeps_no_tenant(app: Flask) -> None:
    with app.test_client() as client:
        assert client.get("/t/acme/projects").json == ["acme", "acme"]
        assert url_for("projects") == "/t/acme/projects"
        with pytest.raises(NoCurrentTenantError):
            _ = kit.session


def test_a_test_request_context_has_the_tenant_that_the_test_enters(app: Flask, tenancy: Tenancy) -> None:
    with app.test_request_context("/projects"):
        with pytest.raises(NoCurrentTenantError):
            _ = kit.session
        assert app.full_dispatch_request().status_code == 404
        for key in ("acme", "beta"):
            with tenant_context(tenancy.get(key)):
                assert names(kit.session) == [key]
                assert app.full_dispatch_request().json == [key, key]


def test_a_command_has_no_tenant_until_it_enters_one(app: Flask) -> None:
    @app.cli.command("count")
    @click.argument("key", required=False)
    def count(key: str | None) -> None:
        with tenant_context(kit.tenancy.get(key) if key else None):
            click.echo(names(kit.session))

    runner = app.test_cli_runner()
    assert runner.invoke(args=["count", "acme"]).output == "['acme']\n"
    assert isinstance(runner.invoke(args=["count"]).exception, NoCurrentTenantError)
