"""The creation of a tenant whose rows are those of an origin."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Connection

from tenantkit.deployment import Deployment
from tenantkit.isolation.target import MigrationTarget
from tenantkit.lifecycle.builders import CheckedBuilder
from tenantkit.lifecycle.create import FirstRows, create
from tenantkit.lifecycle.order import Order
from tenantkit.tenant import Tenant
from tenantkit.transfer.building import FileBuilder
from tenantkit.transfer.common_tables import loaded_apart, restore_rows
from tenantkit.transfer.loading import Loader
from tenantkit.transfer.origin import Origin

IN_ONE_TRANSACTION = 50_000
"""Number of rows up to which a tenant is filled in one transaction.

Until it ends, the shared tables to which foreign keys point can be read, and referred to, but not changed.
"""

Progress = Callable[[str, int, int], object]
"""Called before each table with its name, its number, and the number of tables."""


def create_filled(
    tenancy: Deployment,
    connection: Connection,
    order: Order,
    origin: Origin,
    *,
    in_steps: bool = False,
    at_end: Callable[[Tenant], object] | None = None,
    progress: Progress | None,
) -> tuple[Tenant, dict[str, int]]:
    """Create the tenant of *order* with the rows of *origin*, migrated to the newest revision.

    Also returns the number of rows of each table that were loaded. After a failure or a kill, the same call creates the
    tenant.

    :param in_steps: use several transactions however few the rows are.
    :param at_end: as `FirstRows` has it.
    :raises TenantExistsError: if the key is taken, or another process is creating it.
    :raises ProvisioningError: if a step failed.
    """
    filling = _Filling(tenancy, origin, progress)
    shares_tables = tenancy.isolations.for_new(order.new_tenant()).shares_tables
    is_large = in_steps or sum(origin.rows.values()) > IN_ONE_TRANSACTION
    with tenancy.lookups.forgetting(order.key):
        tenant = create(
            tenancy,
            connection,
            order,
            build=CheckedBuilder(tenancy, filling.builder),
            rows=FirstRows(
                filling.insert if shares_tables else filling.fill,
                None if shares_tables else filling.fill_in_steps,
                takes_steps=is_large and not shares_tables,
                around=filling.load_apart if shares_tables else None,
                step="loading the rows",
                at_end=at_end,
            ),
        )
    return tenant, filling.taken


@dataclass(frozen=True)
class _Filling:
    """Fills the tables of a new tenant."""

    tenancy: Deployment
    origin: Origin
    progress: Progress | None
    taken: dict[str, int] = field(default_factory=dict[str, int])

    @cached_property
    def builder(self) -> FileBuilder:
        return FileBuilder(self.tenancy, self.origin.manifest.heads)

    def fill(self, there: Connection, tenant: Tenant) -> None:
        """Load the rows, and migrate them, in the current transaction."""
        target, loader = self._loader(tenant)
        loader.load(there)
        loader.refresh_views(there)
        loader.leave(there)
        self.builder.migrate(there, target)

    def fill_in_steps(self, there: Connection, tenant: Tenant) -> None:
        """Do so in several transactions, none of which locks shared tables for long."""
        target, loader = self._loader(tenant)
        loader.load_in_steps(there)
        self.builder.migrate_in_steps(there, target)

    def load_apart(self, there: Connection, tenant: Tenant) -> AbstractContextManager[None]:
        """Load the rows into a schema of their own, where `insert` finds them."""
        _, loader = self._loader(tenant)
        return loaded_apart(self.builder, there, tenant, loader)

    def insert(self, there: Connection, tenant: Tenant) -> None:
        """Insert these into common tables, in the current transaction."""
        _, loader = self._loader(tenant)
        restore_rows(there, tenant, loader)

    def _loader(self, tenant: Tenant) -> tuple[MigrationTarget, Loader]:
        isolation = self.tenancy.isolations.of(tenant)
        [target] = isolation.targets([tenant])
        value = isolation.bind(tenant).value
        column = None if value is None else self.tenancy.isolations.row_column()
        value = None if value is None else str(value)
        return target, Loader(self.origin, target, column, value, self.progress, taken=self.taken)
