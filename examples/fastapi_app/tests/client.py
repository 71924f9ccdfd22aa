"""The client of the API's tests."""

from __future__ import annotations

from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from examples.conftest import OWNERS, PASSWORD


class Client:
    """A client at one place: a host, or a path below one. It has its own cookies."""

    def __init__(self, transport: TestClient, host: str = "localhost", prefix: str = "") -> None:
        self.transport = transport
        self.prefix = prefix
        self.root = f"http://{host}{prefix}"
        self.cookies: dict[str, str] = {}

    def call(self, method: str, path: str, **options: Any) -> Response:
        """Send a request."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies, **options.pop("headers", {})}
        answer = self.transport.request(method, self.root + path, headers=headers, follow_redirects=False, **options)
        self.cookies.update(answer.cookies)
        self.transport.cookies.clear()
        return answer

    def get(self, path: str, **options: Any) -> Response:
        """Get a document."""
        return self.call("GET", path, **options)

    def post(self, path: str, content: Any = None, **options: Any) -> Response:
        """Send a document."""
        return self.call("POST", path, json=content, **options)

    def patch(self, path: str, content: Any) -> Response:
        """Send changes."""
        return self.call("PATCH", path, json=content)

    def log_in(self, email: str = OWNERS["acme"], password: str = PASSWORD, *, path: str = "/api/login") -> Response:
        """Log in here."""
        return self.post(path, {"email": email, "password": password})
