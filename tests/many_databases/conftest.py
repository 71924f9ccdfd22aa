"""Two databases with tenants; each schema of one has a decoy of the same name in the other, with other rows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import cache
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import Tenancy
from tenantkit.migrations import init
from tests.isolation.two_databases import EU, Note, Shared, make_async, make_sync
from tests.migrations.environments import Environment
from tests.support.blocking import blocking

R1 = """
op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.String, nullable=False),
    schema="tenant")
"""
R2 = 'op.add_column("note", sa.Column("pinned", sa.Boolean), schema="tenant")'


@pytest.fixture(scope="session")
def make_pair_of_templates(
    make_template: Callable[..., URL], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[str, str]]:
    """Make both databases as the fixture of a name finds them: `tenancy`, `pair` or `fleet`."""
    init(folder := tmp_path_factory.mktemp("many-databases") / "migrations")
    Environment(folder).add("r1", R1)

    @cache
    def make(name: str) -> tuple[str, str]:
        before = ("template0", "template0") if name == "tenancy" else make("tenancy")
        urls = make_template(before[0]), make_template(before[1])
        with closing(make_sync(*urls, migrations=folder)) as tenancy:
            _accept_copy(tenancy)
            _FILL[name](tenancy)
        return urls[0].database or "", urls[1].database or ""

    return make


def _accept_copy(tenancy: Tenancy) -> None:
    """Let a copy of the other database belong to the copy of its registry: its mark names the original."""
    with tenancy.databases.engine("eu").begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS tenantkit; COMMENT ON SCHEMA tenantkit IS NULL")


def _install(tenancy: Tenancy) -> None:
    tenancy.install()
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA shared")
        Shared.metadata.create_all(connection)


def _fill_pair(tenancy: Tenancy) -> None:
    for key, attributes, other in (("acme", {}, "eu"), ("berta", EU, "main")):
        tenancy.create(key, attributes=attributes, seed=lambda session, key=key: session.add(Note(id=1, text=key)))
        with tenancy.databases.engine(other).begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA t_{key}")
            connection.exec_driver_sql(f"CREATE TABLE t_{key}.note AS SELECT 1 AS id, 'decoy' AS text")


def _fill_fleet(tenancy: Tenancy) -> None:
    for number in range(4):
        tenancy.create(f"m{number}")
        tenancy.create(f"e{number}", attributes=EU)


_FILL: dict[str, Callable[[Tenancy], None]] = {"fleet": _fill_fleet, "pair": _fill_pair, "tenancy": _install}


@pytest.fixture
def urls(
    request: pytest.FixtureRequest,
    make_database: Callable[..., URL],
    make_pair_of_templates: Callable[[str], tuple[str, str]],
) -> tuple[URL, URL]:
    """Both databases: empty, or as `tenancy`, `pair` or `fleet` needs them."""
    for name in _FILL:
        if name in request.fixturenames:
            main, eu = make_pair_of_templates(name)
            return make_database(main), make_database(eu)
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
        _accept_copy(tenancy)
        tenancy.install()
        yield tenancy


@pytest.fixture
def pair(tenancy: Tenancy) -> Tenancy:
    """Two tenants with a note each: ``acme`` in the main database, ``berta`` in the other; and decoys."""
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
    environment.add("r2", R2, 'op.drop_column("note", "pinned", schema="tenant")')
    return tenancy
