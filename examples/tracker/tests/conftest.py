"""Databases of the tracker: made once, copied for every test."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

import pytest
from sqlalchemy import URL

from examples.tracker.app import make_tenancy
from examples.tracker.reference import load_reference_data
from tenantkit import Tenancy
from tenantkit.migrations import migrate


@pytest.fixture(scope="session")
def tracker_template(make_database: Callable[..., URL]) -> str:
    """The name of a database with the tracker's shared tables and reference data, and no tenants."""
    url = make_database()
    with closing(make_tenancy(url, listen=False)) as tenancy:
        migrate(tenancy)
        with tenancy.shared_session() as session:
            load_reference_data(session)
            session.commit()
    assert url.database
    return url.database


@pytest.fixture
def tracker_url(make_database: Callable[..., URL], tracker_template: str) -> URL:
    return make_database(tracker_template)


@pytest.fixture
def tenancy(tracker_url: URL) -> Generator[Tenancy]:
    with closing(make_tenancy(tracker_url, listen=False)) as tenancy:
        yield tenancy
