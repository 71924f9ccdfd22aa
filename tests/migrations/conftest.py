"""Tenancies whose tables a migration environment creates."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import URL

from tenantkit import Tenancy
from tenantkit.migrations import init
from tenantkit.migrations.executors import process
from tests.migrations.environments import Environment
from tests.support.commands import workers
from tests.support.models import APPLICATION


@pytest.fixture(autouse=True)
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the worker processes that a run in this process starts."""
    monkeypatch.setattr(process, "subprocess", workers)


@pytest.fixture
def new_workers(forked_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each worker in an interpreter of its own: for tests of their start, their end and inherited state."""
    monkeypatch.setattr(process, "subprocess", subprocess)


@pytest.fixture(scope="session")
def make_fleet(
    make_template: Callable[..., URL], application_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Make a template: the database of the small application with tenants at the first revision.

    Tests that ask for a template of the same arguments share it.
    """

    @cache
    def make(body: str, keys: tuple[str, ...], revision: str = "one", **options: Callable[[int], Any]) -> str:
        url = make_template(application_template)
        init(folder := tmp_path_factory.mktemp("fleet") / "migrations")
        Environment(folder).add(revision, body)
        with closing(Tenancy(url, listen=False, migrations=folder, **APPLICATION)) as tenancy:
            for number, key in enumerate(keys):
                tenancy.create(key, **{name: option(number) for name, option in options.items()})
        return url.database or ""

    return make


@pytest.fixture(scope="session")
def fleet_template(application_template: str) -> str:
    """The template of tests with a `fleet`; modules override it, because the creation of tenants takes most of their time."""
    return application_template


@pytest.fixture
def database(request: pytest.FixtureRequest, make_database: Callable[..., URL], application_template: str) -> URL:
    """The database of the small application, with the tenants of the module's fleet if the test uses `fleet`."""
    has_fleet = "fleet" in request.fixturenames
    return make_database(request.getfixturevalue("fleet_template") if has_fleet else application_template)


@pytest.fixture
def migrated_tenancy(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Callable[..., Tenancy]:
    """Make a tenancy whose tables the environment's revisions create."""

    def make(**options: Any) -> Tenancy:
        return make_tenancy(migrations=environment.folder, **options)

    return make


@pytest.fixture
def metadata() -> sa.MetaData:
    """One tenant table."""
    metadata = sa.MetaData(schema="tenant")
    sa.Table("note", metadata, sa.Column("id", sa.Integer, primary_key=True))
    return metadata


@pytest.fixture
def make(
    make_tenancy: Callable[..., Tenancy], environment: Environment, metadata: sa.MetaData
) -> Callable[[], Tenancy]:
    """Make a tenancy of that table, without shared ones."""
    return lambda: make_tenancy(tenant=metadata, shared=sa.MetaData(), migrations=environment.folder)
