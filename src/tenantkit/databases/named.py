"""The databases that an application names: ``Tenancy({"main": url, "eu": url})``, or the one database of a URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Engine

from tenantkit.arguments import NAMES, require
from tenantkit.databases.base import Databases
from tenantkit.databases.engines import open_engine, require_once
from tenantkit.exceptions import ConfigurationError
from tenantkit.tenant import MAIN_DATABASE

Given = TypeVar("Given")


class NamedEngines:
    """The engines of an application's databases, by name. ``main`` holds the registry and the shared tables."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        """Take the *engines*, one of which is ``main``.

        :raises ConfigurationError: if two of them are for the same database.
        """
        self._engines = dict(engines)
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
                _check_mark_once(engine, name)

    def engine(self, key: str, /) -> Engine:
        """Return the engine of the database *key*."""
        return self._engines[key]

    def elsewhere(self, key: str, /) -> Engine | None:
        """Return the engine of the database *key* if that is not the main one."""
        return None if key == MAIN_DATABASE else self._engines[key]

    def prepare(self, hook: Callable[[Engine], object]) -> None:
        """Call *hook* with each engine."""
        for engine in self._engines.values():
            hook(engine)

    def dispose(self) -> None:
        """Close the idle connections of all engines."""
        for engine in self._engines.values():
            engine.dispose()


def open_databases(
    database: str | URL | Engine | Databases | Mapping[str, str | URL | Engine], options: dict[str, Any]
) -> Databases:
    """Return the databases of a URL, an engine or a mapping of these, or the ones that are given.

    :raises ConfigurationError: if one cannot be used; see `open_engine` and `open_each`.
    """
    if isinstance(database, Databases):
        return database
    return NamedEngines(open_each(database, lambda each: open_engine(each, options)))


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
        try:
            opened[name] = open_one(each)
        except (ConfigurationError, TypeError) as error:
            raise type(error)(f"The database {name!r}: {error}") from error
    return opened


def mark_of(name: str, registry: str) -> str:
    """Return the comment on the schema ``tenantkit`` in the database *name* of a registry other than ``main``."""
    return f"database {name} of registry {registry}"


READ_MARK = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'tenantkit'"


def _check_mark_once(engine: Engine, name: str) -> None:
    """Make the first connection of *engine* raise `ConfigurationError` in the database of another name."""

    def require_own(row: Any) -> None:
        (mark,) = row or (None,)
        if mark and not mark.startswith(mark_of(name, "")):
            raise ConfigurationError(
                f"The database {name!r} is marked as {mark!r}. Are URLs in Tenancy({{...}}) exchanged?"
            )

    require_once(engine, READ_MARK, require_own)


def _place(url: URL) -> tuple[str, str, str] | None:
    """Return the server and the name of a database; ``None`` if the URL does not name it, as with a ``creator``."""
    if url.database is None:
        return None
    host, port = url.host or url.query.get("host", ""), url.port or url.query.get("port", 5432)
    return str(host).lower(), str(port), url.database
