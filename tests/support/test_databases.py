"""Databases of tests end with their tests, whatever is left in them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import URL

from tests.support.copies import KEPT, Databases


@pytest.fixture
def observer(server_url: URL) -> Generator[psycopg.Connection]:
    with closing(connect(server_url)) as connection:
        yield connection


def connect(url: URL) -> psycopg.Connection:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


def are_there(observer: psycopg.Connection, names: list[str]) -> list[bool]:
    query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)"
    return [found for name in names for (found,) in observer.execute(query, [name])]


def test_discarded_databases_are_dropped_when_many_wait_and_all_at_the_end(
    server_url: URL, observer: psycopg.Connection
) -> None:
    with closing(Databases(server_url)) as maker:
        names = [maker.make().database or "" for _ in range(KEPT + 2)]
        for name in names[1:]:
            maker.discard([name])
        assert are_there(observer, names) == [True, False, *[True] * KEPT]
    assert not any(are_there(observer, names))


def test_a_connection_that_a_test_leaves_open_is_ended(server_url: URL) -> None:
    with closing(Databases(server_url)) as maker:
        url = maker.make()
        with closing(connect(url)) as left_open:
            maker.discard([url.database or ""])
            with pytest.raises(psycopg.OperationalError):
                left_open.execute("SELECT")


def test_a_prepared_transaction_that_a_test_leaves_is_rolled_back(
    server_url: URL, observer: psycopg.Connection
) -> None:
    (allowed,) = observer.execute("SHOW max_prepared_transactions").fetchone() or ("0",)
    if allowed == "0":
        pytest.skip("the server has no prepared transactions")
    with closing(Databases(server_url)) as maker:
        url = maker.make()
        with closing(connect(url)) as connection:
            connection.execute("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'left behind'")
        maker.discard([url.database or ""])
    assert are_there(observer, [url.database or ""]) == [False]
