"""Logins, and access to tenants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import delete, select

from examples.conftest import OWNERS, PASSWORD, secret_of
from examples.flask_app.tests.browser import Browser
from examples.tracker.accounts import find_user
from examples.tracker.models import Member, Membership, Role, User
from tenantkit import Tenancy

pytestmark = pytest.mark.all_cases

At = Callable[[str], Browser]

FORM = {
    "tenant_name": "Initech",
    "tenant_key": "initech",
    "name": "Peter",
    "email": "peter@initech.example",
    "password": PASSWORD,
}


def test_a_sign_up_opens_the_new_tenant(app: Flask, tenancy: Tenancy) -> None:
    browser = Browser(app)
    answer = browser.post("/sign-up", FORM, page="/sign-up")
    assert answer.status_code == 302
    page = browser.get(answer.location, follow=True)
    assert page.request.path == "/t/initech/projects"
    assert "Welcome to Initech!" in page.text
    assert "First steps" in page.text
    with tenancy.session("initech") as session:
        assert session.scalars(select(Member.display_name)).all() == ["Peter"]
        membership = session.scalars(select(Membership).where(Membership.tenant_key == "initech")).one()
        assert (membership.tenant_id, membership.role) == (tenancy.get("initech").id, Role.OWNER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tenant_key": "acme"}, "This address is taken"),
        ({"tenant_key": "www"}, "it is reserved"),
        ({"tenant_key": "pg-stat"}, None),
        ({"tenant_key": 'x"; drop schema t_acme; --'}, "Use lower-case letters"),
        ({"tenant_key": "Initech"}, "Use lower-case letters"),
        ({"password": "short"}, "between 10 and 200 characters"),
        ({"email": ""}, "This field is required"),
        ({"name": "Pe\0ter"}, "without control characters"),
        ({"tenant_name": "Initech\0"}, "without control characters"),
        ({"email": OWNERS["acme"], "password": "some other password"}, "has an account already"),
    ],
)
def test_a_refused_sign_up_is_shown_again_with_the_reason(
    app: Flask, tenancy: Tenancy, change: dict[str, str], message: str | None
) -> None:
    answer = Browser(app).post("/sign-up", FORM | change, page="/sign-up")
    keys = {tenant.key for tenant in tenancy.list()}
    if message is None:
        assert keys == {*OWNERS, change["tenant_key"]}
    else:
        assert answer.status_code == 200
        assert message in answer.text
        assert keys == set(OWNERS)


@pytest.mark.parametrize("place", [{}, {"prefix": "/t/acme"}])
def test_a_value_that_no_row_can_have_is_a_client_error(app: Flask, place: dict[str, str]) -> None:
    browser = Browser(app, **place)
    assert browser.log_in(email="ada\0@acme.example").status_code == 400
    if place:
        browser.log_in()
        for path in ("/projects/START/99999999999999999999", "/projects/%00", "/projects/START/%00"):
            assert browser.get(path).status_code in {400, 404}
        assert browser.post("/projects/new", {"name": "a\0b", "key": "WEB"}, page="/projects").status_code in {400, 404}


def test_an_account_gets_a_second_tenant_by_the_same_password(app: Flask, tenancy: Tenancy) -> None:
    answer = Browser(app).post("/sign-up", FORM | {"email": OWNERS["acme"].upper()}, page="/sign-up")
    assert answer.status_code == 302
    with tenancy.shared_session() as session:
        ada = session.scalars(select(User).where(User.email == OWNERS["acme"])).one()
        assert {membership.tenant_key for membership in ada.memberships} == {"acme", "beta", "initech"}


def test_a_member_logs_in(at: At) -> None:
    browser = at("acme")
    assert browser.get("/projects").location.endswith("/login")
    answer = browser.log_in()
    assert (answer.status_code, answer.location) == (302, f"{browser.prefix}/projects")
    assert "Ada" in browser.get("/projects").text


@pytest.mark.parametrize(
    ("email", "password"),
    [(OWNERS["acme"], "wrong password"), ("nobody@acme.example", PASSWORD), (OWNERS["beta"], PASSWORD)],
    ids=["wrong password", "no account", "no member"],
)
def test_other_users_cannot_log_in(at: At, email: str, password: str) -> None:
    browser = at("acme")
    answer = browser.log_in(email, password)
    assert answer.status_code == 200
    assert "do not open this door" in answer.text
    assert browser.get("/projects").status_code == 302


def test_a_cookie_of_one_tenant_is_refused_at_another(at: At, acme: Browser) -> None:
    beta = at("beta")
    beta.take_cookie(acme.cookie())
    answer = beta.get("/projects")
    assert (answer.status_code, answer.location) == (302, f"{beta.prefix}/login")
    assert secret_of("beta") not in beta.get("/projects/START", follow=True).text
    assert acme.get("/projects").status_code == 200


def test_a_cookie_is_refused_at_the_other_kind_of_address_of_another_tenant(app: Flask) -> None:
    acme = Browser(app, "acme.localhost")
    acme.log_in()
    beta = Browser(app, prefix="/t/beta")
    beta.take_cookie(acme.cookie())
    assert beta.get("/projects").status_code == 302


def test_a_cookie_is_sent_to_its_own_tenant_only(app: Flask) -> None:
    browser = Browser(app, prefix="/t/acme")
    cookie = next(value for value in browser.log_in().headers.getlist("Set-Cookie") if value.startswith("session="))
    assert "Path=/t/acme" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Domain" not in cookie


def test_a_member_of_two_tenants_logs_in_to_each(at: At) -> None:
    acme, beta = at("acme"), at("beta")
    beta.client = acme.client  # one browser
    acme.log_in()
    assert beta.get("/projects").status_code == 302
    beta.log_in()
    assert secret_of("acme") in acme.get("/projects/START").text
    assert secret_of("beta") in beta.get("/projects/START").text
    acme.post("/logout", page="/projects")
    assert acme.get("/projects").status_code == 302
    assert beta.get("/projects").status_code == 200


def test_a_login_to_the_list_of_tenants_opens_no_tenant(app: Flask) -> None:
    start = Browser(app)
    assert start.log_in().location == "/tenants"
    acme = Browser(app, prefix="/t/acme")
    acme.client = start.client
    assert acme.get("/projects").status_code == 302
    acme.take_cookie(start.cookie("account"))
    assert acme.get("/projects").status_code == 302


def test_a_login_to_a_tenant_does_not_open_the_list_of_tenants(app: Flask, acme: Browser) -> None:
    start = Browser(app)
    start.take_cookie(acme.cookie(), name="account")
    assert start.get("/tenants").location == "/login"


def test_the_list_of_tenants_opens_those_of_the_user(app: Flask) -> None:
    browser = Browser(app)
    browser.log_in()
    page = browser.get("/tenants").text
    assert all(name in page for name in ("Acme", "Beta"))
    assert "Gamma" not in page
    answer = browser.post("/tenants/beta", page="/tenants")
    assert answer.location == "/t/beta/"
    assert secret_of("beta") in browser.get("/t/beta/projects/START").text
    assert browser.post("/tenants/gamma", page="/tenants").status_code == 404
    assert browser.get("/t/gamma/projects").status_code == 302


def test_membership_is_checked_on_every_request(at: At, tenancy: Tenancy) -> None:
    browser = at("beta")
    browser.log_in()
    assert browser.get("/projects").status_code == 200
    with tenancy.shared_session() as session:
        ada = find_user(session, OWNERS["acme"])
        assert ada is not None
        session.execute(
            delete(Membership).where(Membership.user_id == ada.id, Membership.tenant_id == tenancy.get("beta").id)
        )
        session.commit()
    assert browser.get("/projects").status_code == 302
    assert browser.log_in().status_code == 200


def test_a_cookie_does_not_outlive_its_tenant(acme: Browser, tenancy: Tenancy, operator: Tenancy) -> None:
    operator.drop("acme")
    tenancy.cache.clear()
    assert acme.get("/projects").status_code == 404
    operator.create("acme")
    tenancy.cache.clear()
    assert acme.get("/projects").status_code == 302


def test_a_forged_cookie_is_refused(at: At, acme: Browser) -> None:
    value = acme.cookie()
    stranger = at("acme")
    stranger.take_cookie(value[:-3] + ("aaa" if not value.endswith("aaa") else "bbb"))
    assert stranger.get("/projects").status_code == 302


def test_an_unknown_tenant_is_not_found(at: At) -> None:
    browser = at("nobody")
    for path in ("/", "/login", "/sign-up", "/projects", "/nowhere"):
        answer = browser.get(path)
        assert answer.status_code == 404
        assert "This page does not exist" in answer.text
        assert "Log in" not in answer.text
    with browser.get("/static/style.css") as style:
        assert style.status_code == 200


def test_a_suspended_tenant_is_refused(acme: Browser, tenancy: Tenancy, operator: Tenancy) -> None:
    paths = ("/", "/login", "/projects", "/projects/START")
    operator.suspend("acme")
    tenancy.cache.clear()
    for path in paths:
        answer = acme.get(path)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "Temporarily unavailable" in answer.text
        assert "First steps" not in answer.text
    operator.resume("acme")
    tenancy.cache.clear()
    assert [acme.get(path, follow=True).status_code for path in paths] == [200] * len(paths)


def test_visitors_are_told_why_a_tenant_is_suspended_or_read_only(
    acme: Browser, tenancy: Tenancy, operator: Tenancy
) -> None:
    until = datetime(2099, 1, 31, 8, tzinfo=UTC)
    operator.suspend("acme", message="We move <your> data.", until=until, read_only=True)
    tenancy.cache.clear()
    assert acme.get("/projects").status_code == 200
    refused = acme.post("/projects/new", {"name": "New", "key": "NEW"}, page="/projects")
    operator.suspend("acme", message="We move <your> data.", until=until)
    tenancy.cache.clear()
    for answer in (refused, acme.get("/projects")):
        assert answer.status_code == 503
        assert "We move &lt;your&gt; data. (until 2099-01-31 " in answer.text


def test_no_path_leads_from_one_tenants_host_to_another_tenant(app: Flask) -> None:
    assert Browser(app, "acme.localhost", "/t/beta").get("/login").status_code == 404


def test_no_page_is_cached(app: Flask, acme: Browser) -> None:
    for browser, paths in (
        (acme, ("/projects", "/projects/START", "/members", "/activity", "/login", "/nowhere")),
        (Browser(app), ("/", "/login", "/sign-up", "/tenants", "/t/nobody/projects")),
    ):
        for path in paths:
            assert browser.get(path).headers["Cache-Control"] == "no-store", path
    with acme.get("/static/style.css") as style:
        assert "no-store" not in style.headers["Cache-Control"]
