"""Resolvers are functions of values, and hostile requests name no tenant."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantkit import ConfigurationError
from tenantkit.resolvers import (
    ByDomain,
    ByKey,
    Cookie,
    Domain,
    Header,
    PathPrefix,
    RequestView,
    SessionValue,
    Subdomain,
    Target,
    first_of,
    resolve,
)
from tenantkit.resolvers.request import parse_host

pytestmark = pytest.mark.each_value


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("acme.example.com", "acme.example.com"),
        ("ACME.Example.COM", "acme.example.com"),
        ("acme.example.com:8000", "acme.example.com"),
        ("acme.example.com.", "acme.example.com"),
        ("acme.example.com.:443", "acme.example.com"),
        ("my_key.localhost", "my_key.localhost"),
        ("127.0.0.1:8000", "127.0.0.1"),
    ],
)
def test_a_host_is_parsed_without_port_case_and_trailing_dot(header: str, host: str) -> None:
    assert parse_host(header) == host


@pytest.mark.parametrize(
    "header",
    [
        "",
        "[::1]:8000",
        "[::1",
        "::1",
        "user@acme.example.com",
        "acme.example.com@evil.com",
        "acme%2eexample.com",
        "%61cme.example.com",
        "acme.example.com:",
        "acme.example.com:80:80",
        "acme.example.com:x",
        "acme.example.com,beta.example.com",
        "acme.example.com/path",
        "acme.example.com?",
        "acme.example.com\\beta",
        " acme.example.com",
        "acme.example.com\n",
        "аcme.example.com",
        "acme.example.com\u0661",
        "\u212a.example.com",  # KELVIN SIGN, which lower() changes to an ordinary k
        ".example.com",
        "a" * 300,
    ],
)
def test_a_malformed_host_names_no_tenant(header: str) -> None:
    assert parse_host(header) == ""
    assert resolve(first_of(Subdomain("example.com"), Domain()), RequestView(host=parse_host(header))) is None


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("acme.example.com", "acme"),
        ("acme.localhost", "acme"),
        ("my_key.localhost", "my_key"),
        ("www.acme.example.com", None),
        ("acme..example.com", None),
        ("example.com", None),
        ("localhost", None),
        ("acmeexample.com", None),
        ("acme.example.com.evil.com", None),
        ("evil.com", None),
        ("1acme.example.com", None),
        ("pg_x.example.com", None),
        ("public.example.com", None),
        ("", None),
    ],
)
def test_a_subdomain_is_one_label_in_front_of_the_base(host: str, key: str | None) -> None:
    found = resolve(Subdomain("example.com", "localhost"), RequestView(host=host))
    assert found == (None if key is None else ByKey(key))


@pytest.mark.parametrize(
    "bases", [(), ("",), ("Example.com",), ("example.com:80",), (".example.com",), ("*.example.com",)]
)
def test_a_base_domain_that_cannot_match_is_refused(bases: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="base domain"):
        Subdomain(*bases)


def test_a_forwarded_host_is_not_trusted() -> None:
    headers = {"x-forwarded-host": "beta.example.com", "forwarded": "host=beta.example.com"}
    request = RequestView(host="acme.example.com", headers=headers)
    assert resolve(Subdomain("example.com"), request) == ByKey("acme")


def test_a_domain_is_looked_up_as_it_is_stored() -> None:
    assert resolve(Domain(), RequestView(host="acme.com")) == ByDomain("acme.com")
    assert resolve(Domain(), RequestView(host="a_b.com")) is None


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/t/acme/", ByKey("acme", "/t/acme")),
        ("/t/acme", ByKey("acme", "/t/acme")),
        ("/t/acme/projects/1", ByKey("acme", "/t/acme")),
        ("/t/acme//projects", ByKey("acme", "/t/acme")),
        ("/t/acme/../beta/projects", ByKey("acme", "/t/acme")),
        ("/t", None),
        ("/t/", None),
        ("/t//acme/", None),
        ("//t/acme/", None),
        ("/x/t/acme/", None),
        ("/tt/acme/", None),
        ("/T/acme/", None),
        ("/t/./acme/", None),
        ("/t/../t/acme/", None),
        ("/t/ACME/", None),
        ("/t/acme%2fx/", None),
        ("/t/acme\x00/", None),
        ("/t/acme;x=1/", None),
        ("/t/acmé/", None),
        ('/t/a"; DROP SCHEMA x; --/', None),
    ],
)
def test_a_path_prefix_is_followed_by_exactly_one_key(path: str, target: Target | None) -> None:
    assert resolve(PathPrefix("/t"), RequestView(path=path)) == target


def test_a_path_prefix_may_be_empty() -> None:
    assert resolve(PathPrefix(""), RequestView(path="/acme/projects")) == ByKey("acme", "/acme")


@pytest.mark.parametrize("prefix", ["t", "/t/", "/", "/t//u", "/t/{key}", "/é"])
def test_a_path_prefix_that_cannot_match_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="PathPrefix"):
        PathPrefix(prefix)


def test_headers_cookies_and_sessions_name_keys() -> None:
    request = RequestView(
        headers={"x-tenant": "acme", "cookie": 'a=b; nothing; tenant="beta"; e=f=g'},
        load_session=lambda: {"tenant": "delta"},
    )
    assert resolve(Header("X-Tenant"), request) == ByKey("acme")
    assert resolve(Cookie("tenant"), request) == ByKey("beta")
    assert request.cookies["e"] == "f=g"
    assert resolve(SessionValue("tenant"), request) == ByKey("delta")
    for resolver in (Header("X-Other"), Cookie("nothing"), SessionValue("other")):
        assert resolver(request) is None


def test_the_error_for_a_missing_session_names_it() -> None:
    with pytest.raises(ConfigurationError, match="session middleware"):
        SessionValue("tenant")(RequestView())


def test_the_first_result_is_used_even_if_it_is_no_tenant() -> None:
    resolver = first_of(PathPrefix("/t"), Header("X-Tenant"), lambda request: request.headers.get("x-key"))
    both = {"x-tenant": "beta", "x-key": "gamma"}
    assert resolve(resolver, RequestView(path="/t/acme/", headers=both)) == ByKey("acme", "/t/acme")
    assert resolve(resolver, RequestView(path="/t/ACME/", headers=both)) is None
    assert resolve(resolver, RequestView(headers=both)) == ByKey("beta")
    assert resolve(resolver, RequestView(headers={"x-key": "gamma"})) == ByKey("gamma")
    assert resolve(resolver, RequestView()) is None


@given(st.text())
@example("")
@example("acme,beta")
@example("ACME")
@example("acme\n")
@example("ａcme")
def test_no_text_but_a_valid_key_reaches_the_registry(text: str) -> None:
    for resolver in (Header("X-Tenant"), lambda request: request.headers["x-tenant"]):
        target = resolve(resolver, RequestView(headers={"x-tenant": text}))
        assert target is None or (
            isinstance(target, ByKey) and target.key == text and text.isascii() and text.islower()
        )
