"""Databases with tenants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import URL

from tenantkit import Tenancy
from tests.support.models import APPLICATION, Project

ACTIVE = ("acme", "beta", "gamma", "delta")


@pytest.fixture(scope="session")
def tenants_template(make_template: Callable[..., URL], application_template: str) -> str:
    """A database with four active tenants, each with a project of its name, and a suspended tenant."""
    url = make_template(application_template)
    tenancy = Tenancy(url, listen=False, **APPLICATION)
    for key in ACTIVE:
        tenancy.create(key, domains=[f"{key}.example.org"])
        with tenancy.session(key) as session:
            session.add(Project(name=key))
            session.commit()
    tenancy.create("paused")
    tenancy.suspend("paused")
    tenancy.close()
    assert url.database
    return url.database


@pytest.fixture
def database(make_database: Callable[..., URL], tenants_template: str) -> URL:
    """A database of the test's own with the tenants of `tenants_template`."""
    return make_database(tenants_template)
