"""A cache of tenants in this process, so that a request need not query the database.

It is not a library's, because a lookup is on the path of every request, and must not
store an answer that was invalidated before it arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Literal, TypeAlias

from tenantkit.tenant import Tenant

Name: TypeAlias = "tuple[Literal['key', 'domain'], str]"
"""The name by which a tenant is looked up: its key or a domain."""

MISS_TTL = 5.0
"""Maximum number of seconds for which a name without a tenant is remembered."""


class TenantCache:
    """Tenants by key and by domain, each for at most *ttl* seconds, *size* entries at most.

    Reads take no lock: each is one lookup in a `dict`. Writes take one, so that no answer is stored
    during the removal of a tenant. A full cache drops the entries that were stored first.
    """

    def __init__(self, *, ttl: float, size: int, clock: Callable[[], float] = monotonic) -> None:
        self.ttl = ttl
        """Maximum number of seconds for which a tenant is kept."""
        self._size = size
        self._clock = clock
        self._entries: dict[Name, tuple[Tenant, float]] = {}
        self._misses: dict[Name, float] = {}
        self._names: dict[str, set[Name]] = {}
        """The cached names of each tenant, by its key: thousands of tenants may change in one statement."""
        self._writing = Lock()
        self.generation = 0
        """The number of invalidations; `store` compares it."""

    def find(self, name: Name) -> Tenant | None:
        """Return the tenant, or ``None`` if it is not known or was stored too long ago."""
        try:
            entry = self._entries.get(name)
        except TypeError:  # it cannot be hashed: the query is refused with an error that says so
            return None
        if entry is None or entry[1] <= self._clock():
            return None
        return entry[0]

    def store(self, name: Name, tenant: Tenant, *, generation: int) -> None:
        """Keep *tenant*, unless something was invalidated since *generation* was read, before the query."""
        with self._writing:
            if generation != self.generation or self.ttl <= 0 or self._size <= 0:
                return
            self._drop(name)
            while len(self._entries) >= self._size:
                self._drop(next(iter(self._entries)))
            # Under the tenant's own string if possible: the caller's would take memory too.
            own: Name = ("key", tenant.key) if name == ("key", tenant.key) else name
            self._entries[own] = (tenant, self._clock() + self.ttl)
            self._names.setdefault(tenant.key, set()).add(own)

    def is_missing(self, name: Name) -> bool:
        """Return whether no tenant had this name some seconds ago, and no change was notified since."""
        return self._misses.get(name, 0.0) > self._clock()

    def store_miss(self, name: Name, *, generation: int) -> None:
        """Remember for some seconds that no tenant has this name, with the same condition as `store`."""
        with self._writing:
            if generation != self.generation or self.ttl <= 0 or self._size <= 0:
                return
            if len(self._misses) >= self._size:
                self._misses = {}
            self._misses[name] = self._clock() + min(self.ttl, MISS_TTL)

    def forget(self, key: str) -> None:
        """Drop every entry of the tenant with this key, and all misses: it may be a new one."""
        with self._writing:
            self.generation += 1
            self._misses = {}
            for name in self._names.pop(key, ()):
                del self._entries[name]

    def clear(self) -> None:
        """Drop every entry."""
        with self._writing:
            self.generation += 1
            self._entries = {}
            self._names = {}
            self._misses = {}

    def _drop(self, name: Name) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            names = self._names[entry[0].key]
            names.discard(name)
            if not names:
                del self._names[entry[0].key]
