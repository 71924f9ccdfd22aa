"""Fixtures for tests anywhere: a server, and databases on it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import count

import psycopg
import pytest
from sqlalchemy import URL

from tests.support.servers import GIVEN, running_server

_numbers = count(1)
_source = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> Generator[URL]:
    """The maintenance database of the server under test."""
    with running_server() as (url, source):
        pytestconfig.stash[_source] = source
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which server the tests ran on."""
    terminalreporter.write_line(f"PostgreSQL server: {config.stash.get(_source, 'none was needed')}")


@pytest.fixture(scope="session")
def make_database(server_url: URL, pytestconfig: pytest.Config) -> Generator[Callable[..., URL]]:
    """Make an empty database, or a copy of another."""
    plain = server_url.set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[str] = []
    with psycopg.connect(plain, autocommit=True) as connection:

        def make(template: str = "template0") -> URL:
            name = f"tk_{connection.info.backend_pid}_{next(_numbers)}"
            connection.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"')
            made.append(name)
            return server_url.set(database=name)

        yield make
        # Of a server that goes with the tests, they go with it: dropping one takes a checkpoint, up to a second.
        if pytestconfig.stash[_source] == GIVEN:
            for name in made:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def empty_database(make_database: Callable[..., URL]) -> URL:
    """A database with nothing in it."""
    return make_database()
