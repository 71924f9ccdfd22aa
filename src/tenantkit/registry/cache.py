"""Tenants that this process has looked up, so that a request need not ask the database.

A small cache of our own rather than a library's, because a lookup is on the path
of every request and must not store an answer that was overtaken while it came.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Literal, TypeAlias

from tenantkit.tenant import Tenant

Name: TypeAlias = "tuple[Literal['key', 'domain'], str]"
"""What a tenant is looked up by."""

MISS_TTL = 5.0
"""For how many seconds at most a name that no tenant has is remembered."""


class TenantCache:
    """Tenants by key and by domain, each for at most *ttl* seconds, *size* entries at most.

    Reads take no lock: each is one look into a `dict`. Writes do, so that no answer is stored
    between the forgetting of a tenant and its end. When it is full, the entries that were stored
    first go.
    """

    def __init__(self, *, ttl: float, size: int, clock: Callable[[], float] = monotonic) -> None:
        self._ttl = ttl
        self._size = size
        self._clock = clock
        self._entries: dict[Name, tuple[Tenant, float]] = {}
        self._misses: dict[Name, float] = {}
        self._names: dict[str, set[Name]] = {}
        """Under which names each tenant is kept, by its key: thousands of tenants may change in one statement."""
        self._writing = Lock()
        self.generation = 0
        """Grows with every invalidation; `store` compares it."""

    def find(self, name: Name) -> Tenant | None:
        """Return the tenant, or ``None`` if it is not known or was stored too long ago."""
        entry = self._entries.get(name)
        if entry is None or entry[1] <= self._clock():
            return None
        return entry[0]

    def store(self, name: Name, tenant: Tenant, *, generation: int) -> None:
        """Keep *tenant*, unless something was invalidated since *generation* was read, before the query."""
        with self._writing:
            if generation != self.generation or self._ttl <= 0 or self._size <= 0:
                return
            self._drop(name)
            while len(self._entries) >= self._size:
                self._drop(next(iter(self._entries)))
            # Under the tenant's own string, where it has it: the caller's would be a second one to keep.
            own: Name = ("key", tenant.key) if name == ("key", tenant.key) else name
            self._entries[own] = (tenant, self._clock() + self._ttl)
            self._names.setdefault(tenant.key, set()).add(own)

    def is_missing(self, name: Name) -> bool:
        """Return whether no tenant had this name some seconds ago, as far as this process has heard."""
        return self._misses.get(name, 0.0) > self._clock()

    def store_miss(self, name: Name, *, generation: int) -> None:
        """Remember for seconds that no tenant has this name, with the same condition as `store`."""
        with self._writing:
            if generation != self.generation or self._ttl <= 0 or self._size <= 0:
                return
            if len(self._misses) >= self._size:
                self._misses = {}
            self._misses[name] = self._clock() + min(self._ttl, MISS_TTL)

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
