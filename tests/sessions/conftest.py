"""Connections to the database: direct, and by a pooler."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer

WAYS = [
    "direct",
    pytest.param(
        "pgbouncer", marks=pytest.mark.skipif(PGBOUNCER is None, reason="needs PgBouncer (Debian: pgbouncer)")
    ),
]


@pytest.fixture(params=WAYS)
def make_reached(
    request: pytest.FixtureRequest, database: URL, engine: Engine, make_any_tenancy: Callable[..., Any]
) -> Generator[Callable[..., Any]]:
    """Make a tenancy on one server connection, reached directly or by a PgBouncer in transaction mode."""
    pool: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 30}
    with ExitStack() as started:

        def make(**options: Any) -> Any:
            options = {"sync_database": engine, **options}
            if request.param == "direct":
                return make_any_tenancy(engine_options=pool, **options)
            arguments = driver_arguments("asyncpg" if "asyncpg" in request.node.name else "psycopg")
            url = started.enter_context(pgbouncer(database, connections=1))
            return make_any_tenancy(database=url, engine_options={**pool, "connect_args": arguments}, **options)

        yield make
