"""Tasks are served from the budget, and nothing is open after `close`."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest
from sqlalchemy import URL, Engine, func, select, text

from tenantkit.asyncio import AsyncTenancy
from tests.isolation.database.conftest import APPLICATION
from tests.isolation.two_databases import Note, Plan

KEYS = ("acme", "berta", "corp", "dora")


@pytest.mark.all_cases
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_more_tasks_than_connections_are_served_each_in_its_database(url: URL, server: Engine, driver: str) -> None:
    async def work(tenancy: AsyncTenancy, key: str) -> None:
        async with tenancy.session(key) as session:
            session.add(Note(text=key))
            await session.commit()
            assert set(await session.scalars(select(Note.text))) == {key}
            assert await session.scalar(select(func.count()).select_from(Plan)) == 0

    async def main() -> None:
        tenancy = AsyncTenancy(url.set(drivername=f"postgresql+{driver}"), **APPLICATION, engine_budget=2)
        for key in KEYS:
            await tenancy.create(key)
        await asyncio.gather(*(work(tenancy, key) for key in KEYS * 5))
        await tenancy.drop(KEYS[0])
        for key in KEYS[1:]:
            async with tenancy.session(key) as session:
                assert await session.scalar(select(func.count()).select_from(Note)) == 5
        await tenancy.close()

    asyncio.run(main())
    count = text("SELECT count(*) FROM pg_stat_activity WHERE datname ^@ :begin")
    end = monotonic() + 10
    with server.connect() as connection:
        while connection.scalar(count, {"begin": url.database}):
            assert monotonic() < end
