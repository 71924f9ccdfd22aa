"""KeyboardInterrupt at any moment is raised as such, and leaves no connection that is in the middle of a command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from tenantkit.drivers.psycopg import Connection
from tenantkit.testing.servers import plain

ROOT = Path(__file__).parents[2]


def test_a_first_connection_is_interrupted_at_any_call(empty_database: URL, dose: Callable[[int, int], int]) -> None:
    url, step = empty_database.render_as_string(hide_password=False), dose(41, 1)
    command = [sys.executable, "-W", "ignore", "-m", "tests.databases.interrupted_connections", url, str(step)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * step > 500


@pytest.mark.parametrize("command", ["SELECT pg_sleep(60)", "SELECT 1", "SELECT 1; SELECT 1 / 0; SELECT 2"])
def test_a_command_is_read_to_its_end_that_was_interrupted_when_it_was_sent(empty_database: URL, command: str) -> None:
    def interrupted(connection: psycopg.Connection[Any]) -> Generator[Any, Any, None]:
        yield from ()
        connection.pgconn.send_query(command.encode())
        raise KeyboardInterrupt

    with Connection.connect(plain(empty_database)) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(KeyboardInterrupt):
            connection.wait(interrupted(connection))
        connection.rollback()
        assert connection.execute("SELECT 3").fetchone() == (3,)
