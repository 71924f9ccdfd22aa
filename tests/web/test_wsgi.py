"""The WSGI middleware on plain applications: protocol, contexts, refusals."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx2
import pytest
from werkzeug import Response

from tenantkit import Tenancy, tenant_context
from tenantkit.context import current_tenant_or_none
from tenantkit.resolvers import Header, PathPrefix, SessionValue, first_of
from tenantkit.wsgi import TenantMiddleware
from tests.web.servers import serving_wsgi

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

RESOLVER = first_of(PathPrefix("/t"), Header("X-Tenant"))


def current_key() -> str | None:
    tenant = current_tenant_or_none()
    return tenant.key if tenant else None


def whoami(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{current_key()} {environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()]


def call(app: WSGIApplication, path: str = "/", **headers: str) -> tuple[str, dict[str, str], Iterable[bytes]]:
    environ: WSGIEnvironment = {"PATH_INFO": path, "SCRIPT_NAME": "", "wsgi.input": BytesIO(), "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    environ.update({f"HTTP_{name.upper()}": value for name, value in headers.items() if name != "method"})
    environ["REQUEST_METHOD"] = headers.get("method", "GET")
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> Any:
        started.extend([status, dict(headers)])
        return started.append

    body = app(environ, start_response)
    return started[0], started[1], body


def read(app: WSGIApplication, path: str = "/", **headers: str) -> str:
    _, _, body = call(app, path, **headers)
    text = b"".join(body).decode()
    if hasattr(body, "close"):
        body.close()
    return text


def test_the_prefix_moves_from_path_to_script_name(tenancy: Tenancy) -> None:
    app = TenantMiddleware(whoami, tenancy, resolver=RESOLVER)
    assert read(app, "/t/acme/projects/1") == "acme /t/acme|/projects/1"
    assert read(app, "/t/acme") == "acme /t/acme|"
    assert read(app, "/t/acme//t/beta/") == "acme /t/acme|//t/beta/"
    assert read(app, "/t/acme/../beta/") == "acme /t/acme|/../beta/"
    assert read(app, "/t/acme/caf\xc3\xa9") == "acme /t/acme|/caf\xc3\xa9"
    assert read(app, "/projects", x_tenant="beta") == "beta |/projects"


def test_a_validator_on_both_sides_finds_nothing_wrong(tenancy: Tenancy) -> None:
    app = validator(TenantMiddleware(validator(whoami), tenancy, resolver=RESOLVER, shared=["/"]))
    assert read(app, "/t/acme/x") == "acme /t/acme|/x"
    assert read(app, "/") == "None |/"
    assert read(app, "/x") == '{"detail": "Unknown tenant"}'
    assert read(app, "/x", method="HEAD") == ""


def test_a_body_need_not_have_a_close(tenancy: Tenancy) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return tuple(whoami(environ, start_response))

    assert read(TenantMiddleware(app, tenancy, resolver=RESOLVER), "/t/acme/") == "acme /t/acme|/"


def test_a_refusal_has_the_reason_in_the_accepted_format(tenancy: Tenancy) -> None:
    app = TenantMiddleware(whoami, tenancy, resolver=RESOLVER)
    status, headers, body = call(app, x_tenant="paused", accept="text/plain, */*")
    assert status == "503 Service Unavailable"
    assert (headers["retry-after"], headers["Content-Type"]) == ("3600", "text/plain; charset=utf-8")
    assert b"".join(body) == b"This tenant is unavailable (suspended)\n"
    status, headers, body = call(app, x_tenant="paused", accept="text/html, */*")
    assert (status, headers["Content-Type"]) == ("503 Service Unavailable", "text/html; charset=utf-8")
    assert b"<h1>This tenant is unavailable (suspended)</h1>" in b"".join(body)
    status, headers, body = call(app)
    assert (status, headers["Content-Type"], headers["cache-control"]) == (
        "404 Not Found",
        "application/json",
        "no-store",
    )


def test_the_response_to_a_refusal_can_be_any_application(tenancy: Tenancy) -> None:
    app = TenantMiddleware(
        whoami, tenancy, resolver=RESOLVER, refuse=lambda why: Response(f"no: {why.detail}", why.status, why.headers)
    )
    status, headers, body = call(app, x_tenant="paused")
    assert (status, headers["retry-after"]) == ("503 SERVICE UNAVAILABLE", "3600")
    assert b"".join(body) == b"no: This tenant is unavailable (suspended)"


def test_the_session_can_be_read_from_any_key_of_the_environ(tenancy: Tenancy) -> None:
    app = TenantMiddleware(
        whoami, tenancy, resolver=SessionValue("tenant"), load_session=lambda environ: {"tenant": environ["HTTP_X_KEY"]}
    )
    assert read(app, x_key="beta") == "beta |/"


class Body:
    """A body that records the tenant of each of its steps."""

    def __init__(self, steps: list[str | None], *, fails: bool = False) -> None:
        self.steps = steps
        self.fails = fails

    def __iter__(self) -> Generator[bytes]:
        self.steps.append(current_key())
        yield b"a"
        with tenant_context(None):
            self.steps.append(current_key())
            yield b"b"
            self.steps.append(current_key())
        if self.fails:
            raise ZeroDivisionError
        self.steps.append(current_key())

    def close(self) -> None:
        self.steps.append(current_key())


@pytest.mark.parametrize("fails", [False, True])
def test_a_body_runs_for_its_tenant_from_the_first_step_to_close(tenancy: Tenancy, fails: bool) -> None:
    steps: list[str | None] = []

    def stream(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Body(steps, fails=fails)

    app = TenantMiddleware(stream, tenancy, resolver=RESOLVER)
    outer = tenancy.get("beta")
    with tenant_context(outer):
        _, _, body = call(app, x_tenant="acme")
        chunks = iter(body)
        assert next(chunks) == b"a"
        assert current_key() == "beta"
        # Another request on the same thread, while this body waits, must not change the body's tenant.
        assert read(TenantMiddleware(whoami, tenancy, resolver=RESOLVER), x_tenant="gamma") == "gamma |/"
        assert next(chunks) == b"b"
        assert current_key() == "beta"
        if fails:
            with pytest.raises(ZeroDivisionError):
                next(chunks)
        else:
            assert next(chunks, None) is None
        body.close()  # type: ignore[attr-defined]
        assert current_key() == "beta"
    assert steps == ["acme", None, None, *([] if fails else ["acme"]), "acme"]


def test_an_exception_of_the_application_restores_the_outer_tenant(tenancy: Tenancy) -> None:
    def boom(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
        raise ZeroDivisionError

    app = TenantMiddleware(boom, tenancy, resolver=RESOLVER)
    with pytest.raises(ZeroDivisionError):
        call(app, x_tenant="acme")
    assert current_key() is None


def test_a_header_that_is_sent_twice_names_no_tenant(tenancy: Tenancy) -> None:
    with serving_wsgi(TenantMiddleware(whoami, tenancy, resolver=RESOLVER)) as port:
        for values in (["acme", "beta"], ["acme", "acme"]):
            response = httpx2.get(
                f"http://127.0.0.1:{port}/", timeout=60, headers=[("X-Tenant", value) for value in values]
            )
            assert response.status_code == 404
        assert httpx2.get(f"http://127.0.0.1:{port}/", timeout=60, headers={"X-Tenant": "acme"}).text == "acme |/"
