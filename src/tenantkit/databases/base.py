"""The databases of a deployment: one holds the registry and the shared tables, any of them the tables of tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from sqlalchemy import Connection, Engine

from tenantkit.databases.logins import Login
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.tenant import Placement


@runtime_checkable
class Databases(Protocol):
    """Gives the engine of each database, by the name that placements have for it."""

    @property
    def main(self) -> Engine:
        """The engine of the database with the registry and the shared tables."""
        ...

    @property
    def keys(self) -> Collection[str]:
        """The names of all databases."""
        ...

    def engine(self, key: str, /, login: Login | None = None) -> Engine:
        """Return the engine of the database *key*; without I/O, as it is called for every session.

        It is one of `keys`, or the database of one tenant on the server of one of them: see `own_key`.

        :param login: the tenant's login, if the connections are to have it in place of the application's.
        """
        ...

    def expect(self, registry: str, /) -> None:
        """Refuse databases that are marked as those of another registry, when they are connected to."""

    def elsewhere(self, key: str, /) -> Engine | None:
        """Return the engine of the database *key* if that is not the main one."""
        ...

    def prepare(self, hook: Callable[[Engine], object], *, main: bool = True) -> None:
        """Have *hook* called once with each engine, before it connects for the first time.

        Databases and logins of single tenants have one dialect and one set of listeners for each server, so *hook* is
        called with one engine for all of them.

        :param main: whether it is called with the engine of the main database, too.
        """

    def dispose(self) -> None:
        """Close the idle connections of all engines."""


def shares_transaction(databases: Databases, key: str) -> bool:
    """Return whether the tables of the database *key* and the registry can change in one transaction."""
    name, database = split_key(key)
    return database is None and databases.elsewhere(name) is None


def separate(databases: Databases) -> list[str]:
    """Return those of the named databases whose tables and the registry cannot change in one transaction."""
    return [key for key in databases.keys if not shares_transaction(databases, key)]


def joint(databases: Databases) -> list[str]:
    """Return those of the named databases whose tables and the registry can change in one transaction."""
    return [key for key in databases.keys if shares_transaction(databases, key)]


_OF_TENANT = "/"
"""The character between a named database and one on its server that has a single tenant."""


def own_key(name: str, database: str) -> str:
    """Return the key of *database*, which has a single tenant, on the server of the named database *name*."""
    return f"{name}{_OF_TENANT}{database}"


def split_key(key: str) -> tuple[str, str | None]:
    """Return the named database of *key*, and the database of a single tenant on its server; ``None`` without one."""
    name, separator, database = key.partition(_OF_TENANT)
    return name, database if separator else None


def group_key(key: str) -> str:
    """Return what databases have in common that are migrated together: those of single tenants, one server's key."""
    name, database = split_key(key)
    return key if database is None else own_key(name, "")


def can_name(name: str) -> bool:
    """Return whether a database can have this name in ``Tenancy({...})``."""
    return _OF_TENANT not in name


def problem_to_reach(databases: Databases, key: str) -> str | None:
    """Return why *databases* have no engine for the database *key* of a tenant; ``None`` if they have one."""
    name, database = split_key(key)
    if name not in databases.keys:
        return f"its database {name!r} is not one of this tenancy's: name it in Tenancy({{{name!r}: ...}})"
    try:
        if database is not None:
            databases.engine(key)
    except ConfigurationError as error:
        return as_clause(error)
    return None


def reaches(databases: Databases, key: str) -> bool:
    """Return whether *databases* have an engine for the database *key*."""
    return problem_to_reach(databases, key) is None


def choose_bind(
    databases: Databases, key: str, bind: Engine | Connection | None, login: Login | None = None
) -> Engine | Connection:
    """Return what a session for a tenant in the database *key* connects by.

    :param bind: a connection of the caller's, which may have the login of the application, or the engine of the main
        database.
    :param login: the tenant's, if it has one.
    :raises ConfigurationError: if it is another engine, or a connection of another one than the tenant's database has.
    """
    own = databases.engine(key) if login is None else databases.engine(key, login)
    # Of pools, as engine.execution_options() returns another engine with the same pool.
    if isinstance(bind, Connection):
        if bind.engine.pool not in (own.pool, databases.engine(key).pool):
            raise ConfigurationError(
                "bind= is a connection of another engine, or to another database than the tenant's: leave it out."
            )
        return bind
    if bind is not None and bind.pool not in (own.pool, databases.main.pool):
        raise ConfigurationError("bind= is another engine than the tenancy's: leave it out.")
    return bind if bind is not None and bind.pool is own.pool else own


@contextmanager
def connected(
    databases: Databases, key: str, main: Connection, *, isolation_level: str = "READ COMMITTED"
) -> Generator[Connection]:
    """Yield a connection to the database *key*: *main* itself where that is its database.

    :param main: a connection to the main database.
    :param isolation_level: of a connection to another database.
    """
    if shares_transaction(databases, key):
        yield main
        return
    with databases.engine(key).connect() as connection:
        yield connection.execution_options(isolation_level=isolation_level)


@contextmanager
def outside_transactions(databases: Databases, name: str, main: Connection) -> Generator[Connection]:
    """Yield a connection to the named database *name* that commits each statement by itself.

    :param main: a connection to the main database, without a transaction.
    """
    if not shares_transaction(databases, name):
        with connected(databases, name, main, isolation_level="AUTOCOMMIT") as connection:
            yield connection
        return
    before = main.get_isolation_level()
    main.execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield main
    finally:
        main.rollback()
        main.execution_options(isolation_level=before)


@contextmanager
def joined(databases: Databases, key: str, main: Connection) -> Generator[Connection]:
    """Yield a connection in a transaction of the database *key*, which ends before that of *main*, or is the same.

    So the registry, which *main* writes to, does not say that something is there before it is. Statements in another
    database give up waiting for a lock as those of `limit_lock_waits` do.
    """
    with connected(databases, key, main) as connection:
        if connection is main:
            yield main
            return
        with connection.begin():
            limit_lock_waits(connection)
            yield connection


def each_database(databases: Databases, placements: Iterable[Placement]) -> list[str]:
    """Return the keys of all named databases, and of the others that *placements* are in."""
    return list(dict.fromkeys([*databases.keys, *by_database(databases, placements)]))


def by_database(databases: Databases, placements: Iterable[Placement]) -> dict[str, list[Placement]]:
    """Return those of *placements* that are in a database with an engine, by the key of their database."""
    found: dict[str, list[Placement]] = {}
    for placement in placements:
        if reaches(databases, placement.database):
            found.setdefault(placement.database, []).append(placement)
    return found
