"""Engines for databases and logins of single tenants, which are alike but for these.

They share one dialect, one cache of compiled statements and one set of listeners with the *original*, an engine that is
made for their server and connects only once, to learn about the server. An engine takes 5 kB then, so none is given up;
connections are, by the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import URL, Engine, NullPool
from sqlalchemy.pool import ConnectionPoolEntry

from tenantkit.databases.budget import BudgetPool, ConnectionBudget
from tenantkit.databases.forks import PerProcess
from tenantkit.databases.hstore import leave_out_hstore, register_hstore
from tenantkit.databases.logins import Login
from tenantkit.exceptions import ConfigurationError

_OF_OTHER_POOLS = frozenset({"max_overflow", "pool", "pool_size", "pool_timeout", "pool_use_lifo", "poolclass"})
ONE_CONNECTION = ("async_creator", "creator", "pool")
"""Options that decide to which server, and with which login, an engine connects, whatever its URL says."""
_TIMEOUT = 30.0
"""Seconds for which SQLAlchemy's pools wait by default."""


class TenantEngines:
    """The engines for the databases of single tenants on one server, and for logins of tenants there."""

    def __init__(
        self,
        make: Callable[..., Engine],
        url: Callable[[], URL],
        options: Mapping[str, Any],
        budget: PerProcess[ConnectionBudget],
    ) -> None:
        """Make the original by *make*, with a URL and options as `create_engine` takes them.

        :param url: returns the URL of a database on the server.
        :param options: those of the application's engines.
        """
        self._make = make
        self._url = url
        self._options = options
        self._budget = budget
        self._hooks: list[Callable[[Engine], object]] = []
        self._originals: dict[None, Engine] = {}
        """The original, once it is made. Without a lock, which could be held when the process forks."""
        self._knows_server = False
        self._engines: dict[tuple[str | None, Login | None], Engine] = {}

    def prepare(self, hook: Callable[[Engine], object]) -> None:
        """Have *hook* called with the original, before any engine is made."""
        self._hooks.append(hook)

    def get(self, database: str | None, prepare: Callable[[Engine], object], login: Login | None = None) -> Engine:
        """Return the engine for a database and a login; without one, for those of the server's URL.

        :param prepare: receives a new engine, and may add listeners for its pool.
        """
        if (found := self._engines.get((database, login))) is None:
            made = self._make_engine(database, login)
            register_hstore(made)
            prepare(made)
            found = self._engines.setdefault((database, login), made)
        return found

    def dispose(self) -> None:
        """Close the idle connections of all engines."""
        for engine in [*self._engines.values()]:
            engine.dispose()

    def _make_engine(self, database: str | None, login: Login | None) -> Engine:
        original = self._originals.get(None) or self._originals.setdefault(None, self._make_original())
        url = self._url()
        if database is not None:
            url = url.set(database=database)
        if login is not None:
            url = url.set(username=login.name, password="")
        options = {"connect_args": self._options.get("connect_args", {})}
        return copy_engine(original, url, self._budget, login=login, before=self._learn, **options)

    def _make_original(self) -> Engine:
        if conflict := next((name for name in ONE_CONNECTION if name in self._options), None):
            raise ConfigurationError(
                f"engine_options has {conflict!r}, which connects to one database only, by one login. Leave it out for "
                "tenants with databases or logins of their own."
            )
        options = {name: value for name, value in self._options.items() if name not in _OF_OTHER_POOLS}
        original = self._make(self._url(), poolclass=NullPool, **options)
        leave_out_hstore(original)
        for hook in self._hooks:
            hook(original)
        return original

    def _learn(self) -> None:
        """Let the dialect learn about the server, on a connection of its own."""
        if not self._knows_server:
            self._originals[None].connect().close()
            self._knows_server = True


def make_budget(limit: int, options: Mapping[str, Any], *turn: Any) -> PerProcess[ConnectionBudget]:
    """Return a budget in each process, whose engines wait as long as those with *options* do."""
    timeout = float(options.get("pool_timeout", _TIMEOUT))
    made: list[ConnectionBudget] = []
    """Those of parent processes too, whose connections must not be collected as garbage."""

    def make() -> ConnectionBudget:
        made.append(ConnectionBudget(limit, timeout, *turn))
        return made[-1]

    return PerProcess(make)


def copy_engine(
    original: Engine,
    url: URL,
    budget: PerProcess[ConnectionBudget],
    *,
    login: Login | None,
    before: Callable[[], object],
    connect_args: Mapping[str, Any],
) -> Engine:
    """Return an engine like *original* for another *url* and with connections of a *budget*.

    :param login: of the connections, if it is not that of the URL.
    :param before: called before a connection is opened.
    :param connect_args: as `create_engine` takes them.
    """
    dialect, pool = original.dialect, original.pool
    arguments, parameters = dialect.create_connect_args(url)
    parameters = {**parameters, **connect_args}

    def connect(entry: ConnectionPoolEntry) -> Any:
        before()
        return open_one(entry, {}) if login is None else login.connect(lambda user: open_one(entry, user))

    def open_one(entry: ConnectionPoolEntry, user: Mapping[str, Any]) -> Any:
        own_arguments, own_parameters = list(arguments), {**parameters, **user}
        for listener in dialect.dispatch.do_connect:
            if (made := listener(dialect, entry, own_arguments, own_parameters)) is not None:
                return made
        return dialect.connect(*own_arguments, **own_parameters)

    like: Any = original
    engine = Engine(
        BudgetPool(
            connect,
            budget,
            recycle=pool._recycle,  # noqa: SLF001 - as Pool.recreate() of each class does
            echo=pool.echo,
            logging_name=pool._orig_logging_name,  # noqa: SLF001
            reset_on_return=pool._reset_on_return,  # noqa: SLF001
            pre_ping=pool._pre_ping,  # noqa: SLF001
            dialect=dialect,
            _dispatch=pool.dispatch,
        ),
        dialect,
        url,
        echo=like.echo,
        hide_parameters=original.hide_parameters,
        query_cache_size=0,
    )
    made: Any = engine
    # As Engine.execution_options() does for its copies.
    made._compiled_cache = like._compiled_cache  # noqa: SLF001
    made._execution_options = like._execution_options  # noqa: SLF001
    made.dispatch = made.dispatch._join(like.dispatch)  # noqa: SLF001
    made._has_events = like._has_events  # noqa: SLF001
    return engine
