"""The revisions of placements, read from their version tables."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from tenantkit.migrations.planning import version_tables
from tenantkit.migrations.planning.version_tables import read_revisions

ODD = 'it\'s; a "schema": %s'


@pytest.fixture
def connection(engine: Engine) -> Generator[Connection]:
    """A connection in autocommit mode, to a database with some schemas."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    for number in range(7):
        make(connection, f"s{number}", f"r{number}")
    make(connection, "two_heads", "b", "a")
    make(connection, "nothing_yet")
    connection.exec_driver_sql("CREATE SCHEMA bare")
    make(connection, ODD, "odd")
    yield connection
    connection.close()


def make(connection: Connection, schema: str, *heads: str) -> None:
    quoted = '"{}"'.format(schema.replace('"', '""').replace("%", "%%"))
    connection.exec_driver_sql(f"CREATE SCHEMA {quoted}")
    connection.exec_driver_sql(f"CREATE TABLE {quoted}.alembic_version (version_num varchar(32) PRIMARY KEY)")
    for head in heads:
        connection.exec_driver_sql(f"INSERT INTO {quoted}.alembic_version VALUES ('{head}')")


@pytest.mark.parametrize("chunk", [1, 3, 250])
def test_placements_with_any_name_are_read(connection: Connection, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_tables, "_CHUNK", chunk)
    known = {f"s{number}": (f"r{number}",) for number in range(7)}
    others = {"two_heads": ("a", "b"), "nothing_yet": (), "bare": (), ODD: ("odd",)}

    assert read_revisions(connection, [*known, "absent", *others]) == {**known, **others}
    assert read_revisions(connection, []) == {}


def test_no_lock_is_kept_with_many_placements(connection: Connection) -> None:
    read_revisions(connection, [f"s{number}" for number in range(7)])

    kept = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE '%%version%%'"
    assert connection.exec_driver_sql(kept).scalar() == 0


def test_after_an_error_the_connection_can_be_used(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE ROLE reader_of_revisions")
    connection.exec_driver_sql("SET ROLE reader_of_revisions")

    with pytest.raises(DBAPIError, match="permission denied for schema"):
        read_revisions(connection, ["s0", "s1"])

    connection.exec_driver_sql("RESET ROLE")
    connection.exec_driver_sql("DROP ROLE reader_of_revisions")
    assert read_revisions(connection, ["s1"]) == {"s1": ("r1",)}
