"""Work in other processes, which can be stopped at any statement that they send, and killed there.

Code that a signal interrupts sleeps for moments only: if the signal comes between Python's check for signals and the
system call, ``time.sleep`` goes on to its end.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from sqlalchemy import URL, Engine, event

from tenantkit import Tenancy, lifecycle
from tests.support.models import Country, Project, SharedBase, Task, TenantBase

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.processes"])

Work = Callable[[Tenancy], object]


class Worker:
    """One piece of work in a process of its own."""

    def __init__(self, url: URL, work: Work, *args: Any, stop_at: int | None = None, **options: Any) -> None:
        self._pipe, theirs = _context.Pipe()
        rendered = url.render_as_string(hide_password=False)
        arguments = (theirs, rendered, work, args, stop_at, options)
        self.process = _context.Process(target=_run, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def wait(self) -> Any:
        """Return "stopped" once it has stopped at its statement, or what the work returned, or the error's name."""
        assert self._pipe.poll(60), "the worker did not answer"
        return self._pipe.recv()

    def go_on(self) -> None:
        """Let a stopped worker continue."""
        self._pipe.send("go on")

    def kill(self) -> None:
        """Kill the process as ``kill -9`` does."""
        self.process.kill()

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self._pipe.close()


@contextmanager
def worker(url: URL, work: Work, *args: Any, stop_at: int | None = None, **options: Any) -> Generator[Worker]:
    """Run *work* with a tenancy of its own; *stop_at* numbers the statement, or commit, that it waits before."""
    running = Worker(url, work, *args, stop_at=stop_at, **options)
    try:
        yield running
    finally:
        running.close()


def unmeasured() -> dict[str, str]:
    """Return the environment for a process that gets signals: coverage.py's tracer drops what handlers raise in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def until(condition: Callable[[], object], *, seconds: float = 180) -> None:
    """Wait until *condition* holds."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it never came true"
        sleep(0.01)


def is_asleep(engine: Engine) -> bool:
    """Return whether another client of this database is in ``pg_sleep``."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar_one() > 0


def until_asleep(engine: Engine) -> None:
    """Wait until one is."""
    until(lambda: is_asleep(engine))


_GATE = """
SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE datname = current_database() AND locktype = 'advisory' AND objid = {key}
"""


def waiting(key: int, *, condition: str = "true") -> str:
    """Return a revision's operation that waits while a test keeps the gate *key* closed, where *condition* holds.

    It asks again and again, as waiting for a lock would reach ``lock_timeout``.
    """
    gate = " ".join(_GATE.format(key=key).split())
    loop = f"WHILE {condition} AND EXISTS ({gate}) LOOP PERFORM pg_sleep(0.01); END LOOP"
    return f'op.execute("DO $$ BEGIN {loop}; END $$")'


@contextmanager
def closed_gate(engine: Engine, key: int) -> Generator[Callable[[], None]]:
    """Keep the gate *key* closed until the block ends, or until the function that is yielded is called."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (key,))
        try:
            yield lambda: connection.exec_driver_sql("SELECT pg_advisory_unlock_all()").close()
        finally:
            connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")


def until_alone(engine: Engine) -> None:
    """Wait until the server has noticed that every other client of this database is gone."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND application_name = 'tenantkit worker'"
    )

    def alone() -> bool:
        with engine.connect() as connection:
            return connection.exec_driver_sql(query).scalar_one() == 0

    until(alone)


def _run(
    pipe: Any, url: str, work: Callable[..., Any], args: tuple[Any, ...], stop_at: int | None, options: dict[str, Any]
) -> None:
    tenancy = Tenancy(
        url,
        shared=SharedBase.metadata,
        tenant=TenantBase.metadata,
        listen=False,
        engine_options={"connect_args": {"application_name": "tenantkit worker"}},
        **options,
    )
    sent = 0

    def count(*_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == stop_at:
            pipe.send("stopped")
            pipe.recv()

    event.listen(tenancy.engine, "before_cursor_execute", count)
    event.listen(tenancy.engine, "commit", count)
    try:
        result = work(tenancy, *args)
    except Exception as error:  # noqa: BLE001 - the test decides
        result = type(error).__name__
    tenancy.close()
    pipe.send(result)


# Pieces of work: at module level, because they are found by name in the other process.


def seed(session: Any) -> None:
    """Fill a tenant with a row of each kind."""
    session.merge(Country(code="PT", name="Portugal"))
    session.add(Project(name="first", country_code="PT", tasks=[Task(title="begin"), Task(title="end")]))


def create(tenancy: Tenancy, key: str) -> str:
    """Create a seeded tenant."""
    return tenancy.create(key, domains=[f"{key}.example.com"], seed=seed).status


def drop(tenancy: Tenancy, key: str) -> str:
    """Drop a tenant."""
    return tenancy.drop(key).key


def drop_due(tenancy: Tenancy, _key: str) -> list[str]:
    """Drop all tenants whose time has come."""
    return [tenant.key for tenant in lifecycle.drop_due(tenancy).dropped]


def rename(tenancy: Tenancy, key: str) -> str:
    """Rename a tenant and its schema."""
    return lifecycle.rename(tenancy, key, "globex", schema=True).key


def swap(tenancy: Tenancy, key: str) -> str:
    """Swap a tenant with its copy ``<key>-copy``."""
    return lifecycle.swap(tenancy, key, f"{key}-copy").tenant.schema


def repair(tenancy: Tenancy, _key: str) -> list[str]:
    """Repair all tenants."""
    return [finding.subject for finding in tenancy.repair()]
