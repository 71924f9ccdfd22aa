"""Databases of the tracker: created once, copied for every test."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

import pytest
from sqlalchemy import URL, select

from examples.settings import Settings
from examples.tracker import boards
from examples.tracker.accounts import SignUp, add_member, find_user, sign_up
from examples.tracker.app import make_tenancy
from examples.tracker.models import Member, Project
from examples.tracker.reference import load_reference_data
from tenantkit import Tenancy
from tenantkit.migrations import migrate

PASSWORD = "correct horse battery"
OWNERS = {
    "acme": "ada@acme.example",
    "beta": "bob@beta.example",
    "gamma": "eve@gamma.example",
    "delta": "dan@delta.example",
}
"""The owners of the tenants of `peopled_url`. Ada is a member of beta, too."""


def secret_of(tenant_key: str) -> str:
    """Return the title of a task that only the members of this tenant may see."""
    return f"Secret plan of {tenant_key}"


@pytest.fixture(scope="session")
def tracker_template(make_template: Callable[..., URL]) -> str:
    """The name of a database with the tracker's shared tables and reference data, and no tenants."""
    url = make_template()
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


@pytest.fixture(scope="session")
def peopled_template(make_template: Callable[..., URL], tracker_template: str) -> str:
    """The name of a database with four tenants, each with its owner and its secret."""
    url = make_template(tracker_template)
    with closing(make_tenancy(url, listen=False)) as tenancy:
        for key, email in OWNERS.items():
            name = email.partition("@")[0].capitalize()
            form = SignUp(email=email, name=name, password=PASSWORD, tenant_key=key, tenant_name=key.capitalize())
            with tenancy.session(sign_up(tenancy, form)) as session:
                project, owner = session.scalars(select(Project)).one(), session.scalars(select(Member)).one()
                boards.create_task(session, project, title=secret_of(key), reporter=owner)
                session.commit()
        with tenancy.session("beta") as session:
            ada = find_user(session, OWNERS["acme"])
            assert ada is not None
            add_member(session, ada)
            session.commit()
    assert url.database
    return url.database


@pytest.fixture
def peopled_url(make_database: Callable[..., URL], peopled_template: str) -> URL:
    """A database with the tenants of `OWNERS`."""
    return make_database(peopled_template)


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(secret_key="a key for tests")
