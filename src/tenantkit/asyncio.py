"""The same tenancy for asyncio: `AsyncTenancy` has the methods of `tenantkit.Tenancy`, to be awaited.

Sessions and lookups run on the application's async engine, on psycopg or
asyncpg. Provisioning runs in a thread, on psycopg: migration scripts may hold
several statements in one string, which asyncpg refuses, and Alembic keeps its
current operation in module globals, which tasks would take from one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.util.concurrency import greenlet_spawn

from tenantkit import drivers
from tenantkit.arguments import FLAG, FUNCTION, MAPPING, optional, require, whole
from tenantkit.context import current_tenant
from tenantkit.databases.base import Databases
from tenantkit.databases.engines import check_server_once, explaining_imports, keep_statements, parse_url, psycopg_url
from tenantkit.databases.forks import connect_in_each_process
from tenantkit.databases.named import NamedEngines, engines_of_tenants, open_each, require_urls
from tenantkit.databases.of_tenants import make_budget
from tenantkit.databases.tasks import TaskTurn
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.binding import Binding
from tenantkit.lifecycle.builders import Seed
from tenantkit.lifecycle.doctor import Findings
from tenantkit.registry import applications
from tenantkit.registry.async_directory import AsyncDirectory
from tenantkit.sessions.classes import (
    check_session_class,
    check_shared_session_class,
    check_sync_session_class,
    shared_class,
)
from tenantkit.sessions.moved_schemas import look_up_after_errors
from tenantkit.sessions.raw_sql import watch_statements
from tenantkit.sessions.session import Bound, TenantSession
from tenantkit.sessions.unscoped import UnscopedSession
from tenantkit.tables import Tables
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import MAIN_DATABASE, Tenant

__all__ = ["AsyncTenancy", "AsyncTenantSession"]

P = ParamSpec("P")
T = TypeVar("T")

_SYNC_BUDGET = 5
"""Maximum number of connections of the synchronous half to tenants' own databases, and by their logins."""


class AsyncTenantSession(AsyncSession):
    """A `sqlalchemy.ext.asyncio.AsyncSession` for one tenant; see `TenantSession`."""

    sync_session_class: type[TenantSession] = TenantSession  # pyright: ignore[reportIncompatibleVariableOverride]
    sync_session: TenantSession  # pyright: ignore[reportIncompatibleVariableOverride] - made from the class above

    @property
    def tenant(self) -> Tenant:
        """The tenant that this session serves."""
        return self.sync_session.tenant


class AsyncTenancy(AsyncDirectory[Tenancy]):
    """An application's tenants, for asyncio; see `tenantkit.Tenancy`."""

    def __init__(
        self,
        database: str | URL | AsyncEngine | Mapping[str, str | URL | AsyncEngine],
        *,
        sync_database: str | URL | Engine | Databases | Mapping[str, str | URL | Engine] | None = None,
        engine_options: Mapping[str, Any] | None = None,
        engine_budget: int = 20,
        session_class: type[AsyncTenantSession] = AsyncTenantSession,
        shared_session_class: type[AsyncSession] = AsyncSession,
        session_options: Mapping[str, Any] | None = None,
        unscoped_url: str | URL | None = None,
        **options: Any,
    ) -> None:
        """Make a tenancy.

        :param database: a URL for psycopg or asyncpg, for which an engine is made with *engine_options*, or an
            `AsyncEngine`; or several of these by name, as for `tenantkit.Tenancy`.
        :param sync_database: the same databases for provisioning, the command line and the listener, by psycopg; by
            default the same URLs. Pass it if an `AsyncEngine` has connection arguments that they need too.
        :param engine_budget: see `tenantkit.Tenancy`. Provisioning has further connections, 5 at most.
        :param session_class: the class of tenant sessions, a subclass of `AsyncTenantSession`. Seeds get a session
            of its ``sync_session_class``.
        :param shared_session_class: the class of sessions for shared tables.
        :param session_options: options of every session. ``expire_on_commit`` is off unless it is set here, because
            an expired attribute cannot be loaded without ``await``.
        :param unscoped_url: the login of `unscoped_session`, as for `tenantkit.Tenancy`, with the same driver.
        :param options: those of `tenantkit.Tenancy`.
        :raises ConfigurationError: if the tables are declared in a way that could not work.
        """
        require(
            engine_options=(engine_options, optional(MAPPING)),
            session_options=(session_options, optional(MAPPING)),
            engine_budget=(engine_budget, whole(1)),
        )
        own_options = dict(engine_options or {})
        if options.get("guard") == "login":
            require_urls(database, own_options)
        engines = open_each(database, lambda each: _open_async_engine(each, own_options))
        self.engine = engines[MAIN_DATABASE]
        sync_engines = {name: each.sync_engine for name, each in engines.items()}
        budget = make_budget(engine_budget, own_options, TaskTurn)
        of_tenants = engines_of_tenants(database, sync_engines, _make_engine, own_options, budget)
        self.databases: Databases = NamedEngines(sync_engines, of_tenants)
        if sync_database is None:
            sync_database = {name: psycopg_url(each.url) for name, each in engines.items()}
        made = [*sync_database.values()] if isinstance(sync_database, Mapping) else [sync_database]
        has_urls = any(isinstance(each, str | URL) for each in made)
        check_session_class(session_class, base=AsyncTenantSession, plain=AsyncSession)
        check_sync_session_class(session_class)
        check_shared_session_class(shared_session_class, base=AsyncTenantSession, plain=AsyncSession)
        self.sync = Tenancy(
            sync_database,
            engine_options={"pool_size": 1, "max_overflow": 4} if has_urls else {},
            engine_budget=_SYNC_BUDGET,
            session_class=session_class.sync_session_class,
            shared_session_class=shared_session_class.sync_session_class,
            session_options=session_options,
            unscoped_url=unscoped_url,
            **options,
        )
        """The same tenancy without asyncio, for the command line and migrations."""
        if different := {*self.sync.databases.keys} ^ {*self.databases.keys}:
            raise ConfigurationError(
                f"The database {min(different)!r} is in one of database= and sync_database= only. Give both the same "
                "names, or leave out sync_database=."
            )
        self.shared_tables = self.sync.shared_tables
        self.databases.prepare(connect_in_each_process)
        applications.check_once(self.databases.main, self.sync.application, self.databases.expect)
        self.databases.prepare(lambda engine: check_server_once(engine, self.sync.placeholder))
        self.databases.prepare(drivers.install)
        self.databases.prepare(lambda engine: watch_statements(engine, self.sync.placeholder))
        self.databases.prepare(lambda engine: look_up_after_errors(engine, self.sync.lookups.forget))
        self._unscoped_engine = None if unscoped_url is None else _open_async_engine(unscoped_url, own_options)
        async_options: dict[str, Any] = {"expire_on_commit": False, **(session_options or {})}
        self.sessionmaker: async_sessionmaker[AsyncTenantSession] = async_sessionmaker(
            self.engine, class_=session_class, binder=self, **async_options
        )
        """A plain SQLAlchemy `async_sessionmaker`; its sessions take the current tenant, or ``tenant=`` a `Tenant`."""
        self._shared_sessionmaker = async_sessionmaker(
            self.engine,
            class_=shared_session_class,
            sync_session_class=shared_class(shared_session_class.sync_session_class),
            placeholder=self.sync.placeholder,
            **async_options,
        )

    @property
    def tables(self) -> Tables:
        """The application's tables; see `tenantkit.Tenancy.tables`."""
        return self.sync.tables

    # Sessions

    @asynccontextmanager
    async def session(
        self, tenant: Tenant | str | None = None, *, any_status: bool = False, **options: Any
    ) -> AsyncGenerator[AsyncTenantSession]:
        """Open a session for *tenant*, or for the current tenant; see `tenantkit.Tenancy.session`."""
        self.sync.check_tables_once()
        known = await (
            self.get(tenant)
            if isinstance(tenant, str)
            else self._renewed(current_tenant() if tenant is None else tenant)
        )
        bound = self.sync.bind(known, any_status=any_status)
        binder = Bound(self.databases, bound, self.shared_tables, later=self)
        async with self.sessionmaker(tenant=tenant, binder=binder, any_status=any_status, **options) as session:
            yield session

    def shared_session(self, **options: Any) -> AsyncSession:
        """Return a plain session for shared tables; a tenant table fails in it."""
        return self._shared_sessionmaker(**options)

    def unscoped_session(self, *, reason: str, **options: Any) -> AsyncSession:
        """Return a session that reads the rows of all tenants; see `tenantkit.Tenancy.unscoped_session`."""
        return AsyncSession(
            self._unscoped_engine, sync_session_class=UnscopedSession, **self.sync.unscoped(reason), **options
        )

    def binding(self, tenant: Tenant | str | None = None, *, any_status: bool = False) -> Binding:
        """Return the binding of *tenant* or of the current tenant without I/O, so *tenant* cannot be a key.

        A tenant that is not in this process's memory is looked up before the session's first statement, which then
        raises as `session` does.

        :raises ConfigurationError: if *tenant* is a key.
        """
        require(any_status=(any_status, FLAG))
        if isinstance(tenant, str):
            raise ConfigurationError(
                f"async_sessionmaker cannot look up tenant {tenant!r}. Use tenancy.session({tenant!r}), "
                f"or pass tenant=await tenancy.get({tenant!r})."
            )
        self.sync.check_tables_once()
        wanted = current_tenant() if tenant is None else tenant
        if (known := self.sync.lookups.known(wanted)) is not None:
            return self.sync.bind(known, any_status=any_status)

        def look_up() -> Binding:  # in the greenlet of the session's statement
            with self.databases.main.begin() as connection:  # psycopg forgets what it has prepared at ROLLBACK
                return self.sync.bind(self.sync.lookups.look_up_again(connection, wanted), any_status=any_status)

        return replace(self.sync.bind(wanted, any_status=True), look_up=look_up)

    # Provisioning

    async def create(
        self,
        key: str,
        *,
        name: str | None = None,
        domains: Sequence[str] = (),
        attributes: Mapping[str, Any] | None = None,
        database: str | None = None,
        isolation: str | None = None,
        row_value: str | int | UUID | None = None,
        seed: Seed | None = None,
    ) -> Tenant:
        """Create a tenant; see `tenantkit.Tenancy.create`. *seed* is called in a thread, with a plain session."""
        return await asyncio.to_thread(
            self.sync.create,
            key,
            name=name,
            domains=domains,
            attributes=attributes,
            database=database,
            isolation=isolation,
            row_value=row_value,
            seed=seed,
        )

    async def drop(self, key: str, *, after: timedelta | None = None) -> Tenant:
        """Remove a tenant and all of its data for good; see `tenantkit.Tenancy.drop`."""
        return await asyncio.to_thread(self.sync.drop, key, after=after)

    async def diagnose(self) -> Findings:
        """Return the tenants and schemas that interrupted processes left incomplete."""
        return await asyncio.to_thread(self.sync.diagnose)

    async def repair(self) -> Findings:
        """Repair what `diagnose` finds, and return the findings."""
        return await asyncio.to_thread(self.sync.repair)

    async def run(self, function: Callable[Concatenate[Tenancy, P], T], /, *args: P.args, **options: P.kwargs) -> T:
        """Run an operator's function, such as `tenantkit.lifecycle.rename`, in a thread, and return its result.

        Its first argument is `sync`, the tenancy with psycopg; *args* and *options* follow::

            await tenancy.run(lifecycle.rename, "acme", "acme2")

        The function goes on to its end if the task is cancelled.
        """
        require(function=(function, FUNCTION))
        return await asyncio.to_thread(function, self.sync, *args, **options)

    async def close(self) -> None:
        """Stop listening and close idle connections."""
        await asyncio.to_thread(self.sync.close)
        await greenlet_spawn(self.databases.dispose)
        if self._unscoped_engine is not None:
            await self._unscoped_engine.dispose()


def _make_engine(url: URL, **options: Any) -> Engine:
    return keep_statements(create_async_engine(url, **options).sync_engine)


def _open_async_engine(database: str | URL | AsyncEngine, options: dict[str, Any]) -> AsyncEngine:
    if not isinstance(database, AsyncEngine):
        with explaining_imports():
            engine = create_async_engine(parse_url(database), **options)
        keep_statements(engine.sync_engine)
        return engine
    if options:
        raise ConfigurationError(
            "engine_options= go with a URL: this tenancy was given an engine that is made already."
        )
    parse_url(database.url)
    return database
