"""The steps of a move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from time import monotonic

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.databases.base import connected
from tenantkit.deployment import Deployment
from tenantkit.exceptions import BackupError, ProvisioningError, TenantkitError
from tenantkit.isolation import fence
from tenantkit.lifecycle.builders import CheckedBuilder
from tenantkit.lifecycle.create import FirstRows, create
from tenantkit.lifecycle.doctor import remove_abandoned
from tenantkit.lifecycle.drop import drop
from tenantkit.lifecycle.operation import BEING_CREATED, Operation
from tenantkit.lifecycle.order import Order
from tenantkit.lifecycle.swapping import Swap, Swapping
from tenantkit.registry import store, swaps
from tenantkit.registry.revisions import has_revisions, read_heads
from tenantkit.runs.claims import claim
from tenantkit.status import WRITABLE
from tenantkit.tenant import Tenant
from tenantkit.transfer.building import FileBuilder
from tenantkit.transfer.loading import Loader, in_transaction
from tenantkit.transfer.move_plan import STEP, Plan, Planner, find_copy
from tenantkit.transfer.source import read_manifest, reading
from tenantkit.transfer.streaming import describe, stream


@dataclass(slots=True)
class Mover:
    """Moves a tenant. The caller holds its lock."""

    planner: Planner
    _: KW_ONLY
    patience: float
    progress: Callable[[str, int, int], object] | None
    rows: int | None = field(default=None, init=False)
    """The number of rows that were copied."""
    stopped: float | None = field(default=None, init=False)
    """The number of seconds for which writes were refused."""
    _made: Tenant | None = field(default=None, init=False)
    _since: float | None = field(default=None, init=False)

    def run(self, plan: Plan, order: Order) -> Swap:
        """Move the tenant; after an error, it is served as before.

        :raises ProvisioningError: if it cannot be moved, or a step failed.
        """
        if not plan.is_swapping:
            for obstacle in [*self.planner.obstacles(plan, order)]:
                raise ProvisioningError(self._key, STEP, obstacle)
        try:
            if plan.is_swapping and plan.copy is not None:
                copy = plan.copy
            else:
                copy = self._make(plan.tenant, order) if plan.home is None else self._fill_again(plan.tenant, plan.home)
            swapped = self._swapping(copy).run(plan.tenant, copy)
        except (Exception, KeyboardInterrupt) as error:
            is_as_before = False
            with suppress(SQLAlchemyError, TenantkitError):
                is_as_before = self._give_up(plan.tenant)
            if not is_as_before:
                error.add_note("The tenant may refuse writes until this is repeated, or 'tenantkit doctor --repair'.")
            raise
        self.stopped = None if self._since is None else monotonic() - self._since
        return swapped

    def _make(self, tenant: Tenant, order: Order) -> Tenant:
        """Create the copy, with the rows; its completion begins the swap."""
        with reading(self._directory, tenant) as source:
            builder = FileBuilder(self._directory, read_manifest(self._directory, source).heads)

        def fill(there: Connection, copy: Tenant) -> None:
            self._made = copy
            self._close(tenant, copy, is_former=True)
            self._fill(there, tenant, copy, Loader.load_in_steps)

        rows = FirstRows(
            lambda _there, _tenant: None,
            fill,
            takes_steps=True,
            step="copying the rows",
            at_end=lambda copy: swaps.begin(self._connection, tenant.id, copy.id),
        )
        try:
            build = CheckedBuilder(self._directory, builder)
            return create(self._directory, self._connection, order, build=build, rows=rows)
        except ProvisioningError as error:
            if isinstance(error.__cause__, ProvisioningError):
                raise error.__cause__ from None  # of the tenant, not of its copy
            raise

    def _fill_again(self, tenant: Tenant, home: Tenant) -> Tenant:
        """Replace the rows of the former home, in one transaction: it is complete at any time."""

        def load(loader: Loader, there: Connection) -> None:
            def work(there: Connection) -> None:
                if not claim(there, home.schema):
                    raise ProvisioningError(self._key, STEP, f"a migration is at work on {home.key!r}; wait for it")
                loader.load(there)
                loader.refresh_views(there)

            in_transaction(there, work)

        databases = self._directory.databases
        with (
            self.planner.explained(home),
            connected(databases, home.placement.database, self._connection) as there,
        ):
            with there.begin():
                is_former = fence.is_former(there, home.schema)
            self._close(tenant, home, is_former=not is_former)
            self._fill(there, tenant, home, load)
        return home

    def _close(self, tenant: Tenant, copy: Tenant, *, is_former: bool) -> None:
        """Refuse writes to the tables of the tenant."""

        def work(there: Connection) -> None:
            now = store.lock(self._connection, self._directory.isolations, self._key)
            if (now.id, now.placement) != (tenant.id, tenant.placement) or now.status not in WRITABLE:
                raise ProvisioningError(self._key, STEP, f"it is {now.status} now, or in another place")
            self._swapping(copy).close(there, now, copy, is_former=is_former)

        with self.planner.explained(tenant):
            self._step(tenant, work)
        self._since = monotonic()

    def _fill(
        self, there: Connection, tenant: Tenant, copy: Tenant, load: Callable[[Loader, Connection], object]
    ) -> None:
        """Send the rows of the tenant to the tables of its copy, and compare them there."""
        [target] = self._directory.isolations.of(copy).targets([copy])
        try:
            with reading(self._directory, tenant) as source:
                sent = stream(self._directory, source)
                load(Loader(sent, target, None, None, self.progress), there)
                with there.begin():
                    heads = read_heads(there, copy)[0] if has_revisions(there, copy) else None
                if heads != sent.manifest.heads:
                    why = f"it and {copy.key!r} are not at the same revisions; migrate both first"
                    raise ProvisioningError(self._key, STEP, why)
                if differences := sent.find_differences(there, copy):
                    raise ProvisioningError(self._key, STEP, describe(differences))
                self.rows = sum(sent.rows.values())
        except BackupError as error:
            raise ProvisioningError(self._key, STEP, error.reason) from error

    def _give_up(self, known: Tenant) -> bool:
        """Let the tenant write to its tables, and remove the copy that was made for it; return whether that is done.

        It is not while they are being swapped: that is to be finished.
        """
        self._connection.rollback()
        with self._connection.begin():
            tenant, copy = store.get_by_id(self._connection, known.id), find_copy(self._connection, self._key)
            is_swapping = swaps.find_partner(self._connection, known.id) is not None
        if tenant is None or tenant.placement != known.placement or is_swapping:
            return not is_swapping
        if self._since is not None:
            work = replace(self._swapping(known), key=tenant.key)
            self._step(tenant, lambda there: work.open_tables(there, any_status=True))
        if copy is not None and copy.status in BEING_CREATED:
            remove_abandoned(self._directory, self._connection, copy.key)
        elif copy is not None and self._made is not None and copy.id == self._made.id:
            drop(self._directory, self._connection, copy.key)
        return True

    def _step(self, tenant: Tenant, work: Callable[[Connection], object]) -> None:
        Operation(self._directory.databases, self._connection, STEP).run(tenant.placement.database, work)

    def _swapping(self, copy: Tenant) -> Swapping:
        return Swapping(
            self._directory, self._connection, self._key, copy.key, back=self.planner.back, patience=self.patience
        )

    @property
    def _directory(self) -> Deployment:
        return self.planner.directory

    @property
    def _connection(self) -> Connection:
        return self.planner.connection

    @property
    def _key(self) -> str:
        return self.planner.key
