"""Databases for tests, and the redirection of a tenancy to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, Dialect, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.errors import sqlstate
from tenantkit.tenancy import Tenancy
from tenantkit.testing.servers import plain
from tenantkit.testing.sessions import close_idle_connections

if TYPE_CHECKING:
    from tenantkit.asyncio import AsyncTenancy

AnyTenancy: TypeAlias = "Tenancy | AsyncTenancy"

_READ_ONLY = "25006"


_ROLES = """
SELECT rolname FROM pg_roles
WHERE substring(shobj_description(oid, 'pg_authid') FROM '^tenantkit tenant (.*)/[0-9]+$') = ANY(%s)
"""


def sync_tenancy(tenancy: Any) -> Tenancy:
    """Return the tenancy without asyncio, which need not be installed."""
    sync: Tenancy = getattr(tenancy, "sync", tenancy)
    return sync


class Server:
    """Makes databases on a server and drops them."""

    prefix = "tenantkit_test"
    """The beginning of the names of the databases."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._connection = psycopg.connect(plain(url), autocommit=True)
        self._made: list[URL] = []
        self.registries: list[str] = []
        """The identities of registries in the databases whose tenants have roles."""
        # Without syncs, copying files takes less than half of the time of writing each page to the log.
        (fsync,) = self._connection.execute("SHOW fsync").fetchone() or ("on",)
        self._strategy = SQL("FILE_COPY" if fsync == "off" else "WAL_LOG")

    def create(self, template: str = "template0") -> URL:
        """Create a copy of *template*, to which no connection may be open."""
        name = f"{self.prefix}_{token_hex(6)}"
        statement = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
        if self._connection.info.server_version < 150000:  # noqa: PLR2004 - PostgreSQL 14 has one strategy
            statement = SQL("CREATE DATABASE {} TEMPLATE {}")
        self._connection.execute(statement.format(Identifier(name), Identifier(template), self._strategy))
        self._made.append(made := self._url.set(database=name))
        return made

    def protect(self, urls: Iterable[URL]) -> None:
        """Let transactions in databases be read-only unless they say that they write."""
        for name in map(_identifier, urls):
            self._connection.execute(SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))

    def drop(self, urls: Iterable[URL]) -> None:
        """Drop databases, and end the connections to them."""
        for url in [*urls]:
            self._connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_identifier(url)))
            self._made.remove(url)

    def close(self) -> None:
        """Drop all databases that are left, and roles of tenants: the server may be one that stays."""
        self.drop(self._made)
        for (name,) in self._connection.execute(_ROLES, [self.registries]).fetchall():
            self._connection.execute(SQL("DROP ROLE {}").format(Identifier(name)))
        self._connection.close()


def _identifier(url: URL) -> Identifier:
    return Identifier(str(url.database))


class Redirection:
    """Makes the engines of a tenancy connect to other databases than the application has configured."""

    def __init__(self, tenancy: AnyTenancy) -> None:
        """Redirect nothing yet."""
        self._tenancy = tenancy
        self._sync = sync_tenancy(tenancy)
        self._urls: Mapping[str, URL] = {}
        self._engines = [(name, self._sync.databases.engine(name)) for name in self._sync.databases.keys]
        if not isinstance(tenancy, Tenancy):
            self._engines += [(name, tenancy.databases.engine(name)) for name in tenancy.databases.keys]
        for name, engine in self._engines:
            event.listen(engine, "do_connect", self._replace_arguments(name, engine))
            # First, since tenantkit's own opens the connection.
            engine.dialect.dispatch.do_connect.listeners.rotate()
            event.listen(engine, "connect", partial(self._require_own, name, engine.dialect))
            event.listen(engine, "handle_error", _explain)

    def to(self, urls: Mapping[str, URL]) -> None:
        """Close all connections, and open new ones to *urls*, by the names of the tenancy's databases."""
        self.disconnect()
        self._urls = urls
        for name, engine in self._engines:
            engine.url = urls[name].set(drivername=engine.url.drivername)  # which migrations send to other processes

    def disconnect(self) -> None:
        """Close all connections, and forget the tenants that were looked up."""
        if (listener := self._sync.lookups.listener) is not None:
            listener.stop()  # a connection to a template would keep it from being copied
        if not isinstance(self._tenancy, Tenancy):
            asyncio.run(close_idle_connections(self._tenancy))
        self._sync.databases.dispose()
        self._sync.cache.clear()

    def _replace_arguments(self, name: str, engine: Engine) -> Callable[..., None]:
        configured = engine.dialect.create_connect_args(engine.url)[1]

        def replace(dialect: Dialect, _entry: Any, arguments: list[Any], options: dict[str, Any]) -> None:
            if name not in self._urls:
                return
            arguments.clear()
            for option in [each for each in options if each in configured or each.startswith("ssl")]:
                del options[option]
            options.update(dialect.create_connect_args(engine.url)[1])

        return replace

    def _require_own(self, name: str, dialect: Dialect, connection: Any, _entry: ConnectionPoolEntry) -> None:
        """Refuse a connection elsewhere: the application's own ``creator=`` may ignore the replaced arguments.

        :raises ConfigurationError: if it is one.
        """
        if name not in self._urls:
            return
        expected = self._urls[name].database
        cursor = connection.cursor()
        cursor.execute("SELECT current_database()")
        (found,) = cursor.fetchone()
        cursor.close()
        connection.rollback()
        if found != expected:
            dialect.do_close(connection)  # the pool forgets it open
            raise ConfigurationError(
                f"The tenancy's engine connects to {found!r} instead of the tests' database. Leave out creator= and "
                "listeners for do_connect in tests."
            )


def _explain(context: ExceptionContext) -> None:
    if context.sqlalchemy_exception is not None and sqlstate(context.original_exception) == _READ_ONLY:
        context.sqlalchemy_exception.add_note(
            "Tests share this database, so only the session fixtures may write to it, which roll back. "
            "For a database of its own, the test asks for the fixture database_copy."
        )
