"""A database with the registry and the shared tables, and revisions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import Tenancy, migrations
from tests.isolation.two_databases import Base, Shared
from tests.many_databases.conftest import R1
from tests.migrations.environments import Environment

APPLICATION: dict[str, Any] = {
    "tenant": Base.metadata,
    "shared": Shared.metadata,
    "isolation": "database",
    "listen": False,
}

Make = Callable[..., Tenancy]


@pytest.fixture(scope="session")
def registry_template(make_template: Callable[..., URL]) -> str:
    """A database with the registry and the shared tables."""
    url = make_template()
    with closing(Tenancy(url, **APPLICATION)) as tenancy:
        tenancy.install()
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA shared")
            Shared.metadata.create_all(connection)
    assert url.database
    return url.database


@pytest.fixture
def url(make_database: Callable[..., URL], registry_template: str) -> URL:
    """A copy of it."""
    return make_database(registry_template)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Revisions for the tenants' tables."""
    migrations.init(folder := tmp_path / "migrations")
    made = Environment(folder)
    made.add("r1", R1)
    return made


@pytest.fixture
def make(url: URL) -> Generator[Make]:
    """Make tenancies on the database."""
    with ExitStack() as opened:
        yield lambda **options: opened.enter_context(closing(Tenancy(url, **{**APPLICATION, **options})))


@pytest.fixture
def tenancy(make: Make, environment: Environment) -> Tenancy:
    """A tenancy with revisions."""
    return make(migrations=environment.folder)


@pytest.fixture
def server(server_url: URL) -> Generator[Engine]:
    """An engine of the server's maintenance database, without transactions."""
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()
