"""Databases that are made for tests, and dropped some tests later; and roles."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count

import psycopg
from psycopg import errors, sql
from sqlalchemy import URL

KEPT = 8
"""Number of discarded databases of a process that wait to be dropped; each takes 8 MB and more.

``DROP DATABASE`` sleeps for 100 ms at a time while a connection to the database ends. A few tests later all have ended.
"""


class Databases:
    """Makes databases on a server and drops them."""

    def __init__(self, server_url: URL) -> None:
        self._server_url = server_url
        self._connection = self._connect(server_url)
        self._numbers = count(1)
        self._lasting: list[str] = []
        self._roles: list[str] = []
        self._discarded: deque[str] = deque()
        # Copying files instead of writing each page to the log takes less than half of the time if nothing is synced.
        (fsync,) = self._connection.execute("SHOW fsync").fetchone() or ("on",)
        self._strategy = "file_copy" if fsync == "off" else "wal_log"

    def make(self, template: str = "template0") -> URL:
        """Make a copy of *template* that lasts until it is discarded, or until the end."""
        name = f"tk_{self._connection.info.backend_pid}_{next(self._numbers)}"
        self._connection.execute(f'CREATE DATABASE {name} TEMPLATE "{template}" STRATEGY {self._strategy}')
        self._lasting.append(name)
        return self._server_url.set(database=name)

    def make_role(self) -> str:
        """Make a role that may log in, with the password of the server's URL, and lasts until the end."""
        name = f"tk_{self._connection.info.backend_pid}_role_{next(self._numbers)}"
        password = sql.Literal(self._server_url.password)
        self._connection.execute(sql.SQL(f"CREATE ROLE {name} LOGIN PASSWORD {{}}").format(password))
        self._roles.append(name)
        return name

    def discard(self, names: Sequence[str]) -> None:
        """End the connections to the databases *names*, and have them dropped later."""
        self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)", [list(names)]
        )
        for name in names:
            self._lasting.remove(name)
        self._discarded.extend(names)
        while len(self._discarded) > KEPT:
            self._drop(self._discarded.popleft())

    def close(self) -> None:
        """Drop all of them: the server may be one that stays."""
        for name in (*self._discarded, *self._lasting):
            self._drop(name)
        for name in self._roles:
            self._connection.execute(f"DROP ROLE {name}")
        self._connection.close()

    def _drop(self, name: str) -> None:
        drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        try:
            self._connection.execute(drop)
        except errors.ObjectInUse:
            self._forget_prepared(name)
            self._connection.execute(drop)

    def _forget_prepared(self, name: str) -> None:
        """Roll back the prepared transactions of a database, which can be done from within it only."""
        with self._connect(self._server_url.set(database=name)) as connection:
            query = (
                "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = current_database()"
            )
            for (statement,) in connection.execute(query).fetchall():
                connection.execute(statement)

    @staticmethod
    def _connect(url: URL) -> psycopg.Connection:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(plain, autocommit=True)
