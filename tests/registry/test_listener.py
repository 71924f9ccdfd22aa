"""The listener: its own connection, the detection of a dead one, and a silent end of the program."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, create_server, socket
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.pool import NullPool, StaticPool

from tenantkit import Tenancy
from tenantkit.drivers.psycopg import Connection
from tenantkit.registry.listener import Listener
from tests.registry.test_cache import hear
from tests.support import commands
from tests.support.processes import until

SCRIPT = """
import logging, sys
from tenantkit import Tenancy
from tests.support.models import APPLICATION

logging.basicConfig()
tenancy = Tenancy(sys.argv[1], **APPLICATION)
tenancy.get("acme")
if sys.argv[2] != "at once":
    tenancy.lookups.listener.listening.wait(30)
"""

STOPPING = """
import atexit, sys, time
import psycopg

def stop_the_server():
    with psycopg.connect(sys.argv[1].replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN tenantkit'")
    time.sleep(0.2)

atexit.register(stop_the_server)  # as an embedded server does
"""


@pytest.mark.parametrize("ends", ["at once", "listening", "with its server"])
def test_a_program_that_does_not_close_its_tenancy_ends_silently(
    database: URL, make_tenancy: Callable[..., Tenancy], ends: str, all_cases: bool
) -> None:
    make_tenancy().create("acme")
    url = database.render_as_string(hide_password=False)
    script = STOPPING + SCRIPT if ends == "with its server" else SCRIPT
    for _ in range(5 if all_cases else 1):  # repeated, because of a race
        done = commands.run(script, url, ends, program="-c", cwd=Path.cwd(), environment=os.environ)
        assert (done.stderr, done.returncode) == ("", 0)


class Clock:
    """A clock that a test advances, independent of the machine's speed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now

    def advance(self) -> None:
        """Advance by a second after the listener has processed all notifications."""
        seen = self.reads + 2
        until(lambda: self.reads >= seen)
        self.now += 1


class Relay:
    """Relays bytes between clients and the server until it is told to drop them, as a half-open connection does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._server = create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.swallows = Event()
        self.accepted = 0
        self.answers = 0
        self._sockets: list[socket] = [self._server]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket(AF_UNIX)
            server.connect(self._path)
            self._sockets += [client, server]
            swallows = Event() if self.accepted > 1 else self.swallows
            for source, target in ((client, server), (server, client)):
                Thread(target=self._pass_on, args=(source, target, swallows), daemon=True).start()

    def _pass_on(self, source: socket, target: socket, swallows: Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not swallows.is_set():
                    target.sendall(data)
                    self.answers += source.family == AF_UNIX


def test_a_half_open_connection_is_detected(
    database: URL,
    make_tenancy: Callable[..., Tenancy],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("tenantkit.registry.listener.monotonic", clock)
    make_tenancy().create("acme")
    relay = Relay(f"{database.query['host']}/.s.PGSQL.5432")
    relayed = database.set(host="127.0.0.1", port=relay.port, query={"sslmode": "disable"})
    tenancy = make_tenancy(cache_ttl=10_000)
    engine = create_engine(relayed, poolclass=NullPool)
    listener = Listener(engine, tenancy.cache, retry_after=0.05, ping_after=0.1)
    listener.start()
    assert listener.listening.wait(30)
    for _ in range(3):  # without notifications, but with answers
        answers = relay.answers
        clock.advance()
        until(lambda answers=answers: relay.answers > answers)
    clock.advance()
    assert relay.accepted == 1
    assert listener.listening.is_set()
    tenancy.get("acme")
    relay.swallows.set()
    while relay.accepted == 1:
        clock.advance()
    until(listener.listening.is_set)
    assert tenancy.cache.find(("key", "acme")) is None
    assert "registry notifications lost (TimeoutError)" in caplog.text
    listener.stop()
    relay.close()


def test_the_listener_does_not_wait_for_a_connection_of_the_pool(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(listen=True, engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 60})
    with tenancy.engine.connect():  # the only connection of the pool
        assert tenancy.lookups.listener
        tenancy.lookups.listener.start()
        assert tenancy.lookups.listener.listening.wait(30)


def custom_creator(url: URL) -> Engine:
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return create_engine("postgresql+psycopg://", creator=lambda: Connection.connect(dsn, application_name="ours"))


def custom_arguments(url: URL) -> Engine:
    return create_engine(url, connect_args={"application_name": "ours"})


def custom_event(url: URL) -> Engine:
    engine = create_engine(url.set(database="nowhere"))

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _entry: Any, _args: Any, options: dict[str, Any]) -> None:
        options.update(dbname=url.database, application_name="ours")

    return engine


def custom_pool(url: URL) -> Engine:
    return create_engine(url, poolclass=StaticPool, connect_args={"application_name": "ours"})


@pytest.mark.parametrize("make", [custom_creator, custom_arguments, custom_event, custom_pool])
def test_the_listener_connects_as_the_engine_does(
    database: URL, engine: Engine, make_tenancy: Callable[..., Tenancy], make: Callable[[URL], Engine]
) -> None:
    made = make(database)
    tenancy = make_tenancy(database=made, listen=True, cache_ttl=10_000)
    tenancy.create("acme")
    hear(tenancy)
    with engine.begin() as connection:
        query = "SELECT application_name FROM pg_stat_activity WHERE query = 'LISTEN tenantkit' AND datname = current_database()"
        assert connection.exec_driver_sql(query).scalars().all() == ["ours"]
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET name = 'heard'")
    until(lambda: tenancy.get("acme").name == "heard")
