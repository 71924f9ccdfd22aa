"""The fixtures of the pytest plugin. Those whose names begin with ``tenantkit_`` are for overriding.

Every run of pytest imports this module, and only tests that use a fixture import more.
"""

from __future__ import annotations

from contextlib import chdir, closing
from typing import TYPE_CHECKING, Any

import pytest

from tenantkit import testing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from sqlalchemy import URL

    from tenantkit import Tenancy, Tenant, TenantSession
    from tenantkit.asyncio import AsyncTenantSession
    from tenantkit.testing.canaries import Canaries
    from tenantkit.testing.databases import AnyTenancy
    from tenantkit.testing.planting import Factory
    from tenantkit.testing.template import Databases

TENANTS = ("acme", "globex")
"""The keys of the tenants that tests find, unless the application makes others."""


@pytest.fixture(scope="session")
def tenantkit_application(pytestconfig: pytest.Config) -> AnyTenancy:
    """The application's `Tenancy` or `AsyncTenancy`, whose own database is never connected to in tests.

    The nearest ``pyproject.toml`` names it, as for the command line.
    """
    from tenantkit.cli import application  # noqa: PLC0415 - see above
    from tenantkit.exceptions import ConfigurationError  # noqa: PLC0415 - see above

    found = application.find_in_pyproject(pytestconfig.rootpath)
    if found is None:
        raise ConfigurationError(
            'No application is named. Write app = "package.module:attribute" under [tool.tenantkit] in pyproject.toml, '
            "or override the fixture tenantkit_application in conftest.py: it returns the tenancy."
        )
    file, reference = found
    with chdir(file.parent):
        loaded: AnyTenancy = application.load(reference)
    return loaded


@pytest.fixture(scope="session")
def tenantkit_populate() -> Callable[[Tenancy], object]:
    """The function that creates the tenants, and rows that all tests need, in the template database."""

    def populate(tenancy: Tenancy) -> None:
        for key in TENANTS:
            tenancy.create(key)

    return populate


@pytest.fixture(scope="session")
def tenantkit_factories() -> Mapping[Any, Factory]:
    """The functions for models whose canary rows cannot be generated; see `tenantkit.testing.plant`."""
    return {}


@pytest.fixture(scope="session")
def tenantkit_server_url() -> Generator[URL]:
    """The URL of the server that tests make their databases on."""
    from tenantkit.testing.servers import running_server  # noqa: PLC0415 - see above

    with running_server() as url:
        yield url


@pytest.fixture(scope="session")
def _tenantkit_databases(
    tenantkit_application: AnyTenancy, tenantkit_populate: Callable[[Tenancy], object], tenantkit_server_url: URL
) -> Generator[Databases]:
    from tenantkit.testing.template import Databases  # noqa: PLC0415 - see above

    with closing(Databases(tenantkit_application, tenantkit_server_url, tenantkit_populate)) as databases:
        yield databases


@pytest.fixture(scope="session")
def tenancy(tenantkit_application: AnyTenancy, _tenantkit_databases: Databases) -> AnyTenancy:
    """The application's tenancy, connected to a database with its tables and tenants, which refuses to be changed."""
    return tenantkit_application


@pytest.fixture
def database_copy(_tenantkit_databases: Databases) -> Generator[URL]:
    """The URL of a database of the test's own, which the tenancy is connected to for as long: for tests that commit."""
    with _tenantkit_databases.copy() as url:
        yield url


@pytest.fixture
async def async_database_copy(tenancy: Any, database_copy: URL) -> AsyncGenerator[URL]:
    """The same for an `AsyncTenancy`, whose connections are closed before the test's event loop is."""
    from tenantkit.testing.sessions import close_idle_connections  # noqa: PLC0415 - see above

    yield database_copy
    await close_idle_connections(tenancy)


@pytest.fixture
def two_tenants(_tenantkit_databases: Databases, request: pytest.FixtureRequest) -> tuple[Tenant, Tenant]:
    """The first two active tenants, in the order of their keys."""
    if "database_copy" in request.fixturenames:
        request.getfixturevalue("database_copy")
    return _tenantkit_databases.two_tenants()


@pytest.fixture
def tenant(two_tenants: tuple[Tenant, Tenant]) -> Tenant:
    """The first active tenant."""
    return two_tenants[0]


@pytest.fixture
def tenant_session(tenancy: Any, tenant: Tenant) -> Generator[TenantSession]:
    """A session for `tenant` whose changes, also committed ones, are rolled back after the test."""
    with testing.rolled_back(getattr(tenancy, "sync", tenancy), tenant) as session:
        yield session


@pytest.fixture
async def async_tenant_session(tenancy: Any, tenant: Tenant) -> AsyncGenerator[AsyncTenantSession]:
    """The same for an `AsyncTenancy`, in tests that anyio runs, or pytest-asyncio in its mode ``auto``."""
    async with testing.async_rolled_back(tenancy, tenant) as session:
        yield session


@pytest.fixture
def canaries(
    tenancy: Any,
    database_copy: URL,  # noqa: ARG001 - rows are planted there
    two_tenants: tuple[Tenant, Tenant],
    tenantkit_factories: Mapping[Any, Factory],
) -> Generator[Canaries]:
    """Canary rows in both tenants, and a failure at once if a session of one of them loads such a row of the other."""
    planted = testing.plant(getattr(tenancy, "sync", tenancy), two_tenants, tenantkit_factories)
    with testing.tripwire(planted):
        yield planted
