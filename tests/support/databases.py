"""Fixtures for tests anywhere: a server, and databases on it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from tests.support.servers import running_server

_numbers = count(1)
_seen: dict[str, str] = {}


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> Generator[URL]:
    """The maintenance database of the server under test."""
    with running_server() as (url, source):
        getattr(pytestconfig, "workeroutput", _seen)["server"] = source
        yield url


def pytest_testnodedown(node: Any) -> None:
    """Hear from one of several processes which server it used."""
    _seen.update({"server": node.workeroutput["server"]} if "server" in getattr(node, "workeroutput", {}) else {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which server the tests ran on."""
    terminalreporter.write_line(f"PostgreSQL server: {_seen.get('server', 'none was needed')}")


@pytest.fixture(scope="session")
def make_template(server_url: URL) -> Generator[Callable[..., URL]]:
    """Make an empty database, or a copy of another, that lasts as long as the tests do."""
    with _maker(server_url) as make:
        yield make


@pytest.fixture
def make_database(server_url: URL) -> Generator[Callable[..., URL]]:
    """Make an empty database, or a copy of another, for one test."""
    with _maker(server_url) as make:
        yield make


@contextmanager
def _maker(server_url: URL) -> Generator[Callable[..., URL]]:
    plain = server_url.set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[str] = []
    with psycopg.connect(plain, autocommit=True) as connection:
        # Copying files instead of writing each page to the log takes less than half of the time if nothing is synced.
        (fsync,) = connection.execute("SHOW fsync").fetchone() or ("on",)
        strategy = "file_copy" if fsync == "off" else "wal_log"

        def make(template: str = "template0") -> URL:
            name = f"tk_{connection.info.backend_pid}_{next(_numbers)}"
            connection.execute(f'CREATE DATABASE {name} TEMPLATE "{template}" STRATEGY {strategy}')
            made.append(name)
            return server_url.set(database=name)

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def empty_database(make_database: Callable[..., URL]) -> URL:
    """A database with nothing in it."""
    return make_database()
