"""Two databases with tenants; each schema of one has a decoy of the same name in the other, with other rows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import Tenancy
from tests.isolation.two_databases import EU, Note, Shared, make_async, make_sync
from tests.migrations.environments import Environment
from tests.support.blocking import blocking

R1 = """
op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String, nullable=False),
    schema="tenant")
"""
R2 = 'op.add_column("note", sa.Column("pinned", sa.Boolean), schema="tenant")'


@pytest.fixture
def urls(make_database: Callable[..., URL]) -> tuple[URL, URL]:
    return make_database(), make_database()


@pytest.fixture
def main(urls: tuple[URL, URL]) -> Generator[Engine]:
    engine = create_engine(urls[0])
    yield engine
    engine.dispose()


@pytest.fixture
def eu(urls: tuple[URL, URL]) -> Generator[Engine]:
    engine = create_engine(urls[1])
    yield engine
    engine.dispose()


@pytest.fixture
def environment(environment: Environment) -> Environment:
    environment.add("r1", R1, 'op.drop_table("note", schema="tenant")')
    return environment


@pytest.fixture
def tenancy(urls: tuple[URL, URL], environment: Environment) -> Generator[Tenancy]:
    with closing(make_sync(*urls, migrations=environment.folder)) as tenancy:
        tenancy.install()
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA shared")
            Shared.metadata.create_all(connection)
        yield tenancy


@pytest.fixture
def pair(tenancy: Tenancy) -> Tenancy:
    """Two tenants with a note each: ``acme`` in the main database, ``berta`` in the other; and decoys."""
    for key, attributes, other in (("acme", {}, "eu"), ("berta", EU, "main")):
        tenancy.create(key, attributes=attributes, seed=lambda session, key=key: session.add(Note(id=1, text=key)))
        with tenancy.databases.engine(other).begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA t_{key}")
            connection.exec_driver_sql(f"CREATE TABLE t_{key}.note AS SELECT 1 AS id, 'decoy' AS text")
    return tenancy


@pytest.fixture(params=["sync", "psycopg", "asyncpg"])
def any_tenancy(request: pytest.FixtureRequest, pair: Tenancy, urls: tuple[URL, URL]) -> Generator[Any]:
    """A tenancy of that pair in every colour."""
    options: dict[str, Any] = {"migrations": pair.migrations}
    if request.param == "sync":
        with closing(make_sync(*urls, **options)) as made:
            yield made
        return
    named = (url.set(drivername=f"postgresql+{request.param}") for url in urls)
    with blocking(make_async(*named, direct=urls, **options), request.getfixturevalue("portal")) as made:
        yield made


@pytest.fixture
def fleet(tenancy: Tenancy, environment: Environment) -> Tenancy:
    """Four tenants in each database, at the first of two revisions."""
    for number in range(4):
        tenancy.create(f"m{number}")
        tenancy.create(f"e{number}", attributes=EU)
    environment.add("r2", R2, 'op.drop_column("note", "pinned", schema="tenant")')
    return tenancy
