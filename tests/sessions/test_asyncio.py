"""Properties of the asynchronous tenancy only."""

from __future__ import annotations

from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, select
from sqlalchemy.ext.asyncio import create_async_engine

from tenantkit import ConfigurationError, tenant_context
from tenantkit.asyncio import AsyncTenancy
from tests.support.models import APPLICATION, Project


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_an_async_engine_is_used_unchanged(portal: BlockingPortal, database: URL, driver: str) -> None:
    async def work() -> None:
        engine = create_async_engine(database.set(drivername=f"postgresql+{driver}"))
        tenancy = AsyncTenancy(engine, sync_database=database, listen=False, **APPLICATION)
        assert tenancy.engine is engine
        acme = await tenancy.create("acme")
        assert await tenancy.diagnose() == await tenancy.repair() == []
        async with tenancy.sessionmaker(tenant=acme) as session, session.begin():
            session.add(Project(name="first"))
        with tenant_context(acme):
            async with tenancy.sessionmaker() as session:
                assert (await session.scalars(select(Project.name))).all() == ["first"]
        with pytest.raises(ConfigurationError, match="await tenancy.get"):
            tenancy.sessionmaker(tenant="acme")
        await tenancy.close()

    portal.call(work)


def test_engine_options_need_a_url(database: URL) -> None:
    engine = create_async_engine(database.set(drivername="postgresql+asyncpg"))
    options: dict[str, Any] = {"engine_options": {"pool_size": 1}, **APPLICATION}
    with pytest.raises(ConfigurationError, match="engine_options="):
        AsyncTenancy(engine, **options)
