"""A task that is cancelled at any moment does not lose the commit of another task."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import ExitStack
from random import Random

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, Engine, text

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tests.support.models import APPLICATION, Project
from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer
from tests.support.processes import until

KEYS = ("acme", "beta")


@pytest.fixture(
    params=[
        (driver, way)
        for way in (["direct", "pgbouncer"] if PGBOUNCER is not None else ["direct"])
        for driver in ("psycopg", "asyncpg")
    ],
    ids="-".join,
)
def reached(
    request: pytest.FixtureRequest, database: URL, tenancy: Tenancy
) -> Generator[tuple[str, URL, dict[str, object]]]:
    """Two tenants, with the driver, the URL and the connection arguments."""
    driver, way = request.param
    for key in KEYS:
        tenancy.create(key)
    with ExitStack() as started:
        if way == "direct":
            yield driver, database, {}
        else:
            yield driver, started.enter_context(pgbouncer(database)), driver_arguments(driver)


TASKS = {"few": 150, "more": 600, "all": 1_500}
"""Number of tasks, two thirds of which are cancelled, by the value of ``--cases``."""


def open_transactions(engine: Engine) -> int:
    """Return the number of other connections that wait within a transaction."""
    idle = "datname = current_database() AND state LIKE 'idle in%%' AND pid <> pg_backend_pid()"
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM pg_stat_activity WHERE {idle}").scalar_one())


def test_no_acknowledged_commit_is_lost_and_nothing_reaches_another_tenant(
    reached: tuple[str, URL, dict[str, object]],
    tenancy: Tenancy,
    engine: Engine,
    portal: BlockingPortal,
    all_cases: bool,
    pytestconfig: pytest.Config,
) -> None:
    driver, url, arguments = reached
    tasks, random = TASKS[pytestconfig.getoption("cases")], Random(4711)
    acknowledged: dict[str, set[str]] = {key: set() for key in KEYS}
    wrong: list[object] = []

    async def visit(asynchronous: AsyncTenancy, number: int) -> None:
        key = KEYS[number % 2]
        async with asynchronous.session(key) as session:
            if random.random() < 0.5:
                session.add(Project(name=f"{key} {number}"))
                await session.flush()
            else:
                await session.execute(text("INSERT INTO project (name) VALUES (:name)"), {"name": f"{key} {number}"})
            await session.execute(text("SET app.who = 'somebody'"))
            found = set(await session.scalars(text("SELECT split_part(name, ' ', 1) FROM project")))
            wrong.extend(found - {key})
            await session.commit()
            acknowledged[key].add(f"{key} {number}")

    async def crowd() -> None:
        # If a task is cancelled while it connects, SQLAlchemy's pool does not wake tasks that wait for a connection.
        options = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 5, "connect_args": arguments}
        asynchronous = AsyncTenancy(
            url.set(drivername=f"postgresql+{driver}"),
            sync_database=tenancy.engine,
            listen=False,
            engine_options=options,
            **APPLICATION,
        )
        for start in range(0, tasks, 30):
            running = [asyncio.create_task(visit(asynchronous, number)) for number in range(start, start + 30)]
            for task in random.sample(running, 20):
                await asyncio.sleep(random.random() / 200)
                task.cancel()
            await asyncio.wait(running)
        async with asynchronous.shared_session() as session, asynchronous.shared_session() as other:
            for each in (session, other):
                left = await each.scalar(text("SELECT coalesce(current_setting('app.who', true), '')"))
                wrong.extend([left] if left else [])
        await asynchronous.close()

    portal.call(crowd)

    with engine.connect() as connection:
        for key in KEYS:
            names = set(connection.exec_driver_sql(f"SELECT name FROM t_{key}.project").scalars())
            assert acknowledged[key] - names == set()
            assert {name.split()[0] for name in names} <= {key}
    until(lambda: open_transactions(engine) == 0)  # the server may notice a moment later that a connection is closed
    assert wrong == []
    assert sum(map(len, acknowledged.values())) >= tasks / 10
