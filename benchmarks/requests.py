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

from benchmarks.application import ACCOUNTS, TENANT, UNQUALIFIED, declare, serve
from benchmarks.race import Block, Contender, timed
from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.naming import search_path

TENANTKIT = "tenantkit"
KEPT = "schema_translate_map by hand, an engine kept per tenant"
RAW_TENANTKIT = "tenantkit, textual SQL (lazy search_path)"
RAW_BY_HAND = "SET LOCAL search_path by hand, textual SQL"

POOL: dict[str, Any] = {"pool_size": 1, "max_overflow": 1}

SELECT = "SELECT id, name, city, balance FROM {}account WHERE id = %(id)s"
INSERT = "INSERT INTO {}entry (account_id, amount, note) VALUES (%(account)s, %(amount)s, %(note)s) RETURNING id"

TEXT_SELECT = text("SELECT id, name, city, balance FROM account WHERE id = :id")
TEXT_INSERT = text("INSERT INTO entry (account_id, amount, note) VALUES (:account, :amount, :note) RETURNING id")
SET_PATH = text("SELECT set_config('search_path', :path, true)")


def schema_of(tenant: str) -> str:
    """Return the schema that tenantkit gave this tenant."""
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

        tenancy = Tenancy(url, tenant=TENANT.metadata, engine_options=POOL)
        stack.callback(tenancy.close)
        per_request, by_path = engine(), engine()
        base = engine()
        kept = {
            tenant: base.execution_options(schema_translate_map={"tenant": schema_of(tenant)}) for tenant in tenants
        }
        one, one_models = engine(), declare(schema_of(tenants[0]))

        def with_tenantkit(tenant: str) -> None:
            with tenancy.session(tenant) as session:
                serve(session, TENANT, next(ids))

        def with_engine_kept(tenant: str) -> None:
            with Session(kept[tenant]) as session:
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
            Contender("schema_translate_map by hand, an engine made per request", timed(with_engine_per_request)),
            Contender("SET LOCAL search_path by hand", timed(with_search_path)),
            Contender("plain Session, one schema", timed(on_one_schema)),
            Contender("raw psycopg, qualified names", timed(_raw(connect(), tenants, ids))),
            Contender("raw psycopg, one schema", timed(_raw(connect(), tenants[:1] * len(tenants), ids, tenants))),
        ]


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
