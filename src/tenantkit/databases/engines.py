"""Engines: made from a URL or taken as given, and checked on their first connection."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.postgres.quoting import quote_literal

OLDEST_SERVER = 14

PREPARED_STATEMENTS = 1_000
"""Number of prepared statements that a connection keeps.

Each tenant has statements of its own. With the 100 that drivers keep by default, a few dozen tenants displace
one another's: psycopg then prepares none, asyncpg each of them every time. One takes the server about 18 kB.
"""


_MISSING = {
    "asyncpg": "pip install 'tenantkit[asyncpg]'.",
    "greenlet": "pip install 'tenantkit[asyncio]'.",
    "psycopg": "psycopg needs libpq: pip install 'tenantkit[binary]', or install libpq (Debian's package libpq5).",
}
"""The remedy for a failed import, by a word of its error."""


@contextmanager
def explaining_imports() -> Generator[None]:
    """Turn a failed import of a database driver, during a block, into a `ConfigurationError` with a remedy."""
    try:
        yield
    except ImportError as error:
        hint = next((hint for word, hint in _MISSING.items() if word in str(error)), _MISSING["psycopg"])
        raise ConfigurationError(f"The database driver cannot be imported: {as_clause(error)}. {hint}") from error


def parse_url(url: str | URL, name: str = "database") -> URL:
    """Return *url*, the argument *name*, parsed, and checked to name PostgreSQL.

    ``postgres://``, which libpq and hosting services write, means ``postgresql://``.

    :raises ConfigurationError: without repeating the URL, which may hold a password.
    """
    if not isinstance(url, str | URL):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may do without types
        hint = (
            "Is the environment variable set that holds it?"
            if url is None
            else "For an AsyncEngine there is tenantkit.asyncio.AsyncTenancy, for an Engine tenantkit.Tenancy."
        )
        raise TypeError(f"{name} is of the type {type(url).__qualname__}: it takes a URL or an engine. {hint}")
    what = "database URL" if name == "database" else name
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            f"The {what} cannot be parsed. It should look like postgresql+psycopg://user:password@host/database."
        ) from None
    if "@" in (parsed.host or ""):  # errors would show the host, and with it the end of the password
        raise ConfigurationError(
            f"The {what} holds more than one '@'. Write those of the password as %40, or make the URL with "
            "sqlalchemy.URL.create()."
        )
    if parsed.get_backend_name() == "postgres":
        parsed = parsed.set(drivername=parsed.drivername.replace("postgres", "postgresql", 1))
    if parsed.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"tenantkit needs PostgreSQL, but the {what} names {parsed.get_backend_name()!r}. "
            "Use postgresql+psycopg:// (or postgresql+asyncpg:// for AsyncTenancy)."
        )
    # To SQLAlchemy 2.0, a URL without a driver means psycopg2.
    return parsed if "+" in parsed.drivername else parsed.set(drivername="postgresql+psycopg")


def psycopg_url(url: URL) -> URL:
    """Return the URL of the same database for psycopg, which tenantkit uses outside of event loops.

    asyncpg's ``ssl`` is psycopg's ``sslmode``; its other options are settings of the driver and left out.
    """
    if url.get_driver_name() == "psycopg":
        return url
    names = {"ssl": "sslmode", "host": "host", "port": "port"}
    query = {names[name]: value for name, value in url.query.items() if name in names}
    return url.set(drivername="postgresql+psycopg", query=query)


def open_engine(database: str | URL | Engine, options: dict[str, Any]) -> Engine:
    """Return *database* if it is an engine, otherwise an engine for its URL with *options*."""
    if not isinstance(database, Engine):
        url = parse_url(database)
        if url.get_driver_name() != "psycopg":
            raise ConfigurationError(
                f"tenantkit needs psycopg here, but the database URL names {url.get_driver_name()!r}. "
                "Use postgresql+psycopg://, or AsyncTenancy with an asynchronous driver."
            )
        with explaining_imports():
            return keep_statements(create_engine(url, **options))
    if database.dialect.name != "postgresql" or database.dialect.driver != "psycopg":
        raise ConfigurationError(
            f"tenantkit needs PostgreSQL and psycopg, but the engine is for {database.dialect.name} and "
            f"{database.dialect.driver}. Make it with create_engine('postgresql+psycopg://...')."
        )
    if options:
        raise ConfigurationError(
            "engine_options= go with a URL: this tenancy was given an Engine that is made already."
        )
    return database


def keep_statements(engine: Engine) -> Engine:
    """Have connections of *engine* keep `PREPARED_STATEMENTS`; returns *engine*.

    Options of asyncpg's cache in the URL take precedence, and with ``prepare_threshold=None`` psycopg prepares nothing.
    """

    def connecting(_dialect: Dialect, _entry: ConnectionPoolEntry, _args: Any, options: dict[str, Any]) -> None:
        options.setdefault("prepared_statement_cache_size", PREPARED_STATEMENTS)

    def connected(connection: Any, _entry: ConnectionPoolEntry) -> None:
        engine.dialect.get_driver_connection(connection).prepared_max = PREPARED_STATEMENTS

    if engine.driver == "asyncpg":
        event.listen(engine, "do_connect", connecting)
    else:
        event.listen(engine, "connect", connected)
    return engine


def check_server_once(engine: Engine, placeholder: str | None) -> None:
    """Check the server on the first connection of *engine*.

    The connection raises `ConfigurationError` if the server is older than
    PostgreSQL 14, or if a real schema has the placeholder's name: a statement
    that lost its tenant would read that schema instead of failing.
    """
    query = (
        "SELECT current_setting('server_version_num')::int / 10000, count(*) FROM pg_namespace "  # noqa: S608 - quoted
        f"WHERE nspname = {quote_literal(placeholder or '')}"
    )

    def require_usable(row: Any) -> None:
        version, placeholders = row
        require_usable_server(version, placeholder if placeholders else None)

    require_once(engine, query, require_usable)


def read_row(connection: Any, query: str) -> Any:
    """Return the first row of *query*, sent on a new connection of a driver; no transaction is left open."""
    cursor = connection.cursor()
    try:
        cursor.execute(query)
        return cursor.fetchone()
    finally:
        cursor.close()
        connection.rollback()


def require_once(engine: Engine, query: str, require: Callable[[Any], bool | None]) -> None:
    """Have each new connection of *engine* pass the first row of *query* to *require*, until one check has passed.

    A connection whose check raises `ConfigurationError` is closed, and raises it. If a check returns False, the next
    connection is checked, too.
    """
    passed = False

    def check(connection: Any, _entry: ConnectionPoolEntry) -> None:
        nonlocal passed
        if passed:
            return
        row = read_row(connection, query)
        try:
            passed = require(row) is not False
        except ConfigurationError:
            engine.dialect.do_close(connection)  # the pool forgets it open
            raise

    event.listen(engine, "connect", check)


def require_usable_server(version: int, real_placeholder: str | None) -> None:
    """Raise unless a server of major *version* serves, and no real schema is called like the placeholder.

    :raises ConfigurationError: if either is wrong.
    """
    if version < OLDEST_SERVER:
        raise ConfigurationError(
            f"The server is PostgreSQL {version}; tenantkit needs {OLDEST_SERVER} or newer. Upgrade the server."
        )
    if real_placeholder is not None:
        raise ConfigurationError(
            f"A real schema is called {real_placeholder!r}, which is the placeholder of tenant tables: a statement "
            "that lost its tenant would use it. Rename that schema, or choose another placeholder="
        )
