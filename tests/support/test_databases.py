"""Databases of tests end with their tests, whatever is left in them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import URL

from tenantkit.testing.servers import plain
from tests.support.copies import KEPT, Databases


@pytest.fixture
def observer(server_url: URL) -> Generator[psycopg.Connection]:
    with closing(connect(server_url)) as connection:
        yield connection


def connect(url: URL) -> psycopg.Connection:
    return psycopg.connect(plain(url), autocommit=True)


def are_there(observer: psycopg.Connection, urls: list[URL]) -> list[bool]:
    query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)"
    return [found for url in urls for (found,) in observer.execute(query, [url.database])]


def test_discarded_databases_are_dropped_when_many_wait_and_all_at_the_end(
    server_url: URL, observer: psycopg.Connection
) -> None:
    with closing(Databases(server_url)) as maker:
        urls = [maker.create() for _ in range(KEPT + 2)]
        for url in urls[1:]:
            maker.discard([url])
        assert are_there(observer, urls) == [True, False, *[True] * KEPT]
    assert not any(are_there(observer, urls))


def test_a_database_that_a_test_makes_and_names_after_its_own_is_dropped_at_the_end(
    server_url: URL, observer: psycopg.Connection
) -> None:
    with closing(Databases(server_url)) as maker:
        url = maker.create()
        derived = url.set(database=f"{url.database}_eu")
        observer.execute(f"CREATE DATABASE {derived.database}")
    assert are_there(observer, [url, derived]) == [False, False]


def test_a_process_that_makes_none_drops_none(server_url: URL, observer: psycopg.Connection) -> None:
    with closing(Databases(server_url)) as kept:
        url = kept.create()
        Databases(server_url).close()
        assert are_there(observer, [url]) == [True]


def test_a_connection_that_a_test_leaves_open_is_ended(server_url: URL) -> None:
    with closing(Databases(server_url)) as maker:
        url = maker.create()
        with closing(connect(url)) as left_open:
            maker.discard([url])
            with pytest.raises(psycopg.OperationalError):
                left_open.execute("SELECT")


def test_a_prepared_transaction_that_a_test_leaves_is_rolled_back(
    server_url: URL, observer: psycopg.Connection
) -> None:
    (allowed,) = observer.execute("SHOW max_prepared_transactions").fetchone() or ("0",)
    if allowed == "0":
        pytest.skip("the server has no prepared transactions")
    with closing(Databases(server_url)) as maker:
        url = maker.create()
        with closing(connect(url)) as connection:
            connection.execute("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'left behind'")
        maker.discard([url])
    assert are_there(observer, [url]) == [False]
