"""Claims count only when the token that makes them is verified."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import jwt
import pytest

from tenantkit import ConfigurationError
from tenantkit.resolvers import ByKey, Header, RequestView, first_of, resolve
from tenantkit.resolvers.jwt import JWTClaim

SECRET = "a secret of at least thirty-two bytes"
CLAIM = JWTClaim("tenant", key=SECRET, algorithms=["HS256"])


def token(*, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"tenant": "acme", "exp": time.time() + 3600, **claims}, key, algorithm=algorithm)


def with_token(value: str) -> RequestView:
    return RequestView(headers={"authorization": f"Bearer {value}", "x-tenant": "beta"})


def test_a_verified_claim_names_the_tenant() -> None:
    assert resolve(CLAIM, with_token(token())) == ByKey("acme")


HOUR = 3600.0

FORGED = {
    "another key": token(key="another secret of at least thirty-two bytes"),
    "expired": token(exp=time.time() - 60),
    "not yet valid": token(nbf=time.time() + HOUR),
    "for another audience": token(aud="someone else"),
    "another algorithm": token(algorithm="HS512", key=SECRET * 2),
    "a number as key": token(tenant=7),
    "a malformed key": token(tenant="ACME"),
    "no claim": jwt.encode({"exp": time.time() + HOUR}, SECRET, algorithm="HS256"),
    "no expiry": jwt.encode({"tenant": "acme"}, SECRET, algorithm="HS256"),
    "not signed": jwt.encode({"tenant": "acme", "exp": time.time() + HOUR}, "", algorithm="none"),
    "cut": token()[:-2],
    "two": token() + "," + token(),
    "empty": "",
    "no ASCII": "ü",
    "no token": "a.b.c",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_token_that_does_not_verify_names_nobody_and_no_other_resolver_is_asked(forged: str) -> None:
    assert resolve(first_of(CLAIM, Header("X-Tenant")), with_token(forged)) is None


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic YTpi"}, {"authorization": ""}])
def test_a_request_without_a_token_is_passed_on(headers: dict[str, str]) -> None:
    request = RequestView(headers={**headers, "x-tenant": "beta"})
    assert resolve(first_of(CLAIM, Header("X-Tenant")), request) == ByKey("beta")


def test_audience_issuer_and_place_of_the_token_can_be_given() -> None:
    claim = JWTClaim(
        "tenant",
        key=SECRET,
        algorithms=["HS256"],
        audience="api",
        issuer="us",
        token=lambda request: request.cookies.get("token"),
    )
    for claims, found in (
        ({"aud": "api", "iss": "us"}, ByKey("acme")),
        ({"aud": "api", "iss": "them"}, None),
        ({}, None),
    ):
        assert resolve(claim, RequestView(headers={"cookie": f"token={token(**claims)}"})) == found


@pytest.mark.parametrize("algorithms", [[], "HS256", ["none"], ["None", "RS256"], ["HS256", "RS256"]])
def test_algorithms_that_do_not_protect_are_refused(algorithms: Sequence[str]) -> None:
    with pytest.raises(ConfigurationError, match="algorithms="):
        JWTClaim("tenant", key=SECRET, algorithms=algorithms)


def test_pyjwt_and_frameworks_are_imported_only_by_the_modules_that_need_them() -> None:
    # Measured against what is there already: coverage, for one, imports greenlet.
    code = (
        "import sys; before = set(sys.modules)\n"
        "import tenantkit.asgi, tenantkit.wsgi, tenantkit.resolvers, tenantkit.session_cookies\n"
        "edges = {'jwt', 'starlette', 'fastapi', 'flask', 'werkzeug', 'greenlet', 'alembic'}\n"
        "print(edges & (set(sys.modules) - before))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == "set()"
