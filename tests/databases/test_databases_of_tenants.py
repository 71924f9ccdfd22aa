"""Databases of single tenants share a dialect, but not what differs between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import JSON, URL, Column, Engine, Integer, MetaData, Table, cast, create_engine, insert, select, text
from sqlalchemy.dialects.postgresql import HSTORE
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import greenlet_spawn

from tenantkit.databases.budget import ThreadTurn
from tenantkit.databases.of_tenants import TenantEngines, make_budget
from tenantkit.databases.tasks import TaskTurn


@pytest.fixture
def engines(make_database: Callable[..., URL]) -> TenantEngines:
    """Engines for the server of the tests."""
    url = make_database()
    return TenantEngines(create_engine, lambda: url, {}, make_budget(4, {}, ThreadTurn))


def test_hstore_is_a_dict_whatever_its_number_in_a_database(
    engines: TenantEngines, make_database: Callable[..., URL]
) -> None:
    table = Table("tagged", MetaData(), Column("id", Integer), Column("tags", HSTORE))
    numbers = set()
    for types in range(4):
        url = make_database()
        superuser = create_engine(url)
        with superuser.begin() as connection:
            for number in range(types):
                connection.exec_driver_sql(f"CREATE TYPE filler_{number} AS ENUM ('a')")
            if types != 1:
                connection.exec_driver_sql("CREATE EXTENSION hstore")
                table.create(connection)
        superuser.dispose()
        engine = engines.get(str(url.database), lambda _: None)
        for _ in range(2):  # by two connections
            if types != 1:
                with engine.begin() as connection:
                    connection.execute(insert(table).values(id=1, tags={"a": "1"}))
                    assert connection.scalars(select(table.c.tags)).first() == {"a": "1"}
                    assert connection.scalars(text("SELECT tags FROM tagged")).first() == {"a": "1"}
                    numbers.add(connection.scalar(text("SELECT to_regtype('hstore')::oid")))
            engine.dispose()
    assert len(numbers) == 3


def test_engines_share_the_dialect_the_compiled_statements_and_the_listeners(
    engines: TenantEngines, make_database: Callable[..., URL]
) -> None:
    made: list[Engine] = []
    engines.prepare(made.append)
    first, second = (engines.get(str(make_database().database), lambda _: None) for _ in range(2))
    assert len(made) == 1
    assert first.dialect is second.dialect
    for engine in (first, second):
        with engine.connect() as connection:
            assert connection.scalar(select(text("current_database()"))) == engine.url.database
    assert first._compiled_cache is second._compiled_cache
    assert engines.get(str(first.url.database), lambda _: None) is first
    engines.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_what_the_dialect_sets_up_on_each_connection_is_set_up_in_each_database(
    make_database: Callable[..., URL], driver: str
) -> None:
    def make(url: URL, **options: Any) -> Engine:
        return create_async_engine(url, **options).sync_engine

    async def main() -> None:
        urls = [make_database().set(drivername=f"postgresql+{driver}") for _ in range(2)]
        options = {"json_deserializer": lambda _: "by its own function"}
        engines = TenantEngines(make, lambda: urls[0], options, make_budget(1, {}, TaskTurn))
        for url in urls * 2:
            engine = AsyncEngine(engines.get(str(url.database), lambda _: None))
            async with engine.connect() as connection:
                assert await connection.scalar(select(cast("1", JSON))) == "by its own function"
        await greenlet_spawn(engines.dispose)

    asyncio.run(main())
