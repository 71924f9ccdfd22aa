"""One budget bounds the connections of many engines; no place in it is ever lost."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, event, exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tenantkit.databases.budget import ConnectionBudget, ThreadTurn
from tenantkit.databases.forks import PerProcess
from tenantkit.databases.of_tenants import TenantEngines, make_budget
from tenantkit.databases.tasks import TaskTurn

LIMIT, DATABASES = 3, 6


@pytest.fixture
def seconds(all_cases: bool) -> float:
    """Seconds of a load."""
    return 3.0 if all_cases else 0.5


class Watched:
    """Engines for several databases with one budget, which count their connections."""

    def __init__(self, urls: list[URL], make: Callable[..., Engine], turn: type, timeout: float = 60.0) -> None:
        self.budget: PerProcess[ConnectionBudget] = make_budget(LIMIT, {"pool_timeout": timeout}, turn)
        self.most = self.open = 0
        self._lock = Lock()
        engines = TenantEngines(make, lambda: urls[0], {}, self.budget)
        self.engines = [engines.get(str(url.database), self._watch) for url in urls]

    @property
    def held(self) -> int:
        """Number of places of the budget that are taken."""
        return self.budget.get().open

    def dispose(self) -> None:
        for engine in self.engines:
            engine.dispose()

    def _watch(self, engine: Engine) -> None:
        event.listen(engine, "connect", lambda *_: self._count(1))
        event.listen(engine, "close", lambda *_: self._count(-1))

    def _count(self, change: int) -> None:
        with self._lock:
            self.open += change
            self.most = max(self.most, self.open)


@pytest.fixture(scope="session")
def tenant_urls(make_template: Callable[..., URL]) -> list[URL]:
    """Several empty databases."""
    return [make_template() for _ in range(DATABASES)]


@pytest.fixture
def watched(tenant_urls: list[URL]) -> Generator[Watched]:
    """Engines of psycopg."""
    made = Watched(tenant_urls, create_engine, ThreadTurn)
    yield made
    made.dispose()
    assert (made.held, made.open) == (0, 0)


def _make_async(url: URL, **options: Any) -> Engine:
    return create_async_engine(url, **options).sync_engine


NAME = text("SELECT current_database()")


def _database(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(NAME).scalar_one())


def test_an_idle_connection_of_another_database_is_closed_for_a_new_one(watched: Watched) -> None:
    names = [engine.url.database for engine in watched.engines]
    assert [_database(engine) for engine in watched.engines * 2] == names * 2
    assert (watched.most, watched.held, watched.open) == (LIMIT, LIMIT, LIMIT)


def test_the_connection_that_was_idle_longest_is_closed_first(watched: Watched) -> None:
    first, second, third, fourth, *_ = watched.engines
    opened: list[str] = []
    for engine in (first, second, third, fourth):
        event.listen(engine, "connect", lambda *_, engine=engine: opened.append(engine.url.database))
    for engine in (first, second, third, first, fourth, first, third):
        _database(engine)
    assert opened == [each.url.database for each in (first, second, third, fourth)]


def test_nobody_waits_longer_than_the_timeout_and_the_error_names_the_setting(tenant_urls: list[URL]) -> None:
    watched = Watched(tenant_urls, create_engine, ThreadTurn, timeout=0.05)
    held = [engine.connect() for engine in watched.engines[:LIMIT]]
    with pytest.raises(exc.TimeoutError, match=rf"raise engine_budget={LIMIT} of the tenancy"):
        watched.engines[-1].connect()
    held[0].close()
    assert _database(watched.engines[-1]) == watched.engines[-1].url.database
    for connection in held:
        connection.close()
    watched.dispose()
    assert (watched.held, watched.open) == (0, 0)


def test_those_that_wait_are_served_in_their_order(watched: Watched) -> None:
    held = [watched.engines[0].connect() for _ in range(LIMIT)]
    served: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        waiting = watched.budget.get()._waiting
        for number in range(1, 5):
            pool.submit(lambda engine, number: (_database(engine), served.append(number)), watched.engines[1], number)
            while len(waiting) < number:
                pass
        held.pop().close()
    assert served == [1, 2, 3, 4]
    for connection in held:
        connection.close()


def test_threads_lose_no_place(watched: Watched, seconds: float) -> None:
    broken = watched.engines[-1].url.set(database="no_such_database")
    watched.engines.append(
        TenantEngines(create_engine, lambda: broken, {}, watched.budget).get(broken.database or "", watched._watch)
    )
    end = monotonic() + seconds

    def work(seed: int) -> int:
        chance, done = random.Random(seed), 0
        while monotonic() < end:
            engine = chance.choice(watched.engines)
            try:
                with engine.connect() as connection:
                    assert connection.execute(NAME).scalar_one() == engine.url.database
                    match chance.randrange(12):
                        case 0:
                            connection.invalidate()
                        case 1:
                            engine.dispose()
            except exc.DBAPIError:
                assert engine.url.database == broken.database
            done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) > DATABASES
    assert watched.most <= LIMIT
    assert watched.held <= LIMIT
    assert not watched.budget.get()._waiting


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_cancelled_tasks_lose_no_place(tenant_urls: list[URL], driver: str, seconds: float) -> None:
    async def main() -> None:
        urls = [url.set(drivername=f"postgresql+{driver}") for url in tenant_urls]
        watched = Watched(urls, _make_async, TaskTurn)
        engines = [AsyncEngine(engine) for engine in watched.engines]
        chance, end, served = random.Random(driver), monotonic() + seconds, 0

        async def work(engine: AsyncEngine) -> None:
            nonlocal served
            async with engine.connect() as connection:
                assert (await connection.execute(NAME)).scalar_one() == engine.url.database
                await asyncio.sleep(chance.random() / 100)
                served += 1

        while monotonic() < end:
            tasks = [asyncio.create_task(work(chance.choice(engines))) for _ in range(12)]
            for task in tasks:
                if chance.random() < 0.5:
                    asyncio.get_running_loop().call_later(chance.random() / 20, task.cancel)
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        assert served > LIMIT
        assert watched.most <= LIMIT
        assert watched.held <= LIMIT
        assert not watched.budget.get()._waiting
        for engine in engines:
            await engine.dispose()
        assert watched.held == 0

    asyncio.run(main())


def test_a_wait_is_cancelled_without_a_trace(tenant_urls: list[URL]) -> None:
    async def main() -> None:
        urls = [url.set(drivername="postgresql+psycopg") for url in tenant_urls]
        watched = Watched(urls, _make_async, TaskTurn)
        engines = [AsyncEngine(engine) for engine in watched.engines]
        held = [await engine.connect() for engine in engines[:LIMIT]]
        waiting = asyncio.create_task(engines[-1].connect().start())
        while not watched.budget.get()._waiting:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        first = held.pop()
        # The place is granted and the wait is cancelled before the task continues.
        await first.close()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await (await waiting).close()
        for connection in held:
            await connection.close()
        async with engines[-1].connect() as connection:
            assert (await connection.execute(NAME)).scalar_one() == engines[-1].url.database
        for engine in engines:
            await engine.dispose()
        assert watched.held == 0

    asyncio.run(main())


def test_connections_in_use_when_the_engine_is_disposed_of_are_closed_later(watched: Watched) -> None:
    with watched.engines[0].connect() as connection:
        watched.dispose()
        assert (watched.held, watched.open) == (1, 1)
        assert connection.execute(NAME).scalar_one() == watched.engines[0].url.database
    assert (watched.held, watched.open) == (0, 0)


def test_a_forked_process_has_a_budget_and_connections_of_its_own(watched: Watched) -> None:
    pid = text("SELECT pg_backend_pid()")
    with watched.engines[0].connect() as connection:
        mine = connection.execute(pid).scalar_one()
        _database(watched.engines[1])
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            with suppress(BaseException):
                connection.close()  # the parent's: it must stay open
                with watched.engines[0].connect() as own:
                    os.write(writing, f"{own.execute(pid).scalar_one()} {watched.held}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        theirs, held = os.read(reading, 100).decode().split()
        assert (int(theirs) != mine, held) == (True, "1")
        assert connection.execute(pid).scalar_one() == mine
    assert watched.held == 2
    os.close(reading)
    os.close(writing)
