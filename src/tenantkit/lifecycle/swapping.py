"""The exchange of a tenant's tables for those of its restored copy, while it is served.

The key, the id, the domains and the status stay with each tenant; the registry exchanges their placements. The tenant's
former tables are fenced first, so that a process that has not heard of it cannot write to them: all that was committed
before is there, and nothing is written there afterwards. They are the copy's then, so that a swap leads back.

In the database of the registry, all of it is one transaction. Elsewhere, it is several steps, each of which may be
repeated, and the registry knows of the swap until the last one: the same call goes on, and so does ``doctor``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.arguments import FLAG, number, require
from tenantkit.databases.base import connected, shares_transaction
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError, ProvisioningError, TenantNotFoundError
from tenantkit.isolation import fence
from tenantkit.isolation.base import Isolation
from tenantkit.lifecycle.operation import Operation, explained, operating
from tenantkit.lifecycle.swap_obstacles import Obstacles
from tenantkit.lifecycle.tenant_lock import tenant_lock, try_tenant_lock
from tenantkit.postgres import blockers
from tenantkit.postgres.errors import LOCK_NOT_AVAILABLE, sqlstate
from tenantkit.postgres.table_locks import lock_at_once
from tenantkit.registry import other_databases, store, swaps
from tenantkit.registry.directory import Directory
from tenantkit.status import WRITABLE
from tenantkit.tenant import KEY, MAIN_DATABASE, Tenant

PATIENCE = 10.0
"""Seconds for which a swap tries to lock the tables."""
_STEP = "swapping"
_Pair: TypeAlias = "tuple[Tenant, Tenant]"
"""A tenant and its copy."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Swap:
    """The result of a swap, or its plan."""

    tenant: Tenant
    """The tenant, with the tables that were the copy's; in a plan, as it is."""
    copy: Tenant
    """The copy, with the tenant's former tables."""
    steps: tuple[str, ...]
    """Descriptions of what was, or would be, done."""
    obstacles: tuple[str, ...] = ()
    """In a plan, what would prevent it."""


def swap(
    tenancy: Deployment,
    key: str,
    copy: str,
    *,
    back: bool = False,
    any_tenant: bool = False,
    patience: float = PATIENCE,
    dry_run: bool = False,
) -> Swap:
    """Give a tenant the tables of its suspended *copy*, and the copy those of the tenant, while that is served.

    A statement that writes to the former tables afterwards, of a process that has not heard, raises `TenantMovedError`.
    A swap that was interrupted is finished by the same call. One that is done is not done again by it.

    :param back: whether the copy has the tenant's former tables. What was written since the swap is then in the copy.
        After that, the copy has its own tables again.
    :param any_tenant: whether the copy may be a tenant that was not restored from a backup of this one. Its rows are
        this tenant's then, whoever's they are.
    :param patience: the number of seconds for which to wait for open transactions that have written to the tables.
    :param dry_run: change nothing, and return the steps and the obstacles.
    :raises TenantNotFoundError: if there is no such tenant.
    :raises TenantUnavailableError: if this version of tenantkit does not know an isolation or a database of theirs.
    :raises ConfigurationError: if both are one tenant.
    :raises ProvisioningError: if the copy is not suspended or not a copy, the two cannot be swapped, or others use the
        tables.
    """
    require(
        tenancy=(tenancy, TENANCY),
        key=(key, KEY),
        copy=(copy, KEY),
        back=(back, FLAG),
        any_tenant=(any_tenant, FLAG),
        patience=(patience, number(0)),
        dry_run=(dry_run, FLAG),
    )
    if key == copy:
        raise ConfigurationError(f"Tenant {key!r} cannot be swapped with itself: name its copy.")
    with ExitStack() as stack:
        for each in (key, copy):
            stack.enter_context(tenancy.lookups.forgetting(each))
        connection = stack.enter_context(operating(tenancy))
        with connection.begin():
            tenant, other = store.get(connection, key), store.get(connection, copy)
            for known in (tenant, other):
                tenancy.isolations.of(known)
        work = Swapping(tenancy, connection, key, copy, back=back, any_tenant=any_tenant, patience=patience)
        with explained(tenancy, tenant, _STEP):
            return work.plan(tenant, other) if dry_run else work.run(tenant, other)


def settle(directory: Directory, connection: Connection, key: str) -> None:
    """Finish the swap of a tenant that was interrupted; let a tenant write to its tables that is served with a fence.

    :raises ProvisioningError: if that is not possible.
    """
    with connection.begin():
        if not store.has_key(connection, key):
            return
        tenant = store.get(connection, key)
        partner = swaps.find_partner(connection, tenant.id)
        partner_key = None if partner is None else swaps.find_key(connection, partner)
        other = None if partner_key is None else store.get(connection, partner_key)
        if partner is not None and not try_tenant_lock(connection, tenant.id):
            return  # a process is at work on it
    with explained(directory, tenant, _STEP), suppress(TenantNotFoundError):  # renamed, or dropped, meanwhile
        if other is None:
            work = Swapping(directory, connection, key, key)
            Operation(directory.databases, connection, _STEP).run(tenant.placement.database, work.open_tables)
        else:
            Swapping(directory, connection, key, other.key).run(tenant, other)


@dataclass(frozen=True, slots=True)
class Swapping:
    """The swap of the tenant *key* with its *copy*. *connection* is to the main database, without a transaction."""

    directory: Directory
    connection: Connection
    key: str
    copy: str
    _: KW_ONLY
    back: bool = False
    any_tenant: bool = False
    patience: float = PATIENCE
    is_closed: bool = False
    """Whether the tenant's tables refuse writes already, the copy's can be opened, and the registry knows of the swap.
    """

    def plan(self, tenant: Tenant, other: Tenant) -> Swap:
        """Return the steps and the obstacles."""
        with self.connection.begin():
            found = [*self._obstacles.in_registry(tenant, other)]
        for each, find in ((tenant, self._obstacles.to_fence), (other, self._obstacles.to_open)) if not found else ():
            database = each.placement.database
            with self._explained(each), self.connection.begin() as transaction:
                with connected(self.directory.databases, database, self.connection) as there:
                    found += find(there, tenant, other)
                transaction.rollback()
        return Swap(tenant, other, _steps(tenant, other), tuple(found))

    def run(self, tenant: Tenant, other: Tenant) -> Swap:
        """Swap both, or go on with it; raises as `swap` does."""
        known = (tenant, other)
        if all(shares_transaction(self.directory.databases, each.placement.database) for each in known):
            swapped = self._step(tenant, partial(self._at_once, known))
        else:
            with tenant_lock(self.connection, tenant.id):
                swapped = self._in_steps(known)
        return Swap(*swapped, _steps(tenant, other))

    def _at_once(self, known: _Pair, there: Connection) -> _Pair:
        tenant, other = self._lock_rows(known)
        self._require(self._obstacles.to_fence(there, tenant, other))
        self._require(self._obstacles.to_open(there, tenant, other))
        self._lock_tables(there, fenced=tenant.schema, opened=other.schema)
        fence.put_up(there, tenant.schema, is_former=not fence.is_former(there, other.schema))
        fence.take_down(there, other.schema)
        swapped = swaps.exchange(self.connection, tenant, other)
        for each in swapped:
            self.directory.isolations.of(each).take_over(there, each)
        return swapped

    def _in_steps(self, known: _Pair) -> _Pair:
        def begin(_: Connection) -> None:
            tenant, other = self._lock_rows(known)
            swaps.begin(self.connection, tenant.id, other.id)

        def check(there: Connection) -> bool:
            tenant, other = self._lock_rows(known)
            self._require(self._obstacles.to_open(there, tenant, other))
            return fence.is_former(there, other.schema)

        def close(there: Connection) -> None:
            tenant, other = self._lock_rows(known)
            self.close(there, tenant, other, is_former=not is_back)

        def open_copy(there: Connection) -> None:
            tenant, other = self._lock_rows(known)
            self._lock_tables(there, opened=other.schema)
            fence.take_down(there, other.schema)
            self._isolation(other).take_over(there, _at(tenant, other))

        def mark(there: Connection) -> _Pair:
            tenant, other = self._lock_rows(known)
            self._isolation(tenant).take_over(there, _at(other, tenant))
            return tenant, other

        def exchange(there: Connection) -> _Pair:
            locked = mark(there) if is_in_main else self._lock_rows(known)
            return swaps.exchange(self.connection, *locked)

        ours, theirs = known
        is_in_main = shares_transaction(self.directory.databases, ours.placement.database)
        is_back = False
        try:
            if not self.is_closed:
                is_back = self._step(theirs, check)
                self._step(None, begin)
                self._step(ours, close)
            self._step(theirs, open_copy)
        except Exception:
            self._step(ours, partial(self._give_up, known))
            with suppress(ProvisioningError):  # it may be down
                self._step(theirs, partial(self._mark_again, theirs, ours))
            raise
        if not is_in_main:
            self._step(ours, mark)
        return self._step(ours if is_in_main else None, exchange)

    def _give_up(self, known: _Pair, there: Connection) -> None:
        """Let the tenant write to its tables again if a swap of both has begun."""
        tenant, other = known
        if swaps.find_partner(self.connection, tenant.id) == other.id:
            self.open_tables(there)
            self._mark_again(tenant, other, there)

    def _mark_again(self, tenant: Tenant, other: Tenant, there: Connection) -> None:
        if self._isolation(tenant).obstacle_to_swap(there, tenant, other) is None:
            self._isolation(tenant).take_over(there, tenant)

    def close(self, there: Connection, tenant: Tenant, other: Tenant, *, is_former: bool) -> None:
        """Refuse writes to the tables of *tenant*, whose row is locked; wait for transactions that have written.

        :param is_former: as `fence.put_up` has it.
        """
        self._require(self._obstacles.to_fence(there, tenant, other))
        if there is not self.connection:  # one of an older version has no function for the fence
            other_databases.install(there, tenant.placement.database, tenant.registry)
        self._lock_tables(there, fenced=tenant.schema)
        fence.put_up(there, tenant.schema, is_former=is_former)

    def open_tables(self, there: Connection, *, any_status: bool = False) -> None:
        """Take the fence from the tables of the tenant, if it is served, and end its swap, unless another goes on.

        :param any_status: do so also if it is not served any more.
        """
        tenant = store.lock(self.connection, self.directory.isolations, self.key)
        if not try_tenant_lock(self.connection, tenant.id):
            return
        if any_status or tenant.status in WRITABLE or swaps.find_partner(self.connection, tenant.id) is not None:
            self._lock_tables(there, opened=tenant.schema)
            fence.take_down(there, tenant.schema)
            swaps.end(self.connection, tenant.id)

    def _step(self, at: Tenant | None, work: Callable[[Connection], T]) -> T:
        """Do one step in the database of a tenant, or in the registry alone."""
        operation = Operation(self.directory.databases, self.connection, _STEP)
        if at is None:
            return operation.run(MAIN_DATABASE, work)
        with self._explained(at):
            return operation.run(at.placement.database, work)

    def _explained(self, at: Tenant) -> AbstractContextManager[None]:
        """Turn errors of the database of either tenant into such of the swap."""
        return explained(self.directory, replace(at, key=self.key), _STEP)

    @property
    def _obstacles(self) -> Obstacles:
        return Obstacles(self.directory, self.connection, back=self.back, any_tenant=self.any_tenant)

    def _isolation(self, tenant: Tenant) -> Isolation:
        return self.directory.isolations.of(tenant)

    def _lock_rows(self, known: _Pair) -> _Pair:
        """Lock the rows of both tenants, which are as they were *known* to be; raise if they are not."""
        keys = sorted((self.key, self.copy))
        rows = {key: store.lock(self.connection, self.directory.isolations, key) for key in keys}
        tenant, other = rows[self.key], rows[self.copy]
        if [each.placement for each in known] != [tenant.placement, other.placement]:
            self._require(["another process has moved one of them meanwhile; nothing was changed"])
        self._require(self._obstacles.in_registry(tenant, other))
        return tenant, other

    def _require(self, obstacles: Iterable[str]) -> None:
        for obstacle in obstacles:
            raise ProvisioningError(self.key, _STEP, obstacle)

    def _lock_tables(self, there: Connection, *, fenced: str | None = None, opened: str | None = None) -> None:
        modes = fence.lock_modes(there, fenced=fenced, opened=opened)
        try:
            lock_at_once(there, modes, self.patience)
        except DBAPIError as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            found = [
                blockers.find_holders(there, schema, writers=schema == fenced)
                for schema in (fenced, opened)
                if schema is not None
            ]
            who = ", ".join(filter(None, map(blockers.describe, found))) or "open or prepared transactions"
            why = f"its tables were in use for {self.patience:g} s by {who}; nothing was changed"
            raise ProvisioningError(self.key, _STEP, why) from error


def _at(tenant: Tenant, place: Tenant) -> Tenant:
    """Return *tenant* as it will be with the tables of *place*."""
    return replace(tenant, placement=place.placement, isolation=place.isolation)


def _steps(tenant: Tenant, other: Tenant) -> tuple[str, ...]:
    ours, theirs = (f"{each.schema!r} in the database {each.placement.database!r}" for each in (tenant, other))
    return (
        f"refuse writes to the tables in the schema {ours}",
        f"give {tenant.key!r} the tables in the schema {theirs}",
        f"give {other.key!r} its former tables",
    )
