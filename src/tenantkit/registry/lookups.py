"""Lookups of tenants through the cache of this process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Engine

from tenantkit.arguments import require
from tenantkit.databases.forks import PerProcess
from tenantkit.exceptions import ConfigurationError, TenantNotFoundError
from tenantkit.naming import is_spare
from tenantkit.registry import store
from tenantkit.registry.cache import Name, TenantCache
from tenantkit.registry.listener import Listener
from tenantkit.tenant import KEY, TENANT, Tenant


class Lookups:
    """Finds tenants in the cache or by a connection. The first lookup by a connection starts the listener, if any."""

    def __init__(self, engine: Engine, *, ttl: float, size: int, listen: bool) -> None:
        def open_memory() -> tuple[TenantCache, Listener | None]:
            cache = TenantCache(ttl=ttl, size=size)
            return cache, Listener(engine, cache) if listen else None

        self._memory = PerProcess(open_memory)

    @property
    def cache(self) -> TenantCache:
        """The tenants that this process has looked up."""
        return self._memory.get()[0]

    @property
    def listener(self) -> Listener | None:
        """The listener of this process."""
        return self._memory.get()[1]

    def known(self, tenant: Tenant) -> Tenant | None:
        """Return the present state of *tenant* if it is in the cache."""
        if not isinstance(tenant, Tenant):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may do without types
            require(tenant=(tenant, TENANT))
        now = self.cache.find(("key", tenant.key))
        return now if now is not None and now.identity == tenant.identity else None

    def look_up(self, connection: Connection, name: Name, find: Callable[[Connection, str], Tenant]) -> Tenant:
        """Find a tenant by *connection* and cache it.

        :raises TenantNotFoundError: if there is none; a spare is none yet.
        """
        if is_spare(name[1]):
            raise TenantNotFoundError(key=name[1])
        cache, listener = self._memory.get()
        if listener is not None:
            listener.start()
        generation = cache.generation
        try:
            tenant = find(connection, name[1])
        except TenantNotFoundError:
            cache.store_miss(name, generation=generation)
            raise
        # A tenant that was renamed is not found by its old key.
        cache.store(("key", tenant.key) if name[0] == "key" else name, tenant, generation=generation)
        return tenant

    def look_up_again(self, connection: Connection, tenant: Tenant) -> Tenant:
        """Read the present state of *tenant* by *connection* and cache it.

        :raises TenantMismatchError: if it is of another registry, or it was dropped and another tenant has its key now.
        :raises TenantNotFoundError: if it was dropped.
        """
        return self.look_up(connection, ("key", tenant.key), partial(store.get_again, tenant))

    def forget(self, key: str) -> None:
        """Drop a tenant's cache entries in this process."""
        self.cache.forget(key)

    @contextmanager
    def forgetting(self, key: str) -> Generator[None]:
        """Drop a tenant's cache entries once the change is committed; other processes are notified.

        :raises ConfigurationError: if a change of the tenant, whose seed calls this, has not ended: it would wait for
            itself.
        """
        require(key=(key, KEY))
        if any(change.is_open and (change.lookups, change.key) == (self, key) for change in _changes.get()):
            raise ConfigurationError(
                f"Tenant {key!r} is being created, and its seed cannot change it in the registry: do that afterwards."
            )
        change = _Change(self, key)
        token = _changes.set((*_changes.get(), change))
        try:
            yield
        finally:
            change.is_open = False
            _changes.reset(token)
            self.cache.forget(key)


@dataclass(slots=True)
class _Change:
    """A change of a tenant, which holds a lock on its row."""

    lookups: Lookups
    key: str
    is_open: bool = True
    """Threads and tasks that were begun meanwhile may go on afterwards."""


_changes: ContextVar[tuple[_Change, ...]] = ContextVar("tenantkit_changes", default=())
