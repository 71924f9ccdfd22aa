"""A database with two logins: ``tk_owner`` creates and migrates, ``tk_app`` has sessions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tests.isolation.row.models import APPLICATION, Shared
from tests.support.blocking import blocking

OWNER, APP = "tk_owner", "tk_app"
POOL: dict[str, Any] = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 60}

_ROLE = """
DO $$ BEGIN
    CREATE ROLE {role} LOGIN PASSWORD 'tk';
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""


def as_role(url: URL, role: str) -> URL:
    return url.set(username=role, password="tk")


@pytest.fixture(scope="session")
def row_template(make_template: Callable[..., URL]) -> str:
    """A database with the registry and the shared tables, which ``tk_owner`` owns and ``tk_app`` reads."""
    url = make_template()
    engine = create_engine(url)
    with engine.begin() as connection:
        for role in (OWNER, APP):
            connection.exec_driver_sql(_ROLE.format(role=role))
        connection.exec_driver_sql(f"GRANT CREATE ON DATABASE {url.database} TO {OWNER}")
    engine.dispose()
    with closing(make_owner(url)) as tenancy:
        tenancy.install()
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA shared")
            Shared.metadata.create_all(connection)
            for schema in ("shared", "tenantkit"):
                connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {APP}")
                connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {APP}")
    assert url.database
    return url.database


def make_owner(url: URL, **options: Any) -> Tenancy:
    return Tenancy(as_role(url, OWNER), **{**APPLICATION, "grant_to": APP, "listen": False, **options})


@pytest.fixture(scope="session")
def pair_template(make_template: Callable[..., URL], row_template: str) -> str:
    """A copy of it with two tenants in common tables, ``acme`` and ``berta``, and ``corp`` with a schema of its own."""
    url = make_template(row_template)
    let_create(url)
    with closing(make_owner(url)) as tenancy:
        for key, isolation in (("acme", "row"), ("berta", "row"), ("corp", "schema")):
            tenancy.create(key, isolation=isolation)
    assert url.database
    return url.database


def let_create(url: URL) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT CREATE ON DATABASE {url.database} TO {OWNER}")
    engine.dispose()


@pytest.fixture
def url(make_database: Callable[..., URL], row_template: str) -> URL:
    """A database without tenants."""
    url = make_database(row_template)
    let_create(url)
    return url


@pytest.fixture
def pair_url(make_database: Callable[..., URL], pair_template: str) -> URL:
    """A database with the three tenants."""
    url = make_database(pair_template)
    let_create(url)
    return url


@pytest.fixture
def engine(pair_url: URL) -> Generator[Engine]:
    """The superuser's, who sees all rows."""
    engine = create_engine(pair_url)
    yield engine
    engine.dispose()


@pytest.fixture
def pair(pair_url: URL) -> Generator[Tenancy]:
    """The tenancy that creates and migrates, with the three tenants."""
    with closing(make_owner(pair_url)) as tenancy:
        yield tenancy


@pytest.fixture(params=["sync", "psycopg", "asyncpg"])
def make_app(request: pytest.FixtureRequest) -> Generator[Callable[..., Any]]:
    """Make the application's tenancy in every colour, on a pool of two connections."""
    with ExitStack() as made:

        def make(url: URL, unscoped_url: URL | None = None, **options: Any) -> Any:
            options = {"listen": False, "engine_options": POOL, **options}
            login = as_role(url, APP)
            if request.param == "sync":
                return made.enter_context(closing(Tenancy(login, unscoped_url=unscoped_url, **options)))
            name = f"postgresql+{request.param}"
            unscoped_url = unscoped_url and unscoped_url.set(drivername=name)
            tenancy = AsyncTenancy(login.set(drivername=name), unscoped_url=unscoped_url, **options)
            return made.enter_context(blocking(tenancy, request.getfixturevalue("portal")))

        yield make


@pytest.fixture
def app(pair_url: URL, make_app: Callable[..., Any]) -> Any:
    """The application's tenancy, with the three tenants."""
    return make_app(pair_url, **APPLICATION)
