"""Visitors of a suspended tenant get its message and its end time; those of a read-only one, if they write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from html.parser import HTMLParser
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text
from starlette.testclient import TestClient
from typing_extensions import override
from werkzeug.test import Client

from tenantkit import ConfigurationError, Tenancy, TenantSession, TenantUnavailableError, asgi, wsgi
from tenantkit.fastapi import TenantMiddleware, tenant_session
from tenantkit.flask import TenantKit
from tenantkit.notice import check_notice
from tenantkit.resolvers import PathPrefix, Refusal
from tests.support.models import Project

MESSAGE = "<b>Back</b> at 8 & later"
ESCAPED = "&lt;b&gt;Back&lt;/b&gt; at 8 &amp; later"
RESOLVER = PathPrefix("/t")


def read(session: TenantSession) -> str:
    return ",".join(session.scalars(select(Project.name)))


def write(session: TenantSession) -> str:
    session.add(Project(name="new"))
    session.flush()
    return "written"


WORK: dict[str, Callable[[TenantSession], str]] = {"/read": read, "/write": write}


def fastapi_app(tenancy: Tenancy) -> Any:
    app = FastAPI()
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=RESOLVER)

    def endpoint(work: Callable[[TenantSession], str]) -> Callable[..., str]:
        def run(session: Annotated[TenantSession, Depends(tenant_session)]) -> str:
            return work(session)

        return run

    for path, work in WORK.items():
        app.add_api_route(path, endpoint(work))
    return TestClient(app)


def asgi_app(tenancy: Tenancy) -> Any:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        with tenancy.session() as session:
            body = WORK[scope["path"].removeprefix(scope["root_path"])](session).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return TestClient(asgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))


def wsgi_app(tenancy: Tenancy) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        with tenancy.session() as session:
            body = WORK[environ["PATH_INFO"]](session).encode()
        start_response("200 OK", [])
        return [body]

    return Client(wsgi.TenantMiddleware(app, tenancy, resolver=RESOLVER))


def flask_app(tenancy: Tenancy) -> Any:
    app, kit = Flask(__name__), TenantKit()
    kit.init_app(app, tenancy, resolver=RESOLVER)
    for path, work in WORK.items():
        app.add_url_rule(path, path, lambda work=work: work(kit.session))
    return Client(app)


SITES: dict[str, Callable[[Tenancy], Any]] = {
    "fastapi": fastapi_app,
    "asgi": asgi_app,
    "wsgi": wsgi_app,
    "flask": flask_app,
}


def assert_refused(response: Any, seconds: tuple[int, int], *, escaped: bool) -> None:
    least, greatest = seconds
    assert (response.status_code, response.headers["cache-control"]) == (503, "no-store")
    assert least <= int(response.headers["retry-after"]) <= greatest
    assert (ESCAPED if escaped else MESSAGE) in response.text
    assert not escaped or MESSAGE not in response.text


@pytest.mark.parametrize("site", SITES)
def test_visitors_are_told_the_message_and_the_end(tenancy: Tenancy, engine: Engine, site: str) -> None:
    client, html = SITES[site](tenancy), {"Accept": "text/html"}
    tenancy.suspend("acme", message=MESSAGE, until=timedelta(hours=2))
    escaped = client.get("/t/acme/read", headers=html)
    assert_refused(escaped, (3600, 7200), escaped=True)
    assert_refused(client.get("/t/acme/read"), (3600, 7200), escaped=site == "flask")
    if site != "flask":
        assert client.get("/t/acme/read").headers["vary"].lower() == "accept"
        assert "<time datetime=" in escaped.text
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET until = now() - interval '1 hour'"))
    tenancy.cache.clear()
    assert_refused(client.get("/t/acme/read", headers=html), (3600, 3600), escaped=True)
    tenancy.suspend("acme", message=MESSAGE, until=timedelta(seconds=30), read_only=True)
    assert client.get("/t/acme/read").status_code == 200
    assert_refused(client.get("/t/acme/write", headers=html), (1, 60), escaped=True)
    assert client.get("/t/beta/write").status_code == 200
    tenancy.resume("acme")
    assert client.get("/t/acme/write").status_code == 200
    assert tenancy.get("acme").message is None


@pytest.mark.parametrize("site", ["asgi", "wsgi", "flask"])
def test_the_error_of_another_tenants_session_is_the_applications(
    tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    client = SITES[site](tenancy)
    monkeypatch.setitem(WORK, "/read", lambda _: tenancy.session("paused"))
    if site == "flask":
        client = SITES[site](tenancy)
        assert client.get("/t/acme/read").status_code == 500
    else:
        with pytest.raises(TenantUnavailableError):
            client.get("/t/acme/read")


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headings: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    @override
    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["h1"]:
            self.headings.append(data)


@given(st.text(max_size=600))
@example("</h1><script>alert(1)</script>")
@example("{detail} {0} %s")
@example("a\r\nSet-Cookie: x=y")
def test_a_message_is_shown_as_it_is_or_refused_before(message: str) -> None:
    try:
        check_notice(message, None)
    except ConfigurationError:
        assert len(message) > 500 or not message.strip() or not message.isprintable()
        return
    refusal = Refusal(503, message)
    page = _Texts()
    page.feed(refusal.body("text/html")[1].decode())
    assert page.tags == ["html", "head", "meta", "meta", "title", "body", "h1"]
    assert "".join(page.headings).rstrip("\n") == message
    assert refusal.body("text/plain")[1].decode() == f"{message}\n"
    assert len(refusal.body("")[1].splitlines()) == 1
