"""What a move will do, and what prevents it, before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import connected, split_key
from tenantkit.databases.reach import unreachable
from tenantkit.deployment import Deployment
from tenantkit.exceptions import BackupError, ProvisioningError, TenantNotFoundError
from tenantkit.isolation import fence
from tenantkit.isolation.base import administered_from
from tenantkit.lifecycle.operation import BEING_CREATED, explained
from tenantkit.lifecycle.order import Order, check_order
from tenantkit.lifecycle.swap_obstacles import Obstacles
from tenantkit.naming import first_lines
from tenantkit.postgres import replication
from tenantkit.registry import store, swaps
from tenantkit.status import WRITABLE, Status
from tenantkit.tenant import Tenant
from tenantkit.transfer import catalog
from tenantkit.transfer.completeness import require_complete
from tenantkit.transfer.source import read_manifest, reading

SUFFIX = "-move"
"""The end of the key of the tenant with the other home."""
STEP = "moving"
NO_FORMER_HOME = "it has no former home: it was not moved, or the move is finished"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is there, and what is to be done."""

    tenant: Tenant
    copy: Tenant | None
    """The tenant with the other home, as far as there is one."""
    order: Order | None
    """What creates it; ``None`` if the tenant is where it is to be."""
    is_swapping: bool
    """Whether the two are being swapped: the rows are complete."""
    stopped_by: tuple[str, ...] | None = None
    """Why changes cannot be followed, so that writes stop while the rows are copied; nothing if that was asked for, and
    ``None`` if changes are followed."""

    @property
    def home(self) -> Tenant | None:
        """The copy if it is complete: its tables, which are the former home, are to be filled."""
        is_complete = self.copy is not None and self.copy.status not in {*BEING_CREATED, Status.DROPPING}
        return self.copy if is_complete else None

    @property
    def steps(self) -> tuple[str, ...]:
        """Descriptions of the steps."""
        if (order := self.order) is None:
            return ()
        where = f"in the database {order.wanted!r}, with isolation {str(order.isolation)!r}"
        here = f"in the database {self.tenant.placement.database!r}"
        if self.stopped_by is None:
            filling = (
                "copy the rows, and compare them with checksums, while reads and writes go on",
                f"follow their changes by logical replication; refuse writes to the tables {here} for the last ones",
            )
        else:
            why = f", as changes cannot be followed: {first_lines(self.stopped_by)}" if self.stopped_by else ""
            filling = (
                f"refuse writes to the tables {here}, while reads go on{why}",
                "copy the rows, and compare them with checksums",
            )
        return (
            f"use the former tables {where}" if self.home else f"make tables at the same revision {where}",
            *filling,
            f"serve {self.tenant.key!r} from there; {order.key!r} gets its former tables, which refuse writes",
        )


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the move of the tenant *key*. *connection* is to the main database, without a transaction."""

    directory: Deployment
    connection: Connection
    key: str
    _: KW_ONLY
    back: bool
    stop_writes: bool = False

    def plan(self, tenant: Tenant, database: str | None, isolation: str | None) -> Plan:
        """Return the plan.

        :raises ConfigurationError: if the arguments cannot be used.
        :raises ProvisioningError: if there is no former home to move back to.
        """
        with self.connection.begin():
            tenant = store.get_again(tenant, self.connection, self.key)
            copy = find_copy(self.connection, self.key)
            partner = swaps.find_partner(self.connection, tenant.id)
        if self.back:
            if copy is None:
                raise ProvisioningError(self.key, STEP, NO_FORMER_HOME)
            database, isolation = split_key(copy.placement.database)[0], str(copy.isolation)
        order = check_order(
            self.directory,
            self.key + SUFFIX,
            name=tenant.name,
            domains=(),
            attributes=tenant.attributes,
            database=database or split_key(tenant.placement.database)[0],
            isolation=isolation or str(tenant.isolation),
            row_value=None,
            policy=None,
            reserved=self.directory.reserved_keys,
        )
        order = replace(order, becomes=Status.SUSPENDED, placed_as=tenant.key)
        is_there = self.directory.isolations.fits(tenant, isolation=order.isolation, database=order.wanted)
        is_swapping = copy is not None and copy.id == partner
        if is_there and not (is_swapping or self.back):
            return Plan(tenant, copy, None, is_swapping)
        stopped_by = () if is_swapping or self.stop_writes else tuple(self._find_why_to_stop(tenant, order)) or None
        return Plan(tenant, copy, order, is_swapping, stopped_by)

    def _find_why_to_stop(self, tenant: Tenant, order: Order) -> Iterator[str]:
        """Yield why changes cannot be followed from one home to the other."""
        new = order.new_tenant()
        isolation = self.directory.isolations.for_new(new)

        def find_here(there: Connection) -> Iterator[str]:
            yield from replication.find_obstacles(there)
            yield from replication.find_unfollowed(there, tenant.schema, catalog.read_tables(there, tenant.schema))

        yield from self._at(tenant.placement.database, find_here)
        yield from self._at(administered_from(isolation, isolation.place(new)), replication.find_obstacles_to_apply)

    def obstacles(self, plan: Plan, order: Order) -> Iterator[str]:
        """Yield what prevents the move."""
        tenant, home, new = plan.tenant, plan.home, order.new_tenant()
        isolation = self.directory.isolations.for_new(new)
        if tenant.status not in WRITABLE:
            yield f"it is {tenant.status}, and can be moved while it is served or in maintenance: resume it first"
            return
        if self.directory.isolations.of(tenant).shares_tables or isolation.shares_tables:
            yield "it shares, or would share, tables with other tenants: back it up, and restore it in its new home"
            return
        yield from self._at(tenant.placement.database, lambda there: self.swaps.to_fence(there, tenant, home or tenant))
        if home is not None:
            yield from self._obstacles_to_fill(tenant, home, order)
        elif plan.copy is None:
            place = isolation.place(new)
            yield from self._at(
                administered_from(isolation, place),
                lambda there: filter(None, [isolation.obstacle_to_create(there, place)]),
            )
        try:
            with reading(self.directory, tenant) as source:
                require_complete(source)
                read_manifest(self.directory, source)
        except BackupError as error:
            yield error.reason

    def _obstacles_to_fill(self, tenant: Tenant, home: Tenant, order: Order) -> Iterator[str]:
        if home.status is not Status.SUSPENDED or not is_former_home(self.directory, self.connection, tenant, home):
            yield (
                f"there is a tenant {home.key!r} that is not the former home of this one: if its rows are not needed, "
                f"'tenantkit drop {home.key}' first"
            )
        elif not self.directory.isolations.fits(home, isolation=order.isolation, database=order.wanted):
            yield f"its former home is elsewhere: finish that move by 'tenantkit move {self.key} --finish'"
        else:
            yield from self._at(home.placement.database, lambda there: self.swaps.to_open(there, tenant, home))

    def _at(self, database: str, find: Callable[[Connection], Iterable[str]]) -> list[str]:
        """Return what *find* finds in a database, whose transaction is rolled back."""
        try:
            with self.connection.begin() as transaction:
                with connected(self.directory.databases, database, self.connection) as there:
                    found = [*find(there)]
                transaction.rollback()
        except DBAPIError as error:
            if (problem := unreachable(database, error)) is None:
                raise
            return [problem]
        return found

    @property
    def swaps(self) -> Obstacles:
        """The obstacles to the swap of the two tenants."""
        return Obstacles(self.directory, self.connection, back=self.back, any_tenant=False)

    def explained(self, at: Tenant) -> AbstractContextManager[None]:
        """Turn errors of the database of either tenant into such of the move."""
        return explained(self.directory, replace(at, key=self.key), STEP)


def find_copy(connection: Connection, key: str) -> Tenant | None:
    """Return the tenant with the other home of the tenant *key*, if there is one."""
    try:
        return store.get(connection, key + SUFFIX)
    except TenantNotFoundError:
        return None


def is_former_home(directory: Deployment, connection: Connection, tenant: Tenant, copy: Tenant) -> bool:
    """Return whether *copy* has tables that *tenant* had, and that refuse writes.

    Its key is no proof: the tenant that had the key of *tenant* may have another one now.
    """
    with connection.begin():
        if not swaps.is_copy(connection, copy.id, tenant.id):
            return False
    with (
        explained(directory, copy, STEP),
        connected(directory.databases, copy.placement.database, connection) as there,
        there.begin(),
    ):
        return copy.schema in fence.fenced_schemas(there)
