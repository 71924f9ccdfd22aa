"""The application, on a small pool of connections, and clients at its tenants."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

import pytest
from fastapi import FastAPI
from sqlalchemy import URL
from starlette.testclient import TestClient

from examples.fastapi_app.app import create_app
from examples.fastapi_app.tests.client import Client
from examples.settings import Settings
from examples.tracker.app import make_async_tenancy, make_tenancy
from tenantkit import Tenancy


@pytest.fixture
def tenancy(peopled_url: URL) -> Generator[Tenancy]:
    """The tenants, as another process has them."""
    with closing(make_tenancy(peopled_url, listen=False)) as tenancy:
        yield tenancy


@pytest.fixture
def app(peopled_url: URL, operator: Tenancy, settings: Settings) -> FastAPI:
    """The application, without a cache, so that it sees changes of other processes at once."""
    options = {"pool_size": 4, "max_overflow": 0, "pool_timeout": 20}
    tenancy = make_async_tenancy(peopled_url, listen=False, cache_ttl=0, engine_options=options)
    return create_app(tenancy, settings, operator=operator)


@pytest.fixture
def transport(app: FastAPI) -> Generator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.fixture
def start(transport: TestClient) -> Client:
    """A client at the address without a tenant."""
    return Client(transport)


@pytest.fixture(params=["host", "path"])
def at(request: pytest.FixtureRequest, transport: TestClient) -> Callable[[str], Client]:
    """Make a client at a tenant, by each of its addresses."""

    def make(key: str) -> Client:
        return (
            Client(transport, f"{key}.localhost") if request.param == "host" else Client(transport, prefix=f"/t/{key}")
        )

    return make


@pytest.fixture
def acme(at: Callable[[str], Client]) -> Client:
    """A client with Ada logged in to acme."""
    client = at("acme")
    assert client.log_in().status_code == 200
    return client
