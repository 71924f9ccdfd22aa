"""Fixtures for tests anywhere: a server, and databases on it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL

from tests.support.copies import Databases
from tests.support.servers import running_server

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
def databases(server_url: URL) -> Generator[Databases]:
    """The databases that this process makes."""
    with closing(Databases(server_url)) as databases:
        yield databases


@pytest.fixture(scope="session")
def make_template(databases: Databases) -> Callable[..., URL]:
    """Make an empty database, or a copy of another, that lasts as long as the tests do."""
    return databases.create


@pytest.fixture
def make_database(databases: Databases) -> Generator[Callable[..., URL]]:
    """Make an empty database, or a copy of another, for one test."""
    made: list[URL] = []

    def make(template: str = "template0") -> URL:
        made.append(url := databases.create(template))
        return url

    yield make
    databases.discard(made)


@pytest.fixture
def empty_database(make_database: Callable[..., URL]) -> URL:
    """A database with nothing in it."""
    return make_database()
