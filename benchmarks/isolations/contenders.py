"""Ways to serve the same request: by tenantkit in each isolation, and by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import ref

from sqlalchemy import URL, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from benchmarks.isolations.application import ROWS, Base, Item, Statements, async_serve, declare, serve, statements_of
from benchmarks.isolations.build import APP, LOGINS, OWNER, World, database_key, row_key, schema_key
from benchmarks.race import Contender, timed
from benchmarks.requests import CACHE_TTL, POOL, async_timed
from tenantkit import Tenancy, drivers
from tenantkit.asyncio import AsyncTenancy
from tenantkit.databases.engines import keep_statements
from tenantkit.drivers.frame import Frame

PLAIN = "plain Session, one schema"
SCHEMA_BY_HAND = "schema, by hand: an engine kept per tenant"
SCHEMA = "schema"
ROLE = "schema, guard role"
ROW_BY_HAND = "filter by hand"
ROW_SETTINGS_BY_HAND = "filter by hand, settings with BEGIN"
ROW_CLEAN_BY_HAND = "filter by hand, settings, clean-up with COMMIT"
ROW_POLICY_BY_HAND = "policies by hand, set_config()"
ROW = "row"
DATABASE = "database"
LOGIN = "schema, guard login"

_SET_TENANT = text("SELECT set_config('tenantkit.tenant', :value, true), set_config('search_path', 'rows', true)")


class _SettingsSession(Session):
    """A plain session that sends settings with BEGIN and, if it *cleans* its connection, the clean-up with COMMIT."""

    def __init__(self, bind: Any = None, *, head: tuple[str, ...], cleans: bool, **options: Any) -> None:
        super().__init__(bind, **options)
        self.head = head
        self.cleans = cleans


@event.listens_for(_SettingsSession, "after_begin")
def _frame(session: _SettingsSession, _transaction: Any, connection: Any) -> None:
    driver = drivers.framed(connection)
    driver.frame = Frame(ref(connection.get_transaction()), session.head, f"/* in {ROWS} */ ")
    if not session.cleans:
        driver.joined_tail = ""


@dataclass(frozen=True)
class Way:
    """One way to serve a request: what opens a session for a tenant, and the statements."""

    name: str
    open: Callable[[str], Any]
    statements: Statements


class Line:
    """A driver, a way to connect, and what is made for it."""

    def __init__(
        self, driver: str, world: World, at: Callable[[URL], URL] = lambda url: url, arguments: Mapping[str, Any] = {}
    ) -> None:
        """Take a *driver* (``sync``, or one for asyncio), and *at*, which leads a URL through a pooler."""
        self.is_async = driver != "sync"
        self.is_direct = not arguments
        self._driver = driver
        self._world = world
        self._at = at
        self._options: dict[str, Any] = {**POOL, "connect_args": dict(arguments)}
        self.runner = asyncio.Runner()
        self._opened = ExitStack()

    def engine(self, login: str | None = None) -> Any:
        """Return an engine for one of the logins, by default the superuser's."""
        url = self._url(login)
        if self.is_async:
            engine = create_async_engine(url, **self._options)
            self._opened.callback(lambda: self.runner.run(engine.dispose()))
            return engine
        plain = create_engine(url, **self._options)
        self._opened.callback(plain.dispose)
        return plain

    def tenancy(self, login: str, database: URL | None = None, **options: Any) -> Any:
        """Return a tenancy with one of the logins, in the world's database or another one."""
        options = {
            "tenant": Base.metadata,
            "listen": False,
            "cache_ttl": CACHE_TTL,
            "cache_size": 3 * len(self._world.tenants) + self._world.databases,
            "engine_options": self._options,
            **options,
        }
        if self.is_async:
            made = AsyncTenancy(self._url(login, database), sync_database=self._world.login(login, database), **options)
            self._opened.callback(lambda: self.runner.run(made.close()))
            return made
        tenancy = Tenancy(self._url(login, database), **options)
        self._opened.callback(tenancy.close)
        return tenancy

    def look_up(self, tenancy: Any, keys: Iterable[str]) -> None:
        """Let *tenancy* look tenants up, which it does once in each `CACHE_TTL`."""

        async def look_up() -> None:
            for key in keys:
                await tenancy.get(key)

        if self.is_async:
            self.runner.run(look_up())
        else:
            for key in keys:
                tenancy.get(key)

    def contender(self, way: Way) -> Contender:
        """Return the contender that serves in this way."""
        numbers = count()

        def request(tenant: str) -> None:
            with way.open(tenant) as session:
                serve(session, way.statements(tenant, next(numbers)))

        async def async_request(tenant: str) -> None:
            async with way.open(tenant) as session:
                await async_serve(session, way.statements(tenant, next(numbers)))

        return Contender(way.name, async_timed(self.runner, async_request) if self.is_async else timed(request))

    def close(self) -> None:
        """Close all connections."""
        self._opened.close()
        self.runner.close()

    def _url(self, login: str | None, database: URL | None = None) -> URL:
        url = self._world.url if login is None else self._world.login(login, database)
        return self._at(url) if not self.is_async else self._at(url).set(drivername=f"postgresql+{self._driver}")


@contextmanager
def contenders(line: Line, world: World, *, lists: bool) -> Generator[list[Contender]]:
    """Yield the contenders for requests of a row and, with *lists*, a list of 100."""
    ways = [*_in_schemas(line, world, lists=lists), *in_rows(line, world, lists=lists)]
    if world.databases:
        ways.append(_in_databases(line, world, lists=lists))
    if world.logins is not None and line.is_direct:  # PgBouncer would have to know the tenants' passwords
        ways.append(_by_logins(line, world, world.logins, lists=lists))
    try:
        yield [line.contender(way) for way in ways]
    finally:
        line.close()


def _in_schemas(line: Line, world: World, *, lists: bool) -> Generator[Way]:
    session: Any = AsyncSession if line.is_async else Session
    one, base = line.engine(OWNER), line.engine(OWNER)
    kept = {
        tenant: _with_map(base, {"tenant": f"t_{schema_key(tenant)}"}, is_async=line.is_async)
        for tenant in world.tenants
    }
    plain = declare(f"t_{schema_key(world.tenants[0])}", has_tenant=False)
    statements = statements_of(Item, None, rows=world.rows, lists=lists)
    unguarded, guarded = line.tenancy(OWNER), line.tenancy(APP, guard="role")
    yield Way(PLAIN, lambda _: session(one), statements_of(plain, None, rows=world.rows, lists=lists))
    yield Way(SCHEMA_BY_HAND, lambda tenant: session(kept[tenant]), statements)
    yield Way(SCHEMA, lambda tenant: unguarded.session(schema_key(tenant)), statements)
    yield Way(ROLE, lambda tenant: guarded.session(schema_key(tenant)), statements)


def in_rows(line: Line, world: World, *, lists: bool) -> Generator[Way]:
    """Yield the ways of common tables. By hand, the login is one for which policies do not hold."""
    session: Any = AsyncSession if line.is_async else Session
    by_hand, with_settings, cleaning, by_policy = line.engine(), line.engine(), line.engine(), line.engine(APP)
    for engine in (with_settings, cleaning):
        drivers.install(keep_statements(engine.sync_engine if line.is_async else engine))
    declared, hidden = declare(ROWS, has_tenant=True), declare(ROWS, has_tenant=False)
    statements = statements_of(declared, world.values, rows=world.rows, lists=lists)
    heads = {
        tenant: (f"SET LOCAL search_path TO {ROWS}, pg_temp", f"SET LOCAL tenantkit.tenant TO '{value}'")
        for tenant, value in world.values.items()
    }
    tenancy = line.tenancy(APP)
    line.look_up(tenancy, map(row_key, world.tenants))

    def open_with_settings(tenant: str, *, cleans: bool = False) -> Any:
        engine = cleaning if cleans else with_settings
        if line.is_async:
            return AsyncSession(engine, sync_session_class=_SettingsSession, head=heads[tenant], cleans=cleans)
        return _SettingsSession(engine, head=heads[tenant], cleans=cleans)

    def with_policy(tenant: str, number: int) -> Any:
        setting = _SET_TENANT.bindparams(value=str(world.values[tenant]))
        return setting, *statements_of(hidden, None, rows=world.rows, lists=lists)(tenant, number)

    yield Way(ROW_BY_HAND, lambda _: session(by_hand), statements)
    yield Way(ROW_SETTINGS_BY_HAND, open_with_settings, statements)
    yield Way(ROW_CLEAN_BY_HAND, lambda tenant: open_with_settings(tenant, cleans=True), statements)
    yield Way(ROW_POLICY_BY_HAND, lambda _: session(by_policy), with_policy)
    yield Way(
        ROW,
        lambda tenant: tenancy.session(row_key(tenant)),
        statements_of(Item, None, rows=world.rows, lists=lists),
    )


def _in_databases(line: Line, world: World, *, lists: bool) -> Way:
    tenancy = line.tenancy(OWNER, engine_budget=world.databases)
    return Way(
        f"{DATABASE}, {world.databases} tenants",
        lambda tenant: tenancy.session(database_key(int(tenant) % world.databases)),
        statements_of(Item, None, rows=world.rows, lists=lists),
    )


def _by_logins(line: Line, world: World, database: URL, *, lists: bool) -> Way:
    tenancy = line.tenancy(APP, database, engine_budget=world.databases, **LOGINS)
    return Way(
        f"{LOGIN}, {world.databases} tenants",
        lambda tenant: tenancy.session(schema_key(world.tenants[int(tenant) % world.databases])),
        statements_of(Item, None, rows=world.rows, lists=lists),
    )


def _with_map(engine: Any, schemas: dict[str, str], *, is_async: bool) -> Any:
    if is_async:
        return AsyncEngine(engine.sync_engine.execution_options(schema_translate_map=schemas))
    return engine.execution_options(schema_translate_map=schemas)
