"""The registry of an application, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from tenantkit.arguments import NAME, require
from tenantkit.databases.base import Databases
from tenantkit.naming import fold_domain
from tenantkit.notice import check_notice, suspended_status
from tenantkit.postgres.rights import explaining_rights
from tenantkit.registry import domains, statuses, store
from tenantkit.registry.cache import Name
from tenantkit.registry.directory import Directory, HasConnections
from tenantkit.status import Status
from tenantkit.tenant import KEY, Tenant

D = TypeVar("D", bound=Directory)


class AsyncDirectory(HasConnections, Generic[D]):
    """The methods of a `Directory`, to be awaited, on an async engine and with the cache of that directory."""

    sync: D
    """The same without asyncio."""
    engine: AsyncEngine
    databases: Databases

    async def install(self) -> None:
        """Create or upgrade the registry's tables."""
        await asyncio.to_thread(self.sync.install)

    async def get(self, key: str) -> Tenant:
        """Return the tenant with this key; see `tenantkit.Tenancy.get`."""
        return self.sync.cache.find(("key", key)) or await self._look_up(("key", key), store.get)

    async def get_by_domain(self, domain: str) -> Tenant:
        """Return the tenant with this domain; see `tenantkit.Tenancy.get_by_domain`."""
        name: Name = ("domain", fold_domain(domain))
        return self.sync.cache.find(name) or await self._look_up(name, store.get_by_domain)

    async def list(self, **filters: Any) -> list[Tenant]:
        """Return tenants in the order of their keys; see `tenantkit.Tenancy.list`."""
        store.require_filters(filters)
        async with self.engine.connect() as connection:
            return await connection.run_sync(store.find, **filters)

    async def at_revision(self, tenant: Tenant | str, revision: str) -> bool:
        """Return whether the tables of *tenant* include *revision*; see `tenantkit.Tenancy.at_revision`."""
        known = await (self.get(tenant) if isinstance(tenant, str) else self._renewed(tenant))
        require(revision=(revision, NAME))
        return self.sync.revisions.has(known, revision) or await self._at_revision(known, revision)

    async def update(self, key: str, *, name: str | None = None, attributes: Mapping[str, Any] | None = None) -> Tenant:
        """Set the display name, and merge *attributes*; see `tenantkit.Tenancy.update`."""
        return await self._change(key, store.change, name=name, attributes=attributes)

    async def set_row_value(self, key: str, row_value: str | int | UUID) -> Tenant:
        """Set the value of ``row_column`` of a tenant; see `tenantkit.Tenancy.set_row_value`."""
        value = self.sync.new_row_value(key, row_value)
        with self.sync.lookups.forgetting(key), explaining_rights(self.engine.url):
            async with self.engine.begin() as connection:
                return await connection.run_sync(store.set_row_value, self.sync.isolations, key, value)

    async def add_domain(self, key: str, domain: str, *, primary: bool = False) -> Tenant:
        """Give a tenant another domain; see `tenantkit.Tenancy.add_domain`."""
        return await self._change(key, domains.add, self.sync.free_domain(domain), primary=primary)

    async def remove_domain(self, key: str, domain: str) -> Tenant:
        """Remove a domain from a tenant."""
        return await self._change(key, domains.remove, domain)

    async def set_primary_domain(self, key: str, domain: str) -> Tenant:
        """Make one of a tenant's domains the primary one."""
        return await self._change(key, domains.set_primary, domain)

    async def suspend(
        self,
        key: str,
        *,
        message: str | None = None,
        until: datetime | timedelta | None = None,
        read_only: bool = False,
    ) -> Tenant:
        """Stop serving a tenant, or its writes; see `tenantkit.Tenancy.suspend`."""
        return await self._move(key, suspended_status(read_only), message, until)

    async def resume(self, key: str) -> Tenant:
        """Serve a tenant again that was suspended, read-only or in maintenance."""
        return await self._move(key, Status.ACTIVE)

    async def start_maintenance(
        self, key: str, *, message: str | None = None, until: datetime | timedelta | None = None
    ) -> Tenant:
        """Stop serving a tenant for a while; see `tenantkit.Tenancy.start_maintenance`."""
        return await self._move(key, Status.MAINTENANCE, message, until)

    # Inside

    async def _look_up(self, name: Name, find: Callable[[Connection, str], Tenant]) -> Tenant:
        require(key=(name[1], KEY))
        async with self.engine.begin() as connection:  # psycopg forgets what it has prepared at ROLLBACK
            return await connection.run_sync(self.sync.lookups.look_up, name, find)

    async def _renewed(self, tenant: Tenant) -> Tenant:
        return self.sync.lookups.known(tenant) or await self._look_up_again(tenant)

    async def _look_up_again(self, tenant: Tenant) -> Tenant:
        async with self.engine.begin() as connection:  # psycopg forgets what it has prepared at ROLLBACK
            return await connection.run_sync(self.sync.lookups.look_up_again, tenant)

    async def _at_revision(self, tenant: Tenant, revision: str) -> bool:
        async with self.engine.connect() as connection:
            return await connection.run_sync(self.sync.revisions.look_up, self.databases, tenant, revision)

    async def _move(
        self, key: str, wanted: Status, message: str | None = None, until: datetime | timedelta | None = None
    ) -> Tenant:
        said = check_notice(message, until)
        with self.sync.lookups.forgetting(key), explaining_rights(self.engine.url):
            async with self.engine.begin() as connection:
                return await connection.run_sync(statuses.move, self.sync.isolations, key, wanted, *said)

    async def _change(self, key: str, change: Callable[..., None], *args: Any, **options: Any) -> Tenant:
        with self.sync.lookups.forgetting(key), explaining_rights(self.engine.url):
            async with self.engine.begin() as connection:
                return await connection.run_sync(store.changed, self.sync.isolations, key, change, *args, **options)
