"""The databases that an application names: ``Tenancy({"main": url, "eu": url})``, or the one database of a URL.

Those of single tenants are on the servers of these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Engine, create_engine

from tenantkit.arguments import NAMES, require
from tenantkit.databases.base import Databases, can_name, split_key
from tenantkit.databases.budget import ConnectionBudget
from tenantkit.databases.engines import keep_statements, open_engine, require_once
from tenantkit.databases.forks import PerProcess
from tenantkit.databases.logins import Login
from tenantkit.databases.of_tenants import ONE_CONNECTION, TenantEngines, make_budget
from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_literal
from tenantkit.tenant import MAIN_DATABASE

Given = TypeVar("Given")


class NamedEngines:
    """The engines of an application's databases, by name. ``main`` holds the registry and the shared tables."""

    def __init__(self, engines: Mapping[str, Engine], of_tenants: Mapping[str, TenantEngines] | None = None) -> None:
        """Take the *engines*, one of which is ``main``.

        :param of_tenants: the engines for databases of single tenants, by the names of those databases on whose servers
            these can be.
        :raises ConfigurationError: if two of *engines* are for the same database.
        """
        self._engines = dict(engines)
        self._of_tenants = dict(of_tenants or {})
        self._registry = ""
        self.keys: Collection[str] = self._engines.keys()
        """The names of all databases, in the order in which they were given."""
        self.main = self._engines[MAIN_DATABASE]
        found: dict[object, str] = {}
        for name, engine in self._engines.items():
            place = _place(engine.url) or engine.pool
            if (other := found.setdefault(place, name)) != name:
                raise ConfigurationError(
                    f"The databases {other!r} and {name!r} are the same one, {engine.url.database!r} on the same "
                    "server. Give each name a database of its own."
                )
            if name != MAIN_DATABASE:
                self._check_once(engine, name)

    def engine(self, key: str, /, login: Login | None = None) -> Engine:
        """Return the engine of the database *key*, whose connections have the *login* of a tenant if one is given.

        :raises ConfigurationError: if the database or the login is a tenant's own, and its server is not given by a
            URL.
        """
        found = self._engines.get(key) if login is None else None
        return self._engine_of_tenant(key, login) if found is None else found

    def expect(self, registry: str, /) -> None:
        """Refuse databases of another registry than this one, as soon as they are connected to."""
        self._registry = registry

    def elsewhere(self, key: str, /) -> Engine | None:
        """Return the engine of the database *key* if that is not the main one; raises as `engine` does."""
        return None if key == MAIN_DATABASE else self.engine(key)

    def prepare(self, hook: Callable[[Engine], object], *, main: bool = True) -> None:
        """Call *hook* with each engine, and with one for the databases of single tenants on each server."""
        for name, engine in self._engines.items():
            if main or name != MAIN_DATABASE:
                hook(engine)
        for engines in self._of_tenants.values():
            engines.prepare(hook)

    def dispose(self) -> None:
        """Close the idle connections of all engines."""
        for engine in self._engines.values():
            engine.dispose()
        for engines in self._of_tenants.values():
            engines.dispose()

    def _check_once(self, engine: Engine, name: str) -> None:
        """Make the first connections of *engine* raise `ConfigurationError` in another database than *name*."""

        def require(row: Any) -> bool:
            mark, has_registry = row or (None, False)
            require_own(name, mark, self._registry, has_registry=has_registry)
            return bool(self._registry)

        require_once(engine, _READ_FACTS, require)

    def _engine_of_tenant(self, key: str, login: Login | None) -> Engine:
        name, database = split_key(key)
        if (database is None and login is None) or name not in self._engines:
            raise KeyError(key)
        if (engines := self._of_tenants.get(name)) is None:
            raise ConfigurationError(
                f"The database {name!r} is given as an engine, so other databases and logins of its server cannot be "
                "used in the same way. Give its URL, with engine_options=, for tenants with databases or logins of "
                "their own."
            )

        def check(engine: Engine) -> None:
            if key != MAIN_DATABASE:
                self._check_once(engine, key)

        return engines.get(database, check, login)


def engines_of_tenants(
    given: Any,
    engines: Mapping[str, Engine],
    make: Callable[..., Engine],
    options: Mapping[str, Any],
    budget: PerProcess[ConnectionBudget],
) -> dict[str, TenantEngines]:
    """Return the engines for databases of single tenants on the server of each database that is given by a URL.

    :param given: the database, or the mapping of databases, as `open_each` takes it.
    :param engines: what was made of each.
    """
    named = cast("Mapping[str, Any]", given if isinstance(given, Mapping) else {MAIN_DATABASE: given})
    return {
        name: TenantEngines(make, lambda engine=engines[name]: engine.url, options, budget)  # type: ignore[misc]
        for name, each in named.items()
        if isinstance(each, str | URL)
    }


def require_urls(given: Any, options: Mapping[str, Any]) -> None:
    """Raise unless connections of a database, or of each of a mapping of databases, can have logins of tenants.

    :raises ConfigurationError: if one is not given by a URL, or *options* of engines decide how to connect.
    """
    named = cast("Mapping[str, Any]", given if isinstance(given, Mapping) else {MAIN_DATABASE: given})
    for name, each in named.items():
        if not isinstance(each, str | URL):
            raise ConfigurationError(
                f"guard='login' needs the URL of each database, as it connects by logins of tenants, but the database "
                f"{name!r} is given as an engine. Give its URL, with engine_options=."
            )
    if conflict := next((name for name in ONE_CONNECTION if name in options), None):
        raise ConfigurationError(
            f"guard='login' connects by logins of tenants, but engine_options has {conflict!r}, which connects by one. "
            "Leave it out."
        )


def open_databases(
    database: str | URL | Engine | Databases | Mapping[str, str | URL | Engine],
    options: dict[str, Any],
    engine_budget: int,
) -> Databases:
    """Return the databases of a URL, an engine or a mapping of these, or the ones that are given.

    :param engine_budget: the maximum number of connections to databases of single tenants.
    :raises ConfigurationError: if one cannot be used; see `open_engine` and `open_each`.
    """
    if isinstance(database, Databases):
        return database
    engines = open_each(database, lambda each: open_engine(each, options))

    def make(url: URL, **own: Any) -> Engine:
        return keep_statements(create_engine(url, **own))

    budget = make_budget(engine_budget, options)
    return NamedEngines(engines, engines_of_tenants(database, engines, make, options, budget))


def open_each(given: Any, open_one: Callable[[Any], Given]) -> dict[str, Given]:
    """Return what *open_one* makes of each database of a mapping, or of the one that is given, which is ``main``.

    :raises ConfigurationError: if the mapping has no ``main`` or a name that is none, or a database cannot be used.
    """
    if not isinstance(given, Mapping):
        return {MAIN_DATABASE: open_one(given)}
    named = cast("Mapping[str, Any]", given)
    require(database=(list(named), NAMES))
    if MAIN_DATABASE not in named:
        raise ConfigurationError(
            f"database={{...}} has no {MAIN_DATABASE!r}, the database of the registry and the shared tables. "
            f"Name it: {{{MAIN_DATABASE!r}: url{''.join(f', {name!r}: ...' for name in named)}}}."
        )
    opened: dict[str, Given] = {}
    for name, each in named.items():
        if not can_name(name):
            raise ConfigurationError(
                f"database={{...}} has {name!r}, but a name cannot have a '/'. Give it another name."
            )
        try:
            opened[name] = open_one(each)
        except (ConfigurationError, TypeError) as error:
            raise type(error)(f"The database {name!r}: {error}") from error
    return opened


def mark_of(name: str, registry: str) -> str:
    """Return the comment on the schema ``tenantkit`` in the database *name* of a registry other than ``main``."""
    return f"database {name} of registry {registry}"


_READ_FACTS = """
SELECT obj_description(oid, 'pg_namespace'),
    EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relname = 'registry')
FROM pg_namespace WHERE nspname = 'tenantkit'
"""


def require_own(name: str, mark: str | None, registry: str, *, has_registry: bool) -> None:
    """Raise if a database is not the one that is called *name* here.

    :param mark: its mark, if it has one.
    :param registry: the identity of the registry; empty if it is not known yet.
    :param has_registry: whether the database has a registry.
    :raises ConfigurationError: if so.
    """
    if has_registry:
        raise ConfigurationError(
            f"The database {name!r} has a registry of its own: it is the main database of this application or of "
            "another one. Correct its URL in Tenancy({...})."
        )
    wanted = mark_of(name, registry)
    if mark and not mark.startswith(wanted):
        moved = f" If it was moved or renamed on purpose, run in it: {comment_of(wanted)}" if registry else ""
        raise ConfigurationError(
            f"The database {name!r} is marked as {mark!r}, and should be {wanted!r}. Are URLs in Tenancy({{...}}) "
            f"exchanged, or those of another deployment?{moved}"
        )


def comment_of(mark: str) -> str:
    """Return the statement that marks a database."""
    return f"COMMENT ON SCHEMA tenantkit IS {quote_literal(mark)}"


def _place(url: URL) -> tuple[str, str, str] | None:
    """Return the server and the name of a database; ``None`` if the URL does not name it, as with a ``creator``."""
    if url.database is None:
        return None
    host, port = url.host or url.query.get("host", ""), url.port or url.query.get("port", 5432)
    return str(host).lower(), str(port), url.database
