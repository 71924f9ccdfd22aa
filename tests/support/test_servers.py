"""The way to a PostgreSQL server in Docker, as far as it goes without a daemon."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from sqlalchemy import make_url

from tests.support import servers


class Daemon(BaseHTTPRequestHandler):
    """Answers what Docker's client asks when it connects."""

    def do_GET(self) -> None:
        body = b'{"ApiVersion": "1.47", "MinAPIVersion": "1.24"}' if self.path.endswith("/version") else b"OK"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Daemon) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("daemon")
def test_a_daemon_that_answers_is_found() -> None:
    assert servers.docker_answers()


def test_where_no_daemon_answers_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for nowhere in ("tcp://127.0.0.1:1", "unix:///nowhere/docker.sock", "nonsense://"):
        monkeypatch.setenv("DOCKER_HOST", nowhere)
        assert not servers.docker_answers()


def test_a_given_server_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANTKIT_TEST_URL", "postgresql://someone@/db")
    with servers.running_server() as (url, source):
        assert (url, source) == (make_url("postgresql+psycopg://someone@/db"), "TENANTKIT_TEST_URL")


@pytest.mark.usefixtures("daemon")
def test_the_container_is_a_postgresql_that_forgets() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        container = servers.postgres_container()
    assert container.image.startswith("postgres:")
    assert "-c fsync=off" in str(container._command)
    assert container.driver == "+psycopg"
    container._docker.client.close()
