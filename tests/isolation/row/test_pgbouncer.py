"""Row isolation behind PgBouncer in transaction mode: tenants share server connections."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, select, text

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tests.isolation.row.conftest import APP, as_role
from tests.isolation.row.models import APPLICATION, Tag
from tests.support.blocking import blocking
from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer

KEYS = ("acme", "berta", "corp")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs PgBouncer (Debian: pgbouncer)")


@pytest.fixture
def pooled(pair_url: URL) -> Generator[URL]:
    with pgbouncer(as_role(pair_url, APP)) as url:
        yield url


@pytest.fixture(params=["sync", "psycopg", "asyncpg"])
def behind(request: pytest.FixtureRequest, pooled: URL, pair_url: URL) -> Generator[Any]:
    driver = "psycopg" if request.param == "sync" else request.param
    options: dict[str, Any] = {**APPLICATION, "listen": False}
    options["engine_options"] = {"pool_size": 4, "max_overflow": 0, "connect_args": driver_arguments(driver)}
    with ExitStack() as made:
        if driver == request.param:
            login, direct = pooled.set(drivername=f"postgresql+{driver}"), as_role(pair_url, APP)
            tenancy = AsyncTenancy(login, sync_database=direct, **options)
            yield made.enter_context(blocking(tenancy, request.getfixturevalue("portal")))
            return
        yield made.enter_context(closing(Tenancy(pooled, **options)))


def test_no_request_sees_another_tenant(behind: Any) -> None:
    for key in KEYS:
        with behind.session(key) as session:
            session.add(Tag(id=1, name=key))
            session.commit()
    backends: set[int] = set()

    def serve(number: int) -> None:
        key = KEYS[number % len(KEYS)]
        with behind.session(key) as session:
            assert session.scalars(select(Tag.name).where(Tag.id == 1)).all() == [key]
            session.commit()
            assert session.execute(text("SELECT name FROM tag")).scalars().all() == [key]
            session.rollback()
            backends.add(session.scalar(text("SELECT pg_backend_pid()")))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(serve, range(90)))
    assert len(backends) == 2, "the requests shared server connections"


def test_a_setting_of_the_session_would_go_to_others(pooled: URL) -> None:
    """What the test above would meet if tenantkit set the tenant for the session: this PgBouncer shows it."""
    engine = create_engine(pooled, connect_args={"prepare_threshold": None})
    with engine.connect() as one, engine.connect() as other:
        one.exec_driver_sql("SET tenantkit.tenant = '1'")
        one.commit()
        assert other.exec_driver_sql("SHOW tenantkit.tenant").scalar() == "1"
    engine.dispose()
