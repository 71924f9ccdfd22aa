"""The browser of the pages' tests."""

from __future__ import annotations

import re
from html import unescape

from flask import Flask
from werkzeug.test import TestResponse

from examples.conftest import OWNERS, PASSWORD

_TOKEN = re.compile(r'name="csrf_token"[^>]* value="([^"]+)"')
_LINK = re.compile(r'<a [^>]*href="([^"#]+)')


class Browser:
    """A browser at one place: a host, or a path below one. It keeps cookies, and fills in CSRF tokens."""

    def __init__(self, app: Flask, host: str = "localhost", prefix: str = "") -> None:
        self.app = app
        self.host = host
        self.prefix = prefix
        self.client = app.test_client()

    def get(self, path: str, *, follow: bool = False) -> TestResponse:
        """Visit a page."""
        return self.client.get(self.prefix + path, base_url=f"http://{self.host}", follow_redirects=follow)

    def post(self, path: str, form: dict[str, str] | None = None, *, page: str = "/login") -> TestResponse:
        """Submit a form with the CSRF token of *page*."""
        token = _TOKEN.search(self.get(page).text)
        assert token is not None
        return self.send(path, {"csrf_token": token[1], **(form or {})})

    def send(self, path: str, form: dict[str, str]) -> TestResponse:
        """Submit a form without changes."""
        return self.client.post(self.prefix + path, base_url=f"http://{self.host}", data=form)

    def log_in(self, email: str = OWNERS["acme"], password: str = PASSWORD) -> TestResponse:
        """Log in here."""
        return self.post("/login", {"email": email, "password": password})

    def cookie(self, name: str = "session") -> str:
        """Return the value of a cookie for this place."""
        cookie = self.client.get_cookie(name, self.host, self.prefix or "/")
        assert cookie is not None
        return cookie.value

    def take_cookie(self, value: str, name: str = "session") -> None:
        """Set a cookie for this place."""
        self.client.set_cookie(name, value, domain=self.host, path=self.prefix or "/")


def links(page: TestResponse) -> set[str]:
    """Return the targets of a page's links."""
    return {unescape(link) for link in _LINK.findall(page.text)}
