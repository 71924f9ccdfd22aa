"""The application behind a real server: sockets, Host headers, many requests at once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Generator

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from examples.conftest import OWNERS, PASSWORD, secret_of


@pytest.fixture
def url(app: FastAPI) -> Generator[str]:
    """The address of a server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=60)


def test_the_host_header_names_the_tenant(url: str) -> None:
    credentials = {"email": OWNERS["acme"], "password": PASSWORD}
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        assert client.get("/api/here", headers={"Host": "localhost"}).json() == {"tenant": None}
        assert client.get("/api/here", headers={"Host": "nobody.localhost:8000"}).status_code == 404
        for host in ("evil.example", "acme.localhost.evil.example", "acmelocalhost"):
            for path in ("/api/here", "/t/acme/api/here", "/t/acme", "/"):
                assert client.get(path, headers={"Host": host}).status_code == 400
        answer = client.post("/api/login", json=credentials, headers={"Host": "acme.localhost:8000"})
        assert answer.status_code == 200
        # The client connects to one host for all, and so sends its cookie to each.
        for host, status in {"acme": 200, "beta": 401, "gamma": 401}.items():
            answer = client.get("/api/projects/START", headers={"Host": f"{host}.localhost:8000"})
            assert answer.status_code == status
            assert (secret_of("acme") in answer.text) is (status == 200)


def test_a_browser_is_logged_in_to_several_tenants_at_once(url: str) -> None:
    credentials = {"email": OWNERS["acme"], "password": PASSWORD}
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        assert client.post("/t/acme/api/login", json=credentials).status_code == 200
        assert client.get("/t/beta/api/me").status_code == 401
        assert client.post("/t/beta/api/login", json=credentials).status_code == 200
        assert secret_of("acme") in client.get("/t/acme/api/projects/START").text
        assert secret_of("beta") in client.get("/t/beta/api/projects/START").text
        assert client.post("/t/acme/api/logout").status_code == 204
        assert client.get("/t/acme/api/me").status_code == 401
        assert client.get("/t/beta/api/me").status_code == 200


@pytest.mark.all_cases
def test_concurrent_requests_of_many_tenants_have_their_own_data(url: str) -> None:
    async def visit_all() -> None:
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            for key, email in OWNERS.items():
                credentials = {"email": email, "password": PASSWORD}
                assert (await client.post(f"/t/{key}/api/login", json=credentials)).status_code == 200

            async def visit(number: int) -> None:
                key = list(OWNERS)[number % len(OWNERS)]
                path = ("projects/START", "projects/START/tasks.ndjson", "tasks?words=secret")[number % 3]
                answer = await client.get(f"/t/{key}/api/{path}")
                assert answer.status_code == 200
                assert {other for other in OWNERS if secret_of(other) in answer.text} == {key}

            await asyncio.gather(*(visit(number) for number in range(120)))

    asyncio.run(visit_all())
