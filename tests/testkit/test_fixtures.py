"""The fixtures that an application gets by installing tenantkit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import URL

from tests.testkit.conftest import ASYNC, Shop

TESTS = """
    import pytest
    from sqlalchemy import select, func
    from sqlalchemy.exc import DBAPIError
    from shop.app import Note, tenancy as app_tenancy

    @pytest.mark.parametrize("number", range(3))
    def test_rolled_back(tenant_session, number):
        assert tenant_session.scalars(select(Note)).all() == []
        tenant_session.add(Note(text="mine"))
        tenant_session.commit()
        tenant_session.add(Note(text="and this"))
        tenant_session.rollback()
        assert tenant_session.scalars(select(Note.text)).all() == ["mine"]

    def test_tenants(tenancy, tenant, two_tenants, tenant_session):
        assert tenancy is app_tenancy
        assert [each.key for each in two_tenants] == ["acme", "globex"]
        assert tenant_session.tenant == tenant == two_tenants[0]

    def test_the_shared_database_refuses_writes(tenancy, tenant):
        with tenancy.session(tenant) as session:
            session.add(Note(text="left behind"))
            with pytest.raises(DBAPIError, match="read-only") as refused:
                session.commit()
            assert "asks for the fixture database_copy" in refused.value.__notes__[0]

    @pytest.mark.parametrize("number", range(2))
    def test_commits(tenancy, two_tenants, database_copy, number):
        for tenant in two_tenants:
            with tenancy.session(tenant) as session:
                assert session.scalar(select(func.count()).select_from(Note)) == 0
                session.add(Note(text=tenant.key))
                session.commit()
        tenancy.drop(two_tenants[1].key)
        tenancy.create("initech")

    def test_rolled_back_after_commits(tenant_session, tenancy):
        assert tenant_session.scalars(select(Note)).all() == []
        assert [each.key for each in tenancy.list()] == ["acme", "globex"]
"""

ASYNC_TESTS = """
    import pytest
    from sqlalchemy import select
    from tenantkit.testing import async_rolled_back
    from shop.app import Note

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.parametrize("number", range(3))
    async def test_rolled_back(async_tenant_session, number):
        assert (await async_tenant_session.scalars(select(Note))).all() == []
        async_tenant_session.add(Note(text="mine"))
        await async_tenant_session.commit()
        assert (await async_tenant_session.scalars(select(Note.text))).all() == ["mine"]

    async def test_manager(tenancy):
        async with async_rolled_back(tenancy, "globex") as session:
            assert (await session.scalars(select(Note))).all() == []

    async def test_commits(tenancy, tenant, async_database_copy):
        async with tenancy.session(tenant) as session:
            session.add(Note(text=tenant.key))
            await session.commit()

    async def test_rolled_back_after_commits(async_tenant_session):
        assert (await async_tenant_session.scalars(select(Note))).all() == []
"""


def databases(server: URL) -> set[str]:
    with psycopg.connect(server.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        query = "SELECT datname FROM pg_database WHERE datname LIKE 'tenantkit\\_test\\_%'"
        return {name for (name,) in connection.execute(query)}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_application_gets_its_tenants_and_sessions_that_leave_nothing(
    make_shop: Callable[..., Shop], workers: int
) -> None:
    shop = make_shop()
    shop.write("test_notes.py", TESTS)
    done = shop.run("-n", str(workers))
    assert "8 passed" in done.stdout, done.stdout + done.stderr
    assert databases(shop.server) == set()


@pytest.mark.all_cases
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_asynchronous_sessions_leave_nothing(make_shop: Callable[..., Shop], driver: str) -> None:
    shop = make_shop(ASYNC.format(driver=driver))
    shop.write("test_notes.py", ASYNC_TESTS)
    done = shop.run()
    assert "6 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.all_cases
@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("", "or override the fixture tenantkit_application in conftest.py"),
        ("[tool.tenantkit]\napp = 1", 'app is no string. Write "package.module:attribute"'),
        ("[tool.tenantkit]\napp = 'shop.app:engine'", "'shop.app' has no attribute 'engine'. It has shop.app:tenancy."),
    ],
)
def test_the_application_must_be_named(make_shop: Callable[..., Shop], named: str, message: str) -> None:
    shop = make_shop()
    shop.write("pyproject.toml", named)
    shop.write("test_notes.py", "def test_it(tenancy): ...")
    done = shop.run("-p", "no:cacheprovider")
    assert done.returncode == 1
    assert message in done.stdout


def test_importing_tenantkit_does_not_import_pytest() -> None:
    script = "import sys; from tenantkit.testing import *; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
