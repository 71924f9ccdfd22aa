"""Databases that are made for tests, and dropped some tests later; and roles."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import closing

import psycopg
from psycopg import errors, sql
from sqlalchemy import URL
from typing_extensions import override

from tenantkit.testing.databases import Server
from tenantkit.testing.servers import plain

KEPT = 8
"""Number of discarded databases of a process that wait to be dropped; each takes 8 MB and more.

``DROP DATABASE`` sleeps for 100 ms at a time while a connection to the database ends. A few tests later all have ended.
"""

_ROLES_OF_TENANTS = """
SELECT DISTINCT of_tenant.rolname FROM pg_auth_members
JOIN pg_roles AS of_tenant ON of_tenant.oid = roleid JOIN pg_roles AS login ON login.oid = member
WHERE login.rolname = ANY(%s) AND of_tenant.rolname ~ '^tenantkit_'
"""
"""Roles of tenants that some roles are members of."""


class Databases(Server):
    """Makes databases and roles on a server and drops them."""

    prefix = "tk"

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._roles: list[str] = []
        self._discarded: deque[URL] = deque()

    def make_role(self, options: str = "") -> str:
        """Make a role that may log in, with the password of the server's URL, and lasts until the end."""
        name = f"tk_{self._connection.info.backend_pid}_role_{len(self._roles)}"
        password = sql.Literal(self._url.password)
        self._connection.execute(sql.SQL(f"CREATE ROLE {name} LOGIN {options} PASSWORD {{}}").format(password))
        self._roles.append(name)
        return name

    def let_provision(self, role: str) -> None:
        """Let a role create databases, and end the connections to them."""
        self._connection.execute(f"ALTER ROLE {role} CREATEDB")
        self._connection.execute(f"GRANT pg_signal_backend TO {role}")

    def discard(self, urls: Iterable[URL]) -> None:
        """End the connections to databases, and have them dropped later."""
        discarded = [*urls]
        self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)",
            [[url.database for url in discarded]],
        )
        self._discarded.extend(discarded)
        while len(self._discarded) > KEPT:
            self.drop([self._discarded.popleft()])

    @override
    def drop(self, urls: Iterable[URL]) -> None:
        chosen = [*urls]
        derived = self._derived(chosen)
        self._made += derived
        for url in derived:
            self._connection.execute(
                sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(url.database or ""))
            )
        for url in (*chosen, *derived):
            try:
                super().drop([url])
            except errors.ObjectInUse:
                _forget_prepared(url)
                super().drop([url])

    @override
    def close(self) -> None:
        self.drop(self._made)
        of_tenants = self._connection.execute(_ROLES_OF_TENANTS, [self._roles]).fetchall()
        for name in (*(name for (name,) in of_tenants), *self._roles):
            self._connection.execute(f"DROP ROLE {name}")
        super().close()

    def _derived(self, urls: Iterable[URL]) -> list[URL]:
        """Return the databases that tests have made themselves, and named after one of *urls*."""
        query = "SELECT datname FROM pg_database WHERE datname ~ ANY(%s)"
        found = self._connection.execute(query, [[f"^{url.database}_" for url in urls]]).fetchall()
        return [self._url.set(database=name) for (name,) in found]


def _forget_prepared(url: URL) -> None:
    """Roll back the prepared transactions of a database, which can be done from within it only."""
    with closing(psycopg.connect(plain(url), autocommit=True)) as connection:
        query = "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = current_database()"
        for (statement,) in connection.execute(query).fetchall():
            connection.execute(statement)
