"""Claims are used only if their token is verified."""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from typing import Any

import jwt
import pytest

from tenantkit import ConfigurationError
from tenantkit.resolvers import ByKey, Header, Refusal, RequestView, first_of, resolve
from tenantkit.resolvers.jwt import JWTClaim
from tests.web.servers import serving_wsgi

pytestmark = pytest.mark.each_value

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
def test_a_token_that_does_not_verify_is_refused_and_no_other_resolver_is_asked(
    forged: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "tenantkit"):
        refusal = resolve(first_of(CLAIM, Header("X-Tenant")), with_token(forged))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert len(forged) < 10 or forged not in record.getMessage()


@pytest.mark.parametrize("value", [7, ["acme"], "ACME", ""])
def test_a_verified_claim_that_is_no_key_names_no_tenant_and_no_other_resolver_is_asked(value: Any) -> None:
    assert resolve(first_of(CLAIM, Header("X-Tenant")), with_token(token(tenant=value))) is None


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic YTpi"}, {"authorization": ""}])
def test_a_request_without_a_token_is_passed_on(headers: dict[str, str]) -> None:
    request = RequestView(headers={**headers, "x-tenant": "beta"})
    assert resolve(first_of(CLAIM, Header("X-Tenant")), request) == ByKey("beta")


def test_audience_issuer_and_location_of_the_token_can_be_given() -> None:
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
        ({"aud": "api", "iss": "them"}, 401),
        ({}, 401),
    ):
        answer = resolve(claim, RequestView(headers={"cookie": f"token={token(**claims)}"}))
        assert (answer.status if isinstance(answer, Refusal) else answer) == found


@pytest.mark.parametrize("algorithms", [[], "HS256", ["none"], ["None", "RS256"], ["HS256", "RS256"]])
def test_algorithms_that_do_not_protect_are_refused(algorithms: Sequence[str]) -> None:
    with pytest.raises(ConfigurationError, match="algorithms="):
        JWTClaim("tenant", key=SECRET, algorithms=algorithms)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.skipif(importlib.util.find_spec("cryptography") is not None, reason="cryptography is installed")
def test_an_algorithm_that_needs_cryptography_is_refused_without_it(algorithm: str) -> None:
    with pytest.raises(ConfigurationError, match=r"pip install 'pyjwt\[crypto\]'"):
        JWTClaim("tenant", key="a public key", algorithms=[algorithm])


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("HS257", SECRET),
        ("HS256", 7),
        ("HS256", "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----"),
        ("HS256", {"kty": "oct", "k": "c2VjcmV0"}),
        ("HS256", jwt.PyJWK({"kty": "oct", "alg": "HS512", "k": "c2VjcmV0"})),
    ],
)
def test_a_key_that_cannot_verify_any_token_is_refused(algorithm: str, key: Any) -> None:
    with pytest.raises(ConfigurationError, match=algorithm) as refused:
        JWTClaim("tenant", key=key, algorithms=[algorithm])
    assert SECRET not in str(refused.value)


def test_a_public_key_verifies_its_own_algorithms_and_no_other() -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = jwt.encode({"tenant": "acme", "exp": time.time() + HOUR}, private, algorithm="RS256")
    claim = JWTClaim("tenant", key=public, algorithms=["RS256", "PS256"])
    assert resolve(claim, with_token(signed)) == ByKey("acme")
    assert isinstance(resolve(claim, with_token(token())), Refusal)
    for algorithm, key in (("ES256", public), ("HS256", public), ("RS256", SECRET), ("RS256", 7)):
        with pytest.raises(ConfigurationError, match=algorithm):
            JWTClaim("tenant", key=key, algorithms=[algorithm])


@pytest.fixture
def key_set() -> Generator[tuple[str, dict[str, Any]]]:
    """The address of a key set on a real server, and the answer that it gives."""
    answer: dict[str, Any] = {
        "keys": [{"kty": "oct", "alg": "HS256", "kid": "1", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()}]
    }

    def serve(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    with serving_wsgi(serve) as port:
        yield f"http://127.0.0.1:{port}/keys.json", answer


def test_keys_can_come_from_a_key_set(key_set: tuple[str, dict[str, Any]]) -> None:
    url, _ = key_set
    claim = JWTClaim("tenant", key=jwt.PyJWKClient(url), algorithms=["HS256"])
    assert claim.blocking
    assert first_of(Header("X-Other"), claim).blocking  # type: ignore[attr-defined]

    def ask(**options: Any) -> Any:
        signed = jwt.encode({"tenant": "acme", "exp": time.time() + HOUR}, algorithm="HS256", **options)
        answer = resolve(claim, with_token(signed))
        return answer.status if isinstance(answer, Refusal) else answer

    assert ask(key=SECRET, headers={"kid": "1"}) == ByKey("acme")
    assert ask(key=SECRET * 2, headers={"kid": "1"}) == 401
    assert ask(key=SECRET, headers={"kid": "2"}) == 401
    assert ask(key=SECRET) == 401


def test_a_key_set_that_cannot_be_fetched_is_a_503(key_set: tuple[str, dict[str, Any]]) -> None:
    url, answer = key_set
    signed = jwt.encode({"tenant": "acme", "exp": time.time() + HOUR}, SECRET, headers={"kid": "1"})
    answer["keys"] = []
    for client in (jwt.PyJWKClient(url), jwt.PyJWKClient("http://127.0.0.1:9/keys.json")):
        refusal = resolve(JWTClaim("tenant", key=client, algorithms=["HS256"]), with_token(signed))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.retry_after) == (503, 5)


def test_pyjwt_and_frameworks_are_imported_only_by_the_modules_that_need_them() -> None:
    # Compared with the modules before: coverage, for example, imports greenlet, and so does SQLAlchemy 2.0.
    code = (
        "import sys, sqlalchemy.orm; before = set(sys.modules)\n"
        "import tenantkit.asgi, tenantkit.wsgi, tenantkit.resolvers, tenantkit.web.session_cookies\n"
        "edges = {'jwt', 'starlette', 'fastapi', 'flask', 'werkzeug', 'greenlet', 'alembic'}\n"
        "print(edges & (set(sys.modules) - before))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == "set()"
