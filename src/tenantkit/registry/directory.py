"""The tenants of an application: lookup with a cache, listing and changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import Connection
from typing_extensions import override

from tenantkit.arguments import NAME, require
from tenantkit.databases.base import Databases, separate
from tenantkit.databases.reach import in_each
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.isolations import Isolations
from tenantkit.naming import fold_domain, require_free_domain, validate_own_domains
from tenantkit.notice import check_notice, suspended_status
from tenantkit.postgres.retry import after_conflicts
from tenantkit.postgres.rights import explaining_rights
from tenantkit.registry import applications, domains, other_databases, statuses, store, versions
from tenantkit.registry.applications import Application
from tenantkit.registry.cache import Name, TenantCache
from tenantkit.registry.grants import let_read_registry
from tenantkit.registry.identity import read_identity
from tenantkit.registry.lookups import Lookups
from tenantkit.registry.revisions import Revisions
from tenantkit.status import Status
from tenantkit.tenant import KEY, ROW_VALUE, Tenant


class HasConnections:
    """An object that belongs to one process."""

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"A {type(self).__name__} cannot be pickled or copied, as it has connections. Make one in each process, "
            "and pass tenants, or their keys."
        )


class Directory(HasConnections):
    """The registry of one application, with the cache of this process and its listener."""

    def __init__(
        self,
        databases: Databases,
        isolations: Isolations,
        application: Application,
        *,
        grant_to: tuple[str, ...],
        reserved_domains: Collection[str],
        migrations: str | Path | None,
        cache_ttl: float,
        cache_size: int,
        listen: bool,
    ) -> None:
        self.databases = databases
        self.isolations = isolations
        self.engine = databases.main
        self.migrations = Path(migrations) if migrations is not None else None
        self.application = application
        self.grant_to = grant_to
        self._reserved_domains = validate_own_domains(reserved_domains)
        applications.check_once(self.engine, application, databases.expect)

        self.lookups = Lookups(self.engine, ttl=cache_ttl, size=cache_size, listen=listen)
        self.revisions = Revisions(databases, isolations, self.lookups, self.migrations)

    @property
    def cache(self) -> TenantCache:
        """The tenants that this process has looked up."""
        return self.lookups.cache

    def install(self) -> None:
        """Create or upgrade the registry's tables. ``tenantkit migrate`` does this first.

        :raises ConfigurationError: if they are newer than this tenantkit, or belong to another application; or, after
            all else is done, if another database is down.
        """
        for problem in self.install_reachable().values():
            raise ConfigurationError(f"{problem[0].upper()}{problem[1:]}. Repeat this when it is back.")

    def install_reachable(self) -> Mapping[str, str]:
        """Do as `install`, and return the problems of databases that are down, by name."""
        with explaining_rights(self.engine.url):
            registry: str = after_conflicts()(self._install_on_main)
        if not (others := separate(self.databases)):
            return {}

        def install(name: str, connection: Connection) -> None:
            with connection.begin():
                other_databases.install(connection, name, registry)

        with self.engine.connect() as connection:
            return in_each(self.databases, connection, others, install).unreachable

    def _install_on_main(self) -> str:
        with self.engine.begin() as connection:
            versions.install(connection)
            applications.claim(connection, self.application)
            let_read_registry(connection, self.grant_to)
            return read_identity(connection)

    def get(self, key: str) -> Tenant:
        """Return the tenant with this key, from this process's memory if it is there.

        :raises TenantNotFoundError: if there is none.
        """
        return self.lookups.cache.find(("key", key)) or self._look_up(("key", key), store.get)

    def renewed(self, tenant: Tenant) -> Tenant:
        """Return the present state of *tenant*, from this process's memory if it is there.

        :raises TenantMismatchError: if it is of another registry, or it was dropped and another tenant has its key now.
        :raises TenantNotFoundError: if it was dropped.
        """
        if (known := self.lookups.known(tenant)) is not None:
            return known
        with self.engine.begin() as connection:  # psycopg forgets what it has prepared at ROLLBACK
            return self.lookups.look_up_again(connection, tenant)

    def get_by_domain(self, domain: str) -> Tenant:
        """Return the tenant with this domain, from this process's memory if it is there.

        :raises TenantNotFoundError: if there is none.
        """
        name: Name = ("domain", fold_domain(domain))
        return self.cache.find(name) or self._look_up(name, store.get_by_domain)

    def list(
        self,
        *,
        status: str | Collection[str] | None = None,
        attributes: Mapping[str, Any] | None = None,
        search: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Tenant]:
        """Return tenants in the order of their keys; see `tenantkit.registry.store.find`."""
        filters: dict[str, Any] = {
            "status": status,
            "attributes": attributes,
            "search": search,
            "after": after,
            "limit": limit,
        }
        store.require_filters(filters)
        with self.engine.connect() as connection:
            return store.find(connection, **filters)

    def update(self, key: str, *, name: str | None = None, attributes: Mapping[str, Any] | None = None) -> Tenant:
        """Set the display name, and merge *attributes* into the tenant's own; ``None`` as a value removes one."""
        return self._change(key, store.change, name=name, attributes=attributes)

    def set_row_value(self, key: str, row_value: str | int | UUID) -> Tenant:
        """Set the value of ``row_column`` of a tenant that was created without it, in a schema of its own.

        :raises ConfigurationError: if the column cannot have the value, the tenant has one, or another tenant this one.
        """
        value = self.new_row_value(key, row_value)
        with self._changing(key) as connection:
            return store.set_row_value(connection, self.isolations, key, value)

    def add_domain(self, key: str, domain: str, *, primary: bool = False) -> Tenant:
        """Give a tenant another domain; its first one is its primary one.

        :raises InvalidDomainError: if it is no host name, or reserved.
        :raises DomainExistsError: if it is taken.
        """
        return self._change(key, domains.add, self.free_domain(domain), primary=primary)

    def remove_domain(self, key: str, domain: str) -> Tenant:
        """Remove a domain from a tenant."""
        return self._change(key, domains.remove, domain)

    def set_primary_domain(self, key: str, domain: str) -> Tenant:
        """Make one of a tenant's domains the primary one."""
        return self._change(key, domains.set_primary, domain)

    def at_revision(self, tenant: Tenant | str, revision: str) -> bool:
        """Return whether the tables of *tenant* include *revision*, a whole id; "yes" is kept for some seconds.

        :raises ConfigurationError: if there is no such revision, or the tenant is at an unknown one.
        """
        known = self.get(tenant) if isinstance(tenant, str) else self.renewed(tenant)
        require(revision=(revision, NAME))
        return self.revisions.includes(known, revision)

    def suspend(
        self,
        key: str,
        *,
        message: str | None = None,
        until: datetime | timedelta | None = None,
        read_only: bool = False,
    ) -> Tenant:
        """Stop serving a tenant, keeping all it has. Transactions in flight go on: see `tenantkit.lifecycle.drain`.

        Nothing changes if it is suspended already, except for *message* and *until*, which are replaced.

        :param message: what its visitors are told.
        :param until: the end that they are told. The tenant is not resumed by itself then.
        :param read_only: go on serving it, by transactions that read only. What writes fails with
            `TenantReadOnlyError`, also in shared tables.
        :raises ConfigurationError: if *message* or *until* cannot be used.
        :raises IllegalTransitionError: if the tenant is being created or removed, or is in maintenance.
        """
        return self._move(key, suspended_status(read_only), message, until)

    def resume(self, key: str) -> Tenant:
        """Serve a tenant again that was suspended, read-only or in maintenance; nothing changes if it is active."""
        return self._move(key, Status.ACTIVE)

    def start_maintenance(
        self, key: str, *, message: str | None = None, until: datetime | timedelta | None = None
    ) -> Tenant:
        """Stop serving a tenant for a while, with Retry-After; *message* and *until* are those of `suspend`."""
        return self._move(key, Status.MAINTENANCE, message, until)

    def close(self) -> None:
        """Stop listening and close idle connections."""
        if (listener := self.lookups.listener) is not None:
            listener.stop()
        self.databases.dispose()

    # Inside

    def free_domain(self, domain: str) -> str:
        """Return *domain* as it is stored.

        :raises InvalidDomainError: if it is no host name, or reserved.
        """
        return require_free_domain(domain, self._reserved_domains)

    def new_row_value(self, key: str, row_value: str | int | UUID) -> str:
        """Return *row_value*, of the tenant *key*, as it is stored; raises as `set_row_value` does."""
        require(key=(key, KEY), row_value=(row_value, ROW_VALUE))
        return str(self.isolations.row_column.new_value(row_value))

    @contextmanager
    def _changing(self, key: str) -> Generator[Connection]:
        """Begin a transaction that changes a tenant in the registry.

        :raises ConfigurationError: if the login may not.
        """
        with self.lookups.forgetting(key), explaining_rights(self.engine.url), self.engine.begin() as connection:
            yield connection

    def _look_up(self, name: Name, find: Callable[[Connection, str], Tenant]) -> Tenant:
        require(key=(name[1], KEY))
        with self.engine.begin() as connection:  # psycopg forgets what it has prepared at ROLLBACK
            return self.lookups.look_up(connection, name, find)

    def _move(
        self, key: str, wanted: Status, message: str | None = None, until: datetime | timedelta | None = None
    ) -> Tenant:
        said = check_notice(message, until)
        with self._changing(key) as connection:
            return statuses.move(connection, self.isolations, key, wanted, *said)

    def _change(self, key: str, change: Callable[..., None], *args: Any, **options: Any) -> Tenant:
        with self._changing(key) as connection:
            return store.changed(connection, self.isolations, key, change, *args, **options)
