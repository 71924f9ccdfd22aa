"""Hosts, cookies and headers are parsed as in the frameworks, or they name no tenant."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from werkzeug.http import parse_cookie
from werkzeug.wsgi import get_host

from tenantkit.asgi import _headers
from tenantkit.resolvers import ByKey, Cookie, Header, RequestView, resolve
from tenantkit.resolvers.request import parse_host
from tenantkit.wsgi import _headers as wsgi_headers

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Settings for a loaded machine."""

COOKIE_PARTS = st.sampled_from(
    [
        "tenant", "tenant=", "=", "acme", "beta", '"acme"', '"ac\\155e"', '"ac\\me"', '"acme', 'acme"', '"', "\\", ";",
        "; ", ",", " ", "\t", "\xa0", "\x85", "tenant=acme", "tenant=beta", 'x="; ', "TENANT=beta", "a=b", "é", "\x1f",
    ]
)  # fmt: skip
COOKIES = st.lists(COOKIE_PARTS, max_size=12).map("".join) | st.text(st.characters(max_codepoint=255))


def starlette_request(*headers: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope: dict[str, Any] = {"type": "http", "headers": raw, "path": "/", "scheme": "http", "server": ("server", 80)}
    return Request(scope)


@UNHURRIED
@given(COOKIES)
@example('tenant="ac\\155e"')
@example('tenant="acme"')
@example('tenant="acme')
@example("tenant=acme; tenant=beta")
@example("tenant=beta; tenant=acme; tenant=beta")
@example('x="; tenant=acme; y="')
@example("tenant; tenant=acme")
@example("tenant=acme; \x85tenant=beta")
@example("\x1ftenant=acme")
@example("tenant=\xa0acme")
def test_a_cookie_is_parsed_as_in_the_frameworks_or_names_no_tenant(header: str) -> None:
    target = resolve(Cookie("tenant"), RequestView(headers={"cookie": header}))
    if target is not None:
        assert isinstance(target, ByKey)
        assert starlette_request(("cookie", header)).cookies["tenant"] == target.key
        with suppress(UnicodeDecodeError):  # then Flask parses no cookie at all
            assert parse_cookie(header)["tenant"] == target.key


@UNHURRIED
@given(
    st.lists(st.sampled_from(["tenant=acme", 'tenant="acme"', "a=b", 'c="d"', "e=f=g", "h=", 'i="j\\"k"']), min_size=1)
)
def test_a_plain_cookie_is_read(pairs: list[str]) -> None:
    target = resolve(Cookie("tenant"), RequestView(headers={"cookie": "; ".join(pairs)}))
    assert target == (ByKey("acme") if any(pair.startswith("tenant") for pair in pairs) else None)


@UNHURRIED
@given(st.lists(COOKIES, max_size=3))
@example(["tenant=acme", "tenant=beta"])
def test_several_cookie_headers_are_parsed_as_in_one_framework(headers: list[str]) -> None:
    request = starlette_request(*(("cookie", header) for header in headers))
    target = resolve(Cookie("tenant"), RequestView(headers=_headers(request.scope)))
    if target is not None:
        assert isinstance(target, ByKey)
        assert request.cookies["tenant"] == target.key


HOSTS = st.lists(
    st.sampled_from(["acme", "beta", ".", "example.com", ":", "80", "8000", "_", "-", "A", "@", ",", " ", "[::1]", "/", "é", "%61"]),
    max_size=6,
).map("".join) | st.text(st.characters(max_codepoint=255), max_size=20)  # fmt: skip


@UNHURRIED
@given(HOSTS)
@example("acme.example.com:8000")
@example("ACME.example.com.")
@example("acme.example.com@beta.example.com")
@example("acme.example.com:80:90")
def test_a_host_is_parsed_as_in_the_frameworks_or_names_no_tenant(header: str) -> None:
    host = parse_host(header)
    if not host:
        return
    by_starlette = starlette_request(("host", header)).url.hostname or ""
    assert by_starlette.lower().removesuffix(".") == host
    # Werkzeug refuses an underscore, and then has no host at all.
    by_werkzeug = (
        urlsplit(
            f"http://{get_host({'HTTP_HOST': header, 'wsgi.url_scheme': 'http', 'SERVER_NAME': 'server', 'SERVER_PORT': '80'})}"
        ).hostname
        or ""
    )
    assert by_werkzeug.lower().removesuffix(".") in {host, ""}


@UNHURRIED
@given(st.lists(st.sampled_from(["acme", "beta", "", " acme", "acme,beta"]), min_size=1, max_size=3))
def test_a_header_is_parsed_as_in_the_frameworks_or_names_no_tenant(values: list[str]) -> None:
    request = starlette_request(*(("x-tenant", value) for value in values))
    target = resolve(Header("X-Tenant"), RequestView(headers=_headers(request.scope)))
    if target is not None:
        assert isinstance(target, ByKey)
        assert request.headers.getlist("x-tenant") == [target.key]
    joined = {"HTTP_X_TENANT": ",".join(values)}
    assert resolve(Header("X-Tenant"), RequestView(headers=wsgi_headers(joined))) == target
