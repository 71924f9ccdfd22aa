"""The methods of the driver's connection serve the session's tenant, also before its first statement."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, Engine, select, text
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only as await_

from tenantkit import ConfigurationError, Tenancy
from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession
from tests.support.blocking import in_sync
from tests.support.models import APPLICATION, Project

NAMES = "SELECT name FROM project"
WHERE = f"{NAMES} WHERE name <> $1"
POOL = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}


def decoy(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE public.project AS SELECT 'public' AS name")


async def executed(driver: Any) -> Any:
    await driver.execute("INSERT INTO project (name) SELECT name || ' again' FROM project")
    return await driver.fetchval(f"{NAMES} ORDER BY id")


async def executed_with_arguments(driver: Any) -> Any:
    await driver.execute("INSERT INTO project (name) SELECT name || $1 FROM project", " again")
    return await driver.fetchval(f"{NAMES} ORDER BY id")


async def executed_many(driver: Any) -> Any:
    await driver.executemany("INSERT INTO project (name) VALUES ($1)", [("a",), ("b",)])
    return await driver.fetchval(f"{NAMES} ORDER BY id")


async def prepared(driver: Any) -> Any:
    return await (await driver.prepare(WHERE)).fetchval("")


async def in_a_transaction(driver: Any) -> Any:
    async with driver.transaction():
        return await driver.fetchval(WHERE, "")


async def by_cursor(driver: Any) -> Any:
    async with driver.transaction():
        rows = [row["name"] async for row in driver.cursor(WHERE, "")]
    return rows[-1]


async def by_cursor_alone(driver: Any) -> Any:
    return [row["name"] async for row in driver.cursor(WHERE, "")][-1]


async def by_open_cursor(driver: Any) -> Any:
    cursor = await driver.cursor(WHERE, "")
    return (await cursor.fetch(2))[-1]["name"]


async def copied_query(driver: Any) -> Any:
    file = io.BytesIO()
    await driver.copy_from_query(WHERE, "", output=file)
    return file.getvalue().decode().strip()


async def copied_table(driver: Any) -> Any:
    file = io.BytesIO()
    await driver.copy_from_table("project", columns=["name"], output=file)
    return file.getvalue().decode().strip()


async def copied_to_table(driver: Any) -> Any:
    await driver.copy_to_table("project", columns=["name"], source=io.BytesIO(b"a\nb\n"))
    return await driver.fetchval(f"{NAMES} ORDER BY id")


async def copied_records(driver: Any) -> Any:
    await driver.copy_records_to_table("project", columns=["name"], records=[("a",), ("b",)])
    return await driver.fetchval(f"{NAMES} ORDER BY id")


async def fetched(driver: Any) -> Any:
    return (await driver.fetch(WHERE, ""))[0]["name"]


async def fetched_row(driver: Any) -> Any:
    return (await driver.fetchrow(WHERE, ""))["name"]


async def fetched_many(driver: Any) -> Any:
    return (await driver.fetchmany(WHERE, [("",)]))[0]["name"]


METHODS: list[Callable[[Any], Awaitable[Any]]] = [
    executed,
    executed_with_arguments,
    executed_many,
    prepared,
    in_a_transaction,
    by_cursor,
    by_cursor_alone,
    by_open_cursor,
    copied_query,
    copied_table,
    copied_to_table,
    copied_records,
    fetched,
    fetched_row,
    fetched_many,
]


@pytest.mark.parametrize("method", METHODS)
def test_asyncpgs_own_methods_serve_the_tenant(
    tenancy: Tenancy,
    database: URL,
    engine: Engine,
    portal: BlockingPortal,
    method: Callable[[Any], Awaitable[Any]],
) -> None:
    for key in ("acme", "beta"):
        tenancy.create(key, seed=lambda session: session.add(Project(name=session.tenant.key)))
    decoy(engine)

    async def use(session: AsyncTenantSession, *, has_begun: bool) -> Any:
        if has_begun:
            await session.execute(text("SELECT 1"))
        raw = await (await session.connection()).get_raw_connection()
        found = await method(raw.driver_connection)
        await session.rollback()
        assert (await session.scalars(select(Project.name))).all() == [session.tenant.key]
        return found

    async def work() -> None:
        url = database.set(drivername="postgresql+asyncpg")
        reached = AsyncTenancy(url, listen=False, engine_options=POOL, **APPLICATION)
        try:
            for has_begun in (False, True) * 2:
                for key in ("acme", "beta"):
                    async with reached.session(key) as session:
                        assert await use(session, has_begun=has_begun) == key
            async with reached.engine.connect() as connection:
                found = await connection.exec_driver_sql("SELECT name FROM public.project")
                assert found.scalars().all() == ["public"]
        finally:
            await reached.close()

    portal.call(work)


def test_rows_written_by_a_drivers_method_are_committed_by_the_session(
    make_any_tenancy: Callable[..., Any], engine: Engine, request: pytest.FixtureRequest
) -> None:
    tenancy = make_any_tenancy()
    tenancy.create("acme")

    def write(session: Session) -> None:
        driver: Any = session.connection().connection.driver_connection
        written = driver.execute("INSERT INTO project (name) VALUES ('new'); SET app.who = 'acme'")
        if "asyncio" in request.node.name:
            await_(written)

    def names() -> list[str]:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql("SELECT name FROM t_acme.project").scalars())

    with tenancy.session("acme") as session:
        in_sync(session, write)
        session.rollback()
        assert names() == []
        in_sync(session, write)
        session.commit()
        assert names() == ["new"]
    with tenancy.shared_session() as session:
        assert not session.execute(text("SELECT current_setting('app.who', true)")).scalar_one()


def test_autocommit_of_a_drivers_connection_is_refused(
    make_any_tenancy: Callable[..., Any], engine: Engine, request: pytest.FixtureRequest
) -> None:
    tenancy = make_any_tenancy(engine_options=POOL)
    tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
    decoy(engine)

    def use(session: Session) -> None:
        with pytest.raises(ConfigurationError, match="autocommit"):
            session.connection().connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
        assert session.scalars(text(NAMES)).all() == ["acme"]

    def use_asyncpg(session: Session) -> None:  # SQLAlchemy's own attribute, which is checked at a statement
        session.connection().connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
        with pytest.raises(ConfigurationError, match="autocommit"):
            session.scalars(text(NAMES)).all()

    with tenancy.session("acme") as session:
        in_sync(session, use_asyncpg if "asyncio-asyncpg" in request.node.name else use)
