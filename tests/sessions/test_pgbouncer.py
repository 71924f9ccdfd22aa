"""Behind PgBouncer in transaction mode, every transaction may run on another server connection."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, select, text

from tenantkit import Tenancy
from tests.support.models import Project, Task
from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer

KEYS = [f"tenant{number}" for number in range(6)]

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs PgBouncer (Debian: pgbouncer)")


@pytest.fixture
def pooled(database: URL) -> Generator[URL]:
    """The test's database, behind a PgBouncer with two server connections."""
    with pgbouncer(database) as url:
        yield url


def test_no_request_sees_another_tenant(
    pooled: URL, tenancy: Tenancy, make_any_tenancy: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    for key in KEYS:
        tenancy.create(key, seed=lambda session: session.add(Project(name=session.tenant.key)))
    arguments = driver_arguments("asyncpg" if "asyncpg" in request.node.name else "psycopg")
    options = {"pool_size": 4, "max_overflow": 0, "connect_args": arguments}
    behind = make_any_tenancy(database=pooled, engine_options=options, sync_database=tenancy.engine)
    backends: set[int] = set()

    def serve(number: int) -> None:
        key = KEYS[number % len(KEYS)]
        with behind.session(key) as session:
            assert session.scalars(select(Project.name)).all() == [key]
            session.add(Task(title=key, project_id=1))
            session.commit()
            assert session.execute(text("SELECT name FROM project")).scalars().all() == [key]
            session.rollback()
            assert set(session.scalars(select(Task.title))) == {key}
            backends.add(session.scalar(text("SELECT pg_backend_pid()")))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(serve, range(120)))

    assert len(backends) == 2, "the requests shared server connections"
    with tenancy.engine.connect() as connection:
        for key in KEYS:
            titles = connection.exec_driver_sql(f'SELECT title FROM "t_{key}".task').scalars().all()
            assert titles == [key] * 20


def test_a_setting_of_the_session_would_reach_other_tenants(pooled: URL) -> None:
    """With a path that is set for the session, the test above fails on this PgBouncer."""
    engine = create_engine(pooled, connect_args={"prepare_threshold": None})
    with engine.connect() as one, engine.connect() as other:
        one.exec_driver_sql("SET search_path = somewhere")
        one.commit()
        assert other.exec_driver_sql("SHOW search_path").scalar() == "somewhere"
    engine.dispose()
