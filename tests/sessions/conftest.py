"""Connections to the database: direct, and by a pooler."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from tenantkit import Tenancy, TenantSession
from tests.support.models import APPLICATION, Project
from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer

WAYS = [
    "direct",
    pytest.param(
        "pgbouncer", marks=pytest.mark.skipif(PGBOUNCER is None, reason="needs PgBouncer (Debian: pgbouncer)")
    ),
]


@pytest.fixture(scope="session")
def make_pair(make_template: Callable[..., URL], application_template: str) -> Callable[..., str]:
    """Make a template: the small application with the tenants acme and beta, which a seed fills."""

    def make(seed: Callable[[TenantSession], object]) -> str:
        url = make_template(application_template)
        with closing(Tenancy(url, listen=False, **APPLICATION)) as tenancy:
            for key in ("acme", "beta"):
                tenancy.create(key, seed=seed)
        return url.database or ""

    return make


@pytest.fixture(scope="session")
def filled_template(make_pair: Callable[..., str]) -> str:
    """A project in each, with the name of its tenant; modules override it."""
    return make_pair(lambda session: session.add(Project(name=session.tenant.key)))


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
