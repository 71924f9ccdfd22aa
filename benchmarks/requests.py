"""The contenders: ways to serve the same request of one tenant among many, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from time import perf_counter
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from benchmarks.application import (
    ACCOUNTS,
    TENANT,
    UNQUALIFIED,
    Texts,
    async_serve,
    declare,
    serve,
    serve_text,
    texts_for,
)
from benchmarks.race import Block, Contender, timed
from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.databases.engines import keep_statements
from tenantkit.postgres.quoting import search_path

TENANTKIT = "tenantkit"
KEPT = "schema_translate_map by hand, an engine kept per tenant"
TUNED = ", and 1,000 prepared statements"
"""Options of an engine made by hand, with the driver's setting of tenantkit's engines."""
ASYNCPG_TENANTKIT = "asyncpg: tenantkit"
ASYNCPG_KEPT = "asyncpg: schema_translate_map by hand, an engine kept per tenant"
TEXT_TENANTKIT = "tenantkit (sets search_path with BEGIN)"
TEXT_BY_HAND = "SET LOCAL search_path by hand"
TEXT_QUALIFIED = "plain Session, written-out schemas"

POOL: dict[str, Any] = {"pool_size": 1, "max_overflow": 1}

CACHE_TTL = 3600.0
"""The time to live in seconds. Because the contenders alternate, the default of a minute would expire after few of
tenantkit's own requests, and lookups would take ten times the share that they have in consecutive requests."""

SELECT = "SELECT id, name, city, balance FROM {}account WHERE id = %(id)s"
INSERT = "INSERT INTO {}entry (account_id, amount, note) VALUES (%(account)s, %(amount)s, %(note)s) RETURNING id"

SET_PATH = text("SELECT set_config('search_path', :path, true)")


def schema_of(tenant: str) -> str:
    """Return the schema of this tenant in tenantkit."""
    return f"t_{tenant}"


@contextmanager
def sync_contenders(url: URL, tenants: Sequence[str]) -> Generator[list[Contender]]:
    """Yield the contenders without asyncio, each with a connection of its own."""
    ids = cycle(range(1, ACCOUNTS + 1))
    with ExitStack() as stack:

        def engine() -> Engine:
            made = create_engine(url, **POOL)
            stack.callback(made.dispose)
            return made

        tenancy = Tenancy(url, tenant=TENANT.metadata, engine_options=POOL, cache_ttl=CACHE_TTL)
        stack.callback(tenancy.close)
        per_request, by_path = engine(), engine()
        kept = _engines(engine(), tenants)
        tuned = _engines(keep_statements(engine()), tenants)
        one, one_models = engine(), declare(schema_of(tenants[0]))

        def with_tenantkit(tenant: str) -> None:
            with tenancy.session(tenant) as session:
                serve(session, TENANT, next(ids))

        def with_engine_kept(tenant: str) -> None:
            with Session(kept[tenant]) as session:
                serve(session, TENANT, next(ids))

        def with_engine_kept_and_tuned(tenant: str) -> None:
            with Session(tuned[tenant]) as session:
                serve(session, TENANT, next(ids))

        def with_engine_per_request(tenant: str) -> None:
            bind = per_request.execution_options(schema_translate_map={"tenant": schema_of(tenant)})
            with Session(bind) as session:
                serve(session, TENANT, next(ids))

        def with_search_path(tenant: str) -> None:
            with Session(by_path) as session:
                session.execute(SET_PATH, {"path": search_path(schema_of(tenant))})
                serve(session, UNQUALIFIED, next(ids))

        def on_one_schema(_: str) -> None:
            with Session(one) as session:
                serve(session, one_models, next(ids))

        def connect() -> psycopg.Connection[Any]:
            opened = psycopg.connect(_plain(url))
            stack.callback(opened.close)
            return opened

        yield [
            Contender(TENANTKIT, timed(with_tenantkit)),
            Contender(KEPT, timed(with_engine_kept)),
            Contender(KEPT + TUNED, timed(with_engine_kept_and_tuned)),
            Contender("schema_translate_map by hand, an engine made per request", timed(with_engine_per_request)),
            Contender("SET LOCAL search_path by hand", timed(with_search_path)),
            Contender("plain Session, one schema", timed(on_one_schema)),
            Contender("raw psycopg, qualified names", timed(_raw(connect(), tenants, ids))),
            Contender("raw psycopg, one schema", timed(_raw(connect(), [tenants[0]] * len(tenants), ids, tenants))),
        ]


@contextmanager
def textual_contenders(url: URL, tenants: Sequence[str]) -> Generator[list[Contender]]:
    """Yield the contenders for a request in textual SQL, all with as many prepared statements."""
    ids = cycle(range(1, ACCOUNTS + 1))
    tenancy = Tenancy(url, tenant=TENANT.metadata, engine_options=POOL, cache_ttl=CACHE_TTL)
    by_path, qualified = (keep_statements(create_engine(url, **POOL)) for _ in range(2))
    unqualified: Texts = texts_for("")
    written_out = {tenant: texts_for(f"{schema_of(tenant)}.") for tenant in tenants}

    def with_tenantkit(tenant: str) -> None:
        with tenancy.session(tenant) as session:
            serve_text(session, unqualified, next(ids))

    def with_search_path(tenant: str) -> None:
        with Session(by_path) as session:
            session.execute(SET_PATH, {"path": search_path(schema_of(tenant))})
            serve_text(session, unqualified, next(ids))

    def with_written_out_schemas(tenant: str) -> None:
        with Session(qualified) as session:
            serve_text(session, written_out[tenant], next(ids))

    yield [
        Contender(TEXT_TENANTKIT, timed(with_tenantkit)),
        Contender(TEXT_BY_HAND, timed(with_search_path)),
        Contender(TEXT_QUALIFIED, timed(with_written_out_schemas)),
    ]
    tenancy.close()
    by_path.dispose()
    qualified.dispose()


@contextmanager
def async_contenders(url: URL, tenants: Sequence[str]) -> Generator[list[Contender]]:
    """Yield the contenders with asyncio, on psycopg and asyncpg, each with a connection of its own."""
    ids = cycle(range(1, ACCOUNTS + 1))
    asyncpg = url.set(drivername="postgresql+asyncpg")
    with asyncio.Runner() as runner:
        opened: list[Callable[[], Awaitable[None]]] = []

        def contender(name: str, request: Callable[[str], Awaitable[None]]) -> Contender:
            return Contender(name, async_timed(runner, request))

        def tenantkit(name: str, database: URL) -> Contender:
            tenancy = AsyncTenancy(database, tenant=TENANT.metadata, engine_options=POOL, cache_ttl=CACHE_TTL)
            opened.append(tenancy.close)

            async def request(tenant: str) -> None:
                async with tenancy.session(tenant) as session:
                    await async_serve(session, TENANT, next(ids))

            return contender(name, request)

        def engine_kept(name: str, database: URL, *, tuned: bool = False) -> Contender:
            base = _async_engine(database, opened)
            if tuned:
                keep_statements(base.sync_engine)
            kept = {tenant: AsyncEngine(engine) for tenant, engine in _engines(base.sync_engine, tenants).items()}

            async def request(tenant: str) -> None:
                async with AsyncSession(kept[tenant]) as session:
                    await async_serve(session, TENANT, next(ids))

            return contender(name, request)

        def one_schema(name: str, database: URL) -> Contender:
            engine, models = _async_engine(database, opened), declare(schema_of(tenants[0]))

            async def request(_: str) -> None:
                async with AsyncSession(engine) as session:
                    await async_serve(session, models, next(ids))

            return contender(name, request)

        yield [
            tenantkit(TENANTKIT, url),
            engine_kept(KEPT, url),
            engine_kept(KEPT + TUNED, url, tuned=True),
            one_schema("plain AsyncSession, one schema", url),
            tenantkit(ASYNCPG_TENANTKIT, asyncpg),
            engine_kept(ASYNCPG_KEPT, asyncpg),
            engine_kept(ASYNCPG_KEPT + TUNED, asyncpg, tuned=True),
            one_schema("asyncpg: plain AsyncSession, one schema", asyncpg),
        ]
        for close in opened:
            runner.run(_wait(close))


def async_timed(runner: asyncio.Runner, request: Callable[[str], Awaitable[None]]) -> Block:
    """Return the block of a contender whose requests are awaited, one after another."""

    async def block(tenants: Sequence[str]) -> list[float]:
        seconds: list[float] = []
        for tenant in tenants:
            start = perf_counter()
            await request(tenant)
            seconds.append(perf_counter() - start)
        return seconds

    return lambda tenants: runner.run(block(tenants))


async def _wait(close: Callable[[], Awaitable[None]]) -> None:
    await close()


def _async_engine(url: URL, opened: list[Callable[[], Awaitable[None]]]) -> AsyncEngine:
    engine = create_async_engine(url, **POOL)
    opened.append(engine.dispose)
    return engine


def _engines(engine: Engine, tenants: Sequence[str]) -> dict[str, Engine]:
    return {tenant: engine.execution_options(schema_translate_map={"tenant": schema_of(tenant)}) for tenant in tenants}


def _plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _raw(
    connection: psycopg.Connection[Any], schemas: Sequence[str], ids: Any, tenants: Sequence[str] | None = None
) -> Callable[[str], None]:
    statements = {
        tenant: tuple(
            each.format(sql.Identifier(schema_of(schema)).as_string(connection) + ".") for each in (SELECT, INSERT)
        )
        for tenant, schema in zip(tenants or schemas, schemas, strict=True)
    }

    def request(tenant: str) -> None:
        select, insert = statements[tenant]
        row = connection.execute(select, {"id": next(ids)}).fetchone()
        assert row is not None
        connection.execute(insert, {"account": row[0], "amount": row[3] + 1, "note": "paid"}).fetchone()
        connection.commit()

    return request
