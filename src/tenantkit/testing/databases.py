"""Databases for tests, and the redirection of a tenancy to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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

if TYPE_CHECKING:
    from tenantkit.asyncio import AsyncTenancy

AnyTenancy: TypeAlias = "Tenancy | AsyncTenancy"

_READ_ONLY = "25006"


def sync_tenancy(tenancy: AnyTenancy) -> Tenancy:
    """Return the tenancy without asyncio, which need not be installed."""
    given: Any = tenancy  # callers may do without types
    sync: Tenancy = given if isinstance(given, Tenancy) else getattr(given, "sync", given)
    return sync


class Server:
    """Makes databases on a server and drops them."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._connection = psycopg.connect(plain(url), autocommit=True)
        self._made: list[str] = []
        # Without syncs, copying files takes less than half of the time of writing each page to the log.
        (fsync,) = self._connection.execute("SHOW fsync").fetchone() or ("on",)
        self._strategy = SQL("FILE_COPY" if fsync == "off" else "WAL_LOG")

    def create(self, template: str = "template0") -> URL:
        """Create a copy of *template*, to which nobody may be connected."""
        name = f"tenantkit_test_{token_hex(6)}"
        statement = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}")
        if self._connection.info.server_version < 150000:  # noqa: PLR2004 - PostgreSQL 14 has one strategy
            statement = SQL("CREATE DATABASE {} TEMPLATE {}")
        self._connection.execute(statement.format(Identifier(name), Identifier(template), self._strategy))
        self._made.append(name)
        return self._url.set(database=name)

    def protect(self, url: URL) -> None:
        """Let transactions in a database be read-only unless they say that they write."""
        name = Identifier(str(url.database))
        self._connection.execute(SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))

    def drop(self, *names: str | None) -> None:
        """Drop databases, and end the connections to them."""
        for name in names:
            self._connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(str(name))))
            self._made.remove(str(name))

    def close(self) -> None:
        """Drop all databases that are left: the server may be one that stays."""
        self.drop(*self._made[:])
        self._connection.close()


class Redirection:
    """Makes the engines of a tenancy connect to another database than the application has configured."""

    def __init__(self, tenancy: AnyTenancy) -> None:
        """Redirect nothing yet.

        :raises ConfigurationError: if the tenants are in several databases.
        """
        self._tenancy = tenancy
        self._url: URL | None = None
        sync = sync_tenancy(tenancy)
        if len(sync.databases.keys) > 1:
            raise ConfigurationError("The fixtures of tenantkit.testing serve tenancies with one database only.")
        self._engines = [sync.engine]
        if not isinstance(tenancy, Tenancy):
            self._engines.append(tenancy.engine.sync_engine)
        for engine in self._engines:
            event.listen(engine, "do_connect", self._replace_arguments(engine))
            # First, since tenantkit's own opens the connection.
            engine.dialect.dispatch.do_connect.listeners.rotate()
            event.listen(engine, "connect", self._require_own)
            event.listen(engine, "handle_error", _explain)

    def to(self, url: URL) -> None:
        """Close all connections, and open new ones to *url*."""
        self.disconnect()
        self._url = url
        for engine in self._engines:
            engine.url = url.set(drivername=engine.url.drivername)  # which migrations send to other processes

    def disconnect(self) -> None:
        """Close all connections, and forget the tenants that were looked up."""
        sync = sync_tenancy(self._tenancy)
        if (listener := sync.lookups.listener) is not None:
            listener.stop()  # a connection to a template would keep it from being copied
        if not isinstance(self._tenancy, Tenancy):
            asyncio.run(self._tenancy.engine.dispose())
        sync.databases.dispose()
        sync.cache.clear()

    def close(self) -> None:
        """Close all connections; the tenancy stays redirected."""
        self.disconnect()

    def _replace_arguments(self, engine: Engine) -> Callable[..., None]:
        configured = engine.dialect.create_connect_args(engine.url)[1]

        def replace(dialect: Dialect, _entry: Any, arguments: list[Any], options: dict[str, Any]) -> None:
            if self._url is None:
                return
            arguments.clear()
            for name in [name for name in options if name in configured or name.startswith("ssl")]:
                del options[name]
            options.update(dialect.create_connect_args(self._url.set(drivername=engine.url.drivername))[1])

        return replace

    def _require_own(self, connection: Any, _entry: ConnectionPoolEntry) -> None:
        """Refuse a connection elsewhere: the application's own ``creator=`` may ignore the replaced arguments.

        :raises ConfigurationError: if it is one.
        """
        if self._url is None:
            return
        cursor = connection.cursor()
        cursor.execute("SELECT current_database()")
        (name,) = cursor.fetchone()
        cursor.close()
        connection.rollback()
        if name != self._url.database:
            raise ConfigurationError(
                f"The tenancy's engine connects to {name!r} instead of the tests' database. Leave out creator= and "
                "listeners for do_connect in tests."
            )


def _explain(context: ExceptionContext) -> None:
    if context.sqlalchemy_exception is not None and sqlstate(context.original_exception) == _READ_ONLY:
        context.sqlalchemy_exception.add_note(
            "Tests share this database, so only the session fixtures may write to it, which roll back. "
            "For a database of its own, the test asks for the fixture database_copy."
        )
