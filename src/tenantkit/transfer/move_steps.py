"""The steps of a move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from time import monotonic
from typing import TypeAlias

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
from tenantkit.postgres.replication import Changes, FollowError, find_unfollowed, following, read_shapes
from tenantkit.registry import store, swaps
from tenantkit.registry.revisions import has_revisions, read_heads
from tenantkit.runs.claims import claim, claiming
from tenantkit.status import WRITABLE
from tenantkit.tenant import Tenant
from tenantkit.transfer import catalog
from tenantkit.transfer.building import FileBuilder
from tenantkit.transfer.completeness import require_complete
from tenantkit.transfer.following import Follower
from tenantkit.transfer.loading import Loader, in_transaction
from tenantkit.transfer.move_plan import STEP, Plan, Planner, find_copy
from tenantkit.transfer.source import Source, read_manifest, reading
from tenantkit.transfer.streaming import Stream, describe, stream

PAUSE = 10.0
"""Seconds for which writes may be refused while the last changes are applied."""
_Load: TypeAlias = "Callable[[Loader, Connection], object]"


@dataclass(slots=True)
class Mover:
    """Moves a tenant. The caller holds its lock."""

    planner: Planner
    _: KW_ONLY
    patience: float
    max_pause: float | None
    progress: Callable[[str, int, int], object] | None
    rows: int | None = field(default=None, init=False)
    """The number of rows that were copied."""
    stopped: float | None = field(default=None, init=False)
    """The number of seconds for which writes were refused."""
    _made: Tenant | None = field(default=None, init=False)
    _since: float | None = field(default=None, init=False)
    _cleanup: ExitStack = field(default_factory=ExitStack, init=False)
    """What need not be done while writes are refused."""

    def run(self, plan: Plan, order: Order) -> Swap:
        """Move the tenant; after an error, it is served as before.

        :raises ProvisioningError: if it cannot be moved, or a step failed.
        """
        with ExitStack() as self._cleanup:
            return self._run(plan, order)

    def _run(self, plan: Plan, order: Order) -> Swap:
        if not plan.is_swapping:
            for obstacle in self.planner.obstacles(plan, order):
                raise ProvisioningError(self._key, STEP, obstacle)
        try:
            if plan.is_swapping and plan.copy is not None:
                copy = plan.copy
            else:
                copy = self._make(plan, order) if plan.home is None else self._fill_again(plan, plan.home)
            swapping = replace(self._swapping(copy), is_closed=plan.stopped_by is None and not plan.is_swapping)
            swapped = swapping.run(plan.tenant, copy)
        except (Exception, KeyboardInterrupt) as error:
            is_as_before = False
            with suppress(SQLAlchemyError, TenantkitError):
                is_as_before = self._give_up(plan.tenant)
            if not is_as_before:
                error.add_note("The tenant may refuse writes until this is repeated, or 'tenantkit doctor --repair'.")
            raise
        self.stopped = None if self._since is None else monotonic() - self._since
        return swapped

    def _make(self, plan: Plan, order: Order) -> Tenant:
        """Create the copy, with the rows; its completion begins the swap."""
        tenant = plan.tenant
        with reading(self._directory, tenant) as source:
            builder = FileBuilder(self._directory, read_manifest(self._directory, source).heads)

        def fill(there: Connection, copy: Tenant) -> None:
            self._made = copy
            self._send(there, plan, copy, Loader.load_in_steps, is_former=True)

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

    def _fill_again(self, plan: Plan, home: Tenant) -> Tenant:
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
            self._send(there, plan, home, load, is_former=not is_former)
        with self._connection.begin():
            swaps.begin(self._connection, plan.tenant.id, home.id)
        return home

    def _send(self, there: Connection, plan: Plan, copy: Tenant, load: _Load, *, is_former: bool) -> None:
        """Give the tables of the *copy* the rows of the tenant, whose tables refuse writes at the end."""
        tenant = plan.tenant
        try:
            if plan.stopped_by is None:
                self._send_and_follow(there, tenant, copy, load, is_former=is_former)
            else:
                self._close(tenant, copy, is_former=is_former)
                self._fill(there, tenant, copy, load)
        except (BackupError, FollowError) as error:
            raise ProvisioningError(self._key, STEP, getattr(error, "reason", str(error))) from error
        self._require_time()

    def _send_and_follow(
        self, there: Connection, tenant: Tenant, copy: Tenant, load: _Load, *, is_former: bool
    ) -> None:
        engine = self._directory.databases.engine(tenant.placement.database)
        [target] = self._directory.isolations.of(copy).targets([copy])
        with connected(self._directory.databases, tenant.placement.database, self._connection) as here, here.begin():
            shapes = read_shapes(here, tenant.schema)
            found = catalog.read_tables(here, tenant.schema)
            tables = [name for name, each in found.items() if not each.is_partitioned]
            for reason in find_unfollowed(here, tenant.schema, tables):  # updates of such a table would fail
                raise FollowError(f"{reason}, since the move was planned; try again")
        name = f"{tenant.registry.replace('-', '')[:12]}_{tenant.id}"
        with self.planner.explained(tenant):
            changes = self._cleanup.enter_context(following(engine, name, tenant.schema, tables, shapes))
        follower = Follower(changes, there, target, subject=self._key, left=self._require_time)
        with (
            claiming(changes.connection, tenant.schema, shared=True) as is_free,
            claiming(there, copy.schema, shared=True) as is_copy_free,
        ):
            if not (is_free and is_copy_free):
                raise FollowError("a migration is at work on its tables; wait until it ends")
            self._require_openable(there, tenant, copy)
            with self.planner.explained(tenant):
                changes.start(self.patience)
            sent = self._fill(there, tenant, copy, load, changes)
            follower.catch_up()
            if sent.filled_views:
                in_transaction(there, Loader(sent, target, None, None, None).refresh_views)
                follower.catch_up()
        self.max_pause = PAUSE if self.max_pause is None else self.max_pause
        self._close(tenant, copy, is_former=is_former)
        follower.finish()
        self._copy_sequences(changes.connection, there, tenant, copy, sent)

    def _require_openable(self, there: Connection, tenant: Tenant, copy: Tenant) -> None:
        """Raise unless the tenant can be served from the tables of the *copy*."""
        with self._connection.begin(), nullcontext() if there is self._connection else there.begin():
            for obstacle in self.planner.swaps.to_open(there, tenant, copy):
                raise ProvisioningError(self._key, STEP, obstacle)

    def _copy_sequences(self, here: Connection, there: Connection, tenant: Tenant, copy: Tenant, sent: Stream) -> None:
        """Give the sequences of the *copy* their states, if the revisions are those of what was *sent*."""
        with here.begin():
            if has_revisions(here, tenant) and read_heads(here, tenant)[0] != sent.manifest.heads:
                raise FollowError("it is at other revisions than before")
            require_complete(Source(here, tenant, None, None, None))  # large objects, or partitions elsewhere
            sequences = catalog.read_states(here, tenant.schema, [each.name for each in sent.sequences])
        with there.begin():
            catalog.set_sequences(there, copy.schema, sequences)

    def _close(self, tenant: Tenant, copy: Tenant, *, is_former: bool) -> None:
        """Refuse writes to the tables of the tenant."""

        def work(there: Connection) -> None:
            now = store.lock(self._connection, self._directory.isolations, self._key)
            if (now.id, now.placement) != (tenant.id, tenant.placement) or now.status not in WRITABLE:
                raise ProvisioningError(self._key, STEP, f"it is {now.status} now, or in another place")
            self._swapping(copy).close(there, now, copy, is_former=is_former)

        self._since = monotonic()  # what fails from now on takes the fence away
        with self.planner.explained(tenant):
            self._step(tenant, work)
        self._since = monotonic()

    def _fill(
        self, there: Connection, tenant: Tenant, copy: Tenant, load: _Load, changes: Changes | None = None
    ) -> Stream:
        """Send the rows of the tenant to the tables of its copy, and compare them there; *changes* follow them."""
        [target] = self._directory.isolations.of(copy).targets([copy])
        with reading(self._directory, tenant) as source:
            if changes is not None:
                changes.skip(source.connection)
            sent = stream(self._directory, source)
            load(Loader(sent, target, None, None, self._report), there)
            with there.begin():
                heads = read_heads(there, copy)[0] if has_revisions(there, copy) else None
            if heads != sent.manifest.heads:
                why = f"it and {copy.key!r} are not at the same revisions; migrate both first"
                raise ProvisioningError(self._key, STEP, why)
            if differences := sent.find_differences(there, copy):
                raise ProvisioningError(self._key, STEP, describe(differences))
            self.rows = sum(sent.rows.values())
        return sent

    def _report(self, table: str, number: int, total: int) -> None:
        self._require_time()
        if self.progress is not None:
            self.progress(table, number, total)

    def _require_time(self) -> float | None:
        """Return the seconds for which writes may still be refused, if they are limited; raise if there are none."""
        if self.max_pause is None or self._since is None:
            return None
        if (left := self._since + self.max_pause - monotonic()) < 0:
            why = f"writes were refused for {self.max_pause:g} s, and the changes are not complete"
            raise ProvisioningError(self._key, STEP, why)
        return left

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
