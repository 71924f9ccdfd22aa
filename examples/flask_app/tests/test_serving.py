"""The application behind a real server: sockets, Host headers, threads."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

import pytest
from flask import Flask
from waitress.server import create_server

from examples.conftest import OWNERS, secret_of
from examples.flask_app.tests.browser import Browser


@pytest.fixture
def port(app: Flask) -> Generator[int]:
    """The port of a server with more threads than the application has connections."""
    server: Any = create_server(app, host="127.0.0.1", port=0, threads=6)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.effective_port
    with suppress(OSError):  # the server may have ended by itself
        server.trigger.pull_trigger(server.close)
    server.task_dispatcher.shutdown()
    thread.join(timeout=60)


def _get(port: int, host: str, path: str, cookie: str = "") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": f"{host}:{port}", "Cookie": cookie})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_the_host_header_names_the_tenant(port: int, app: Flask) -> None:
    browser = Browser(app, "acme.localhost")
    browser.log_in()
    cookie = f"session={browser.cookie()}"
    assert "A project tracker for your team" in _get(port, "localhost", "/")[1]
    status, page = _get(port, "acme.localhost", "/projects/START", cookie)
    assert status == 200
    assert secret_of("acme") in page
    assert _get(port, "beta.localhost", "/projects/START", cookie)[0] == 302
    assert _get(port, "localhost", "/t/beta/projects/START", cookie)[0] == 302
    assert _get(port, "localhost", "/t/acme/projects/START", cookie)[0] == 200
    assert _get(port, "nobody.localhost", "/")[0] == 404
    for host in ("evil.example", "acme.localhost.evil.example", "acmelocalhost"):
        for path in ("/projects", "/t/acme/projects", "/t/acme", "/login"):
            assert _get(port, host, path, cookie)[0] == 400


@pytest.mark.all_cases
def test_concurrent_requests_of_many_tenants_have_their_own_data(port: int, app: Flask) -> None:
    cookies = {}
    for key, email in OWNERS.items():
        browser = Browser(app, f"{key}.localhost")
        browser.log_in(email)
        cookies[key] = f"session={browser.cookie()}"

    def visit(number: int) -> None:
        key = list(OWNERS)[number % len(OWNERS)]
        host, prefix = (f"{key}.localhost", "") if number % 3 else ("localhost", f"/t/{key}")
        status, page = _get(port, host, f"{prefix}/projects/START", cookies[key])
        assert status == 200
        assert {other for other in OWNERS if secret_of(other) in page} == {key}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(80)))
