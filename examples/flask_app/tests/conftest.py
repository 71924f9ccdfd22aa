"""The application, on a pool of two connections, and browsers at its tenants."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

import pytest
from flask import Flask
from sqlalchemy import URL

from examples.flask_app.app import create_app
from examples.flask_app.tests.browser import Browser
from examples.settings import Settings
from examples.tracker.app import make_tenancy
from tenantkit import Tenancy


@pytest.fixture
def tenancy(peopled_url: URL) -> Generator[Tenancy]:
    options = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 20}
    with closing(make_tenancy(peopled_url, listen=False, engine_options=options)) as tenancy:
        yield tenancy


@pytest.fixture
def app(tenancy: Tenancy, operator: Tenancy, settings: Settings) -> Flask:
    app = create_app(tenancy, settings, operator=operator)
    app.testing = True
    return app


@pytest.fixture(params=["host", "path"])
def at(request: pytest.FixtureRequest, app: Flask) -> Callable[[str], Browser]:
    """Open a browser at a tenant, by each of its addresses."""

    def open_browser(key: str) -> Browser:
        return Browser(app, f"{key}.localhost") if request.param == "host" else Browser(app, prefix=f"/t/{key}")

    return open_browser


@pytest.fixture
def acme(at: Callable[[str], Browser]) -> Browser:
    """A browser in which Ada is logged in to acme."""
    browser = at("acme")
    assert browser.log_in().status_code == 302
    return browser
