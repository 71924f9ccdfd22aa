"""One tenancy and several event loops, one after another."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import URL, select

from tenantkit.asyncio import AsyncTenancy
from tests.support.models import APPLICATION, Project


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_tenancy_serves_a_second_event_loop_once_its_engine_is_disposed_of(database: URL, driver: str) -> None:
    tenancy = AsyncTenancy(database.set(drivername=f"postgresql+{driver}"), listen=False, **APPLICATION)
    tenancy.sync.create("acme")

    async def add(name: str) -> list[str]:
        async with tenancy.session("acme") as session:
            session.add(Project(name=name))
            await session.commit()
            names = list(await session.scalars(select(Project.name).order_by(Project.name)))
        await tenancy.engine.dispose()
        return names

    assert asyncio.run(add("first")) == ["first"]
    assert asyncio.run(add("second")) == ["first", "second"]
    tenancy.sync.close()
