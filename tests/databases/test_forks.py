"""Connections, caches and listeners belong to the process that opened them, after every kind of fork."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import URL

from tests.migrations.environments import Environment

SETTING = """
import asyncio, ctypes, gc, logging, os, sys, time
from sqlalchemy import event
from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tests.support.models import APPLICATION

forks = {"python": os.fork, "c": ctypes.PyDLL(None).fork}  # the second as uWSGI does: Python hears nothing of it
url, fork, options = sys.argv[1], forks[sys.argv[2]], {"pool_size": 1, **eval(sys.argv[3])}

def ends_well(child):
    _, status = os.waitpid(child, 0)
    assert status == 0, status

def in_child(body):
    child = fork()
    if child == 0:
        try:
            body()
            os._exit(0)
        except Exception:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return child
"""

SERVING = """
tenancy = Tenancy(url, cache_ttl=10_000, engine_options=options, **APPLICATION)
tenancy.create("acme")
tenancy.get("acme")
assert tenancy.lookups.listener.listening.wait(30)

def serve():
    with tenancy.session("acme") as session:
        return session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

def hears(name):
    deadline = time.monotonic() + 30
    while tenancy.get("acme").name != name:
        assert time.monotonic() < deadline
        time.sleep(0.01)

def work():
    tenancy.get("acme")
    assert tenancy.lookups.listener.listening.wait(30)
    assert serve() != before
    tenancy.update("acme", name="from the child")
    hears("from the parent")
    tenancy.close()

before = serve()
tenancy.cache._writing.acquire()  # as other threads may have done
tenancy.engine.pool._pool.mutex.acquire()
child = in_child(work)
tenancy.cache._writing.release()
tenancy.engine.pool._pool.mutex.release()
hears("from the child")
assert serve() == before
tenancy.update("acme", name="from the parent")
ends_well(child)
assert serve() == before
tenancy.close()
"""

LEAVING = """
tenancy = Tenancy(url, engine_options=options, **APPLICATION)
tenancy.create("acme")
tenancy.get("acme")
assert tenancy.lookups.listener.listening.wait(30)
with tenancy.engine.connect() as connection:
    before = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
for leave in (lambda: None, tenancy.close, tenancy.engine.dispose, sys.exit):
    ends_well(in_child(leave))
    with tenancy.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() == before
assert tenancy.lookups.listener.listening.is_set()
tenancy.close()
"""

OPEN = """
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from tests.support.models import Project

logging.disable()  # SQLAlchemy logs that it cannot roll back
tenancy = Tenancy(url, listen=False, engine_options=options, **APPLICATION)
tenancy.create("acme")
session = tenancy.session("acme")
session.add(Project(name="first"))
session.flush()

def work():
    try:
        session.scalars(select(Project)).all()
    except OperationalError as error:
        assert "Open a new session in each process" in str(error)
    else:
        raise AssertionError
    session.close()
    with tenancy.session("acme") as other:
        assert other.scalars(select(Project.name)).all() == []

for leave in (work, lambda: session.close(), lambda: gc.collect(), lambda: session.connection().invalidate()):
    ends_well(in_child(leave))
    session.add(Project(name=f"more {leave}"))
    session.flush()
session.commit()
assert len(session.scalars(select(Project)).all()) == 5
session.close()
tenancy.close()
"""

ASYNCIO = """
tenancy = AsyncTenancy(url, engine_options=options, **APPLICATION)

async def serve():
    async with tenancy.session("acme") as session:
        connection = await session.connection()
        return (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()

async def begin():
    await tenancy.create("acme")
    await tenancy.get("acme")
    # Its thread holds no lock of Python's any more, which a child of C's fork would never get.
    assert tenancy.sync.lookups.listener.listening.wait(30)
    return await serve()

async def work():
    assert await serve() != before
    await tenancy.close()

runner = asyncio.Runner()
before = runner.run(begin())
ends_well(in_child(lambda: asyncio.run(work())))
assert runner.run(serve()) == before
runner.run(tenancy.close())
runner.close()
"""

REVISIONS = """
from tenantkit.registry import revisions

revisions.TRUSTED_FOR = 10_000.0
tenancy = Tenancy(url, listen=False, migrations=sys.argv[4], engine_options=options, **APPLICATION)
tenancy.create("acme")
statements = []
event.listen(tenancy.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

def asks(count):
    before = len(statements)
    assert tenancy.at_revision("acme", "r1")
    assert len([each for each in statements[before:] if "alembic_version" in each]) == count

def work():
    asks(1)  # what the parent knew, no notification to this process would change
    asks(0)
    tenancy.cache.clear()
    asks(1)

asks(1)
asks(0)
ends_well(in_child(work))
asks(0)
tenancy.close()
"""

POOLS: list[dict[str, Any]] = [{}, {"pool_pre_ping": True}]


def run(script: str, url: URL, *arguments: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning"),
            *("-c", SETTING + script, url.render_as_string(hide_password=False), *arguments),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])},
    )
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("pool", POOLS, ids=repr)
@pytest.mark.parametrize("fork", ["python", "c"])
def test_a_forked_process_has_connections_and_a_listener_of_its_own(database: URL, fork: str, pool: object) -> None:
    run(SERVING, database, fork, repr(pool))


@pytest.mark.all_cases
@pytest.mark.parametrize("pool", POOLS, ids=repr)
@pytest.mark.parametrize("fork", ["python", "c"])
def test_the_end_of_a_forked_process_does_not_affect_its_parents_connections(
    database: URL, fork: str, pool: object
) -> None:
    run(LEAVING, database, fork, repr(pool))


@pytest.mark.all_cases
@pytest.mark.parametrize("fork", ["python", "c"])
def test_a_session_that_was_open_when_a_process_forked_works_in_the_parent_only(database: URL, fork: str) -> None:
    run(OPEN, database, fork, "{}")


@pytest.mark.all_cases
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@pytest.mark.parametrize("pool", POOLS, ids=repr)
@pytest.mark.parametrize("fork", ["python", "c"])
def test_a_forked_process_has_asynchronous_connections_of_its_own(
    database: URL, fork: str, pool: object, driver: str
) -> None:
    run(ASYNCIO, database.set(drivername=f"postgresql+{driver}"), fork, repr(pool))


@pytest.mark.all_cases
@pytest.mark.parametrize("fork", ["python", "c"])
def test_a_forked_process_has_a_cache_of_revisions_of_its_own(
    database: URL, environment: Environment, fork: str
) -> None:
    environment.add("r1", "pass")
    run(REVISIONS, database, fork, "{}", str(environment.folder))
