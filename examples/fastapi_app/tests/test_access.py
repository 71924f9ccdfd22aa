"""Logins, and access to tenants."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import delete, select
from starlette.testclient import TestClient

from examples.conftest import OWNERS, PASSWORD, secret_of
from examples.fastapi_app.tests.client import Client
from examples.settings import Settings
from examples.tracker.models import Member, Membership, Role, User
from tenantkit import Tenancy

pytestmark = pytest.mark.all_cases

At = Callable[[str], Client]

FORM = {
    "tenant_name": "Initech",
    "tenant_key": "initech",
    "name": "Peter",
    "email": "peter@initech.example",
    "password": PASSWORD,
}


def test_a_sign_up_opens_the_new_tenant(start: Client, tenancy: Tenancy) -> None:
    answer = start.post("/api/sign-up", FORM)
    assert answer.status_code == 201
    assert answer.json() == {"key": "initech", "name": "Initech", "path": "/t/initech/", "host": "initech.localhost"}
    assert "Path=/t/initech;" in answer.headers["set-cookie"]
    assert start.get("/t/initech/api/me").json()["display_name"] == "Peter"
    assert [project["key"] for project in start.get("/t/initech/api/projects").json()] == ["START"]
    with tenancy.session("initech") as session:
        assert session.scalars(select(Member.display_name)).all() == ["Peter"]
        membership = session.scalars(select(Membership).where(Membership.tenant_key == "initech")).one()
        assert (membership.tenant_id, membership.role) == (session.tenant.id, Role.OWNER)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"tenant_key": "acme"}, 409),
        ({"tenant_key": "www"}, 400),
        ({"tenant_key": 'x"; drop schema t_acme; --'}, 422),
        ({"tenant_key": "Initech"}, 422),
        ({"tenant_key": "initech\n"}, 422),
        ({"password": "short"}, 422),
        ({"email": "nobody"}, 400),
        ({"email": OWNERS["acme"], "password": "some other password"}, 400),
    ],
)
def test_a_refused_sign_up_creates_nothing(
    start: Client, tenancy: Tenancy, change: dict[str, str], status: int
) -> None:
    answer = start.post("/api/sign-up", FORM | change)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers
    assert {tenant.key for tenant in tenancy.list()} == set(OWNERS)


def test_a_member_logs_in(at: At) -> None:
    client = at("acme")
    assert client.get("/api/projects").status_code == 401
    answer = client.log_in()
    assert (answer.status_code, answer.json()["display_name"]) == (200, "Ada")
    assert client.get("/api/me").json()["display_name"] == "Ada"
    assert client.get("/api/projects").status_code == 200


@pytest.mark.parametrize(
    ("email", "password"),
    [(OWNERS["acme"], "wrong password"), ("nobody@acme.example", PASSWORD), (OWNERS["beta"], PASSWORD)],
    ids=["wrong password", "no account", "no member"],
)
def test_other_users_cannot_log_in(at: At, email: str, password: str) -> None:
    client = at("acme")
    assert client.log_in(email, password).status_code == 401
    assert client.cookies == {}


def test_a_cookie_of_one_tenant_is_refused_at_another(at: At, acme: Client) -> None:
    beta = at("beta")
    beta.cookies = acme.cookies
    for path in ("/api/me", "/api/projects", "/api/projects/START", "/api/members", "/api/tasks?words=secret"):
        answer = beta.get(path)
        assert answer.status_code == 401
        assert secret_of("beta") not in answer.text
    assert acme.get("/api/projects").status_code == 200


def test_a_cookie_is_refused_at_the_other_kind_of_address_of_another_tenant(transport: TestClient) -> None:
    acme = Client(transport, "acme.localhost")
    acme.log_in()
    beta = Client(transport, prefix="/t/beta")
    beta.cookies = acme.cookies
    assert beta.get("/api/projects").status_code == 401


def test_a_cookie_is_sent_to_its_own_tenant_only(transport: TestClient) -> None:
    by_path = Client(transport, prefix="/t/acme").log_in().headers["set-cookie"]
    by_host = Client(transport, "acme.localhost").log_in().headers["set-cookie"]
    assert "Path=/t/acme;" in by_path
    assert "Path=/;" in by_host
    for cookie in (by_path, by_host):
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Domain" not in cookie


def test_a_login_to_the_account_opens_no_tenant(start: Client, at: At) -> None:
    account = start.log_in(path="/api/account/login")
    assert [tenant["key"] for tenant in account.json()["tenants"]] == ["acme", "beta"]
    assert start.get("/api/account").json() == account.json()
    acme = at("acme")
    acme.cookies = {"session": start.cookies["account"], "account": start.cookies["account"]}
    assert acme.get("/api/projects").status_code == 401


def test_a_login_to_a_tenant_does_not_open_the_account(start: Client, acme: Client) -> None:
    start.cookies = {"account": acme.cookies["session"]}
    assert start.get("/api/account").status_code == 401


def test_an_account_opens_each_of_its_tenants_and_no_other(start: Client) -> None:
    start.log_in(path="/api/account/login")
    for key in ("acme", "beta"):
        answer = start.post(f"/api/account/tenants/{key}")
        assert answer.status_code == 200
        assert f"Path=/t/{key};" in answer.headers["set-cookie"]
        assert secret_of(key) in start.get(f"/t/{key}/api/projects/START").text
    assert start.post("/api/account/tenants/gamma").status_code == 404
    assert start.post("/api/account/tenants/nobody").status_code == 404
    assert start.get("/t/gamma/api/projects").status_code == 401


def test_a_logout_removes_the_cookie(acme: Client) -> None:
    answer = acme.post("/api/logout")
    assert answer.status_code == 204
    assert 'session=""' in answer.headers["set-cookie"]
    assert f"Path={acme.prefix or '/'};" in answer.headers["set-cookie"]


def test_membership_is_checked_on_every_request(at: At, tenancy: Tenancy) -> None:
    client = at("beta")
    client.log_in()
    assert client.get("/api/projects").status_code == 200
    with tenancy.shared_session() as session:
        ada = session.scalars(select(User.id).where(User.email == OWNERS["acme"])).one()
        tenant = tenancy.get("beta")
        session.execute(delete(Membership).where(Membership.user_id == ada, Membership.tenant_id == tenant.id))
        session.commit()
    assert client.get("/api/projects").status_code == 403
    assert client.log_in().status_code == 401


def test_a_cookie_does_not_outlive_its_tenant(acme: Client, operator: Tenancy) -> None:
    operator.drop("acme")
    assert acme.get("/api/projects").status_code == 404
    operator.create("acme")
    assert acme.get("/api/projects").status_code == 401


def test_a_cookie_signed_with_another_key_is_refused(at: At, tenancy: Tenancy) -> None:
    login = {"user_id": 1, "tenantkit.tenant_id": tenancy.get("acme").id}
    client = at("acme")
    client.cookies["session"] = str(URLSafeTimedSerializer("another key", salt="tracker.tenant").dumps(login))
    assert client.get("/api/me").status_code == 401


def test_a_cookie_expires(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.fastapi_app.login.LIFETIME", -1)
    assert acme.get("/api/me").status_code == 401


def test_an_unknown_tenant_is_not_found(at: At) -> None:
    client = at("nobody")
    for path in ("/", "/api/here", "/api/account", "/api/login", "/api/projects", "/nowhere"):
        assert client.get(path).status_code == 404
    assert client.get("/static/page.js").status_code == 200


def test_a_suspended_tenant_is_refused(acme: Client, operator: Tenancy) -> None:
    paths = ("/", "/api/here", "/api/projects", "/api/me")
    operator.suspend("acme")
    for path in paths:
        answer = acme.get(path)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert acme.log_in().status_code == 503
    operator.resume("acme")
    assert [acme.get(path).status_code for path in paths] == [200] * len(paths)


def test_visitors_are_told_why_a_tenant_is_suspended_or_read_only(acme: Client, operator: Tenancy) -> None:
    until = datetime(2099, 1, 31, 8, tzinfo=UTC)
    operator.suspend("acme", message="We move <your> data.", until=until, read_only=True)
    assert acme.get("/api/projects").status_code == 200
    refused = acme.post("/api/projects", {"key": "NEW", "name": "New"})
    operator.suspend("acme", message="We move <your> data.", until=until)
    for answer in (refused, acme.get("/api/projects")):
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("We move <your> data. (until 2099-01-31 ")


def test_no_path_leads_from_one_tenants_host_to_another_tenant(transport: TestClient) -> None:
    assert Client(transport, "acme.localhost", "/t/beta").get("/api/here").status_code == 404


def test_a_request_from_another_site_changes_nothing(acme: Client) -> None:
    for origin in (
        "http://evil.example",
        "http://beta.localhost",
        "http://localhost:1",
        "null",
        "http://localhost.evil",
    ):
        answer = acme.post("/api/projects", {"key": "EVIL", "name": "x"}, headers={"Origin": origin})
        assert answer.status_code == 403
        keys = [project["key"] for project in acme.get("/api/projects", headers={"Origin": origin}).json()]
        assert keys == ["START"]
    own = acme.root.removesuffix(acme.prefix)
    assert acme.post("/api/projects", {"key": "GOOD", "name": "x"}, headers={"Origin": own}).status_code == 201


def test_a_login_from_another_site_is_refused(start: Client, at: At) -> None:
    origin = {"Origin": "http://evil.example"}
    credentials = {"email": OWNERS["acme"], "password": PASSWORD}
    assert at("acme").post("/api/login", credentials, headers=origin).status_code == 403
    assert start.post("/api/account/login", credentials, headers=origin).status_code == 403
    assert start.post("/api/sign-up", FORM, headers=origin).status_code == 403


def test_with_https_cookies_are_for_https_only(settings: Settings) -> None:
    from dataclasses import replace

    from fastapi import Response

    from examples.fastapi_app.login import Logins

    for https in (True, False):
        response = Response()
        Logins(replace(settings, https=https)).start_account(response, User(id=1))
        assert ("Secure" in response.headers["set-cookie"]) is https


def test_no_response_is_cached(start: Client, acme: Client) -> None:
    acme_paths = ("/", "/docs", "/api/here", "/api/me", "/api/projects", "/api/projects/START/tasks.ndjson", "/nowhere")
    for client, paths in ((acme, acme_paths), (start, ("/", "/api/account", "/t/nobody/api/me"))):
        for path in paths:
            assert client.get(path).headers["cache-control"] == "no-store", path
    assert "no-store" not in acme.get("/static/page.js").headers.get("cache-control", "")


def test_a_browser_gets_error_pages(at: At, acme: Client, operator: Tenancy) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    operator.suspend("gamma")
    for client, status, title in (
        (at("nobody"), 404, "This page does not exist"),
        (at("gamma"), 503, "Temporarily unavailable"),
        (acme, 404, "This page does not exist"),
    ):
        for path in ("/", "/nowhere/deeper") if client is not acme else ("/nowhere/deeper",):
            answer = client.get(path, headers=browser)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
            assert f"<h1>{title}</h1>" in answer.text
            for asset in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
                assert client.transport.get(client.root.removesuffix(client.prefix) + asset).status_code == 200
            program = client.get(path, headers={"Accept": "*/*"})
            assert program.headers["content-type"] == "application/json"
