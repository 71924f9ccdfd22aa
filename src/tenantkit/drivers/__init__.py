"""Connections of psycopg and asyncpg that send extra commands with BEGIN and COMMIT. They know no tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import Dialect, Engine, event
from sqlalchemy.exc import InvalidatePoolError

from tenantkit.drivers.frame import READ_SETTINGS, Frame, FramedConnection, StatementCache
from tenantkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.pool import ConnectionPoolEntry

_PROBE = "tenantkit_probe"
_MARK = "/* tenantkit */ "

_installed: WeakSet[Dialect] = WeakSet()


def install(engine: Engine) -> None:
    """Make *engine* open connections that can frame transactions, and clean them at the end of each framed one."""
    dialect = engine.dialect
    if dialect in _installed:
        return
    _installed.add(dialect)
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", _Check(dialect))
    event.listen(engine, "checkout", _checkout)


def framed(connection: Connection) -> FramedConnection:
    """Return the driver's connection behind *connection*.

    :raises ConfigurationError: if `install` was not called for its engine.
    """
    pooled = connection._dbapi_connection or connection.connection  # noqa: SLF001 - called for every statement
    driver = pooled.dbapi_connection
    if isinstance(driver, FramedConnection):  # `driver_connection` takes three calls more
        return driver
    driver = pooled.driver_connection
    if not isinstance(driver, FramedConnection):
        raise ConfigurationError("A tenant session works on its tenancy's engine only: leave out bind=.")
    return driver


def _connect(dialect: Dialect, _entry: ConnectionPoolEntry, arguments: Any, options: dict[str, Any]) -> Any:
    """Open a connection of tenantkit's class."""
    if dialect.driver == "asyncpg":
        from tenantkit.drivers import asyncpg  # noqa: PLC0415 - an extra

        options.setdefault("connection_class", asyncpg.Connection)
        return None
    from tenantkit.drivers import psycopg  # noqa: PLC0415 - it needs libpq, which may be missing

    if factory := options.get("cursor_factory"):
        options["cursor_factory"] = psycopg.marked(factory)
    if dialect.is_async:
        options.setdefault("async_creator_fn", psycopg.AsyncConnection.connect)
        return None
    return psycopg.Connection.connect(*arguments, **options)


class _Check:
    """Checks the class of each new connection, and on the first one, that the class works."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._works = False

    def __call__(self, connection: Any, _entry: ConnectionPoolEntry) -> None:
        try:
            self._check(connection)
        except BaseException:
            self._dialect.do_close(connection)  # the pool drops it without closing it
            raise

    def _check(self, connection: Any) -> None:
        driver = self._dialect.get_driver_connection(connection)
        if not isinstance(driver, FramedConnection):
            raise ConfigurationError(
                f"tenantkit needs connections of its own class, but the engine made a {type(driver).__name__}. "
                "Leave out creator= and the like, or let it use connect() of tenantkit.drivers.psycopg.Connection or "
                "AsyncConnection, or connection_class=tenantkit.drivers.asyncpg.Connection."
            )
        # SQLAlchemy's own cache of asyncpg's prepared statements finds them by their text without the mark.
        if (statements := getattr(connection, "_prepared_statement_cache", None)) is not None:
            driver.statements = StatementCache(driver, statements)
            connection._prepared_statement_cache = driver.statements  # noqa: SLF001 - there is no other way
        if self._dialect.driver == "asyncpg":
            driver.begin = connection._start_transaction  # noqa: SLF001 - there is no other way
        # With AUTOCOMMIT there is no BEGIN, and sessions refuse to work.
        if not self._works and not connection.autocommit:
            self._try(connection, driver)
            self._works = True

    def _try(self, connection: Any, driver: FramedConnection) -> None:
        """Check that head and mark are sent, since psycopg's ways to begin and to convert are not public interfaces."""
        transaction: Any = _OpenTransaction()
        driver.frame = Frame(lambda: transaction, (f"SET LOCAL search_path TO {_PROBE}",), _MARK)
        cursor = connection.cursor()
        try:
            cursor.execute("SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_query()")
            path, query = cursor.fetchone()
        finally:
            cursor.close()
            driver.needs_tail, began = False, driver.needs_tail  # a tail would undo what other listeners have set
            connection.rollback()
            driver.frame = None
        if path.strip('"') != _PROBE or not query.startswith(_MARK) or not began:
            raise ConfigurationError(
                f"tenantkit cannot work with this version of {self._dialect.driver}: settings are not sent with BEGIN, "
                "or statements not as tenantkit marks them. Install a version that tenantkit's documentation names."
            )


class _OpenTransaction:
    is_active = True


def _checkout(connection: Any, entry: ConnectionPoolEntry, _fairy: Any) -> None:
    """On the first checkout, read the settings made by the listeners for ``connect``."""
    driver: Any = connection
    if not isinstance(driver, FramedConnection):
        driver = entry.driver_connection
    if not isinstance(driver, FramedConnection):
        raise InvalidatePoolError("This connection is older than the tenancy.")
    driver.frame = None  # it may belong to a transaction that was not ended, as its connection was closed
    if not driver.knows_settings:
        cursor = connection.cursor()
        try:
            cursor.execute(READ_SETTINGS)
            driver.restore(cursor.fetchall())
        finally:
            cursor.close()
            connection.rollback()
