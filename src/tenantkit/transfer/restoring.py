"""The restore of a tenant from a file: the creation of a tenant whose rows are the file's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.arguments import FLAG, FUNCTION, NAME, PATH, one_of, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import TenantkitError
from tenantkit.isolation.target import MigrationTarget
from tenantkit.lifecycle.builders import CheckedBuilder
from tenantkit.lifecycle.create import FirstRows, create
from tenantkit.tenant import KEY, Isolation, Tenant
from tenantkit.transfer.building import FileBuilder
from tenantkit.transfer.common_tables import loaded_apart, restore_rows
from tenantkit.transfer.compare import compare
from tenantkit.transfer.file import BackupFile, reading
from tenantkit.transfer.loading import Loader, in_transaction
from tenantkit.transfer.plan import Planned, plan, require_shared_rows
from tenantkit.transfer.results import Restored, RestorePlan, TableDifference, describe

logger = logging.getLogger(__name__)

IN_ONE_TRANSACTION = 50_000
"""Number of rows up to which a tenant is restored in one transaction.

Until it ends, the shared tables to which foreign keys point can be read, and referred to, but not changed.
"""


def restore(
    tenancy: Deployment,
    path: str | PathLike[str],
    *,
    key: str | None = None,
    isolation: str | None = None,
    database: str | None = None,
    domains: bool = True,
    suspended: bool = False,
    progress: Callable[[str, int, int], object] | None = None,
) -> Restored:
    """Create a tenant from the backup in the file *path*, and migrate it to the newest revision.

    No tenant that exists is changed. If the tenant of the backup exists, also under another key, the new one is a
    suspended copy beside it with the key ``<key>-restored``, and the result tells how the rows of the two differ. After
    a restore that failed or was killed, the same call restores the tenant.

    :param key: the new tenant's key, in place of that of the backup.
    :param isolation: ``schema``, ``database`` or ``row``, in place of that of the tenant that was backed up.
    :param database: the database to restore it in, or on whose server to.
    :param domains: give the tenant those of its domains that no other tenant has.
    :param suspended: leave the tenant suspended. One that was suspended, or to be dropped, when it was backed up is at
        any rate.
    :param progress: called before each table with its name, its number, and the number of tables.
    :raises BackupError: if the file is damaged or cannot be restored by this code, or shared rows are missing. Nothing
        was changed then.
    :raises TenantExistsError: if the key is taken, or another process is creating it.
    :raises ProvisioningError: if a step failed.
    :raises ConfigurationError: if an argument cannot be used.
    """
    require(tenancy=(tenancy, TENANCY), suspended=(suspended, FLAG), progress=(progress, optional(FUNCTION)))
    with _planned(tenancy, path, key, isolation, database, domains=domains, suspended=suspended) as (
        file,
        connection,
        found,
    ):
        require_shared_rows(file, found.plan)
        order = found.order
        filling = _Filling(tenancy, file, progress)
        shares_tables = tenancy.isolations.for_new(order.new_tenant()).shares_tables
        with tenancy.lookups.forgetting(order.key):
            tenant = create(
                tenancy,
                connection,
                order,
                build=CheckedBuilder(tenancy, filling.builder),
                rows=FirstRows(
                    filling.insert if shares_tables else filling.fill,
                    None if shares_tables else filling.fill_in_steps,
                    takes_steps=file.contents.rows > IN_ONE_TRANSACTION and not shares_tables,
                    around=filling.load_apart if shares_tables else None,
                    step="loading the rows",
                ),
            )
        return Restored(
            tenant=tenant,
            backup=describe(file.path, file.compression, file.manifest, file.contents),
            plan=found.plan,
            differences=None if found.living is None else _compare(tenancy, connection, found.living, tenant),
        )


def preview(
    tenancy: Deployment,
    path: str | PathLike[str],
    *,
    key: str | None = None,
    isolation: str | None = None,
    database: str | None = None,
    domains: bool = True,
) -> RestorePlan:
    """Return what `restore` would do with the same arguments, and change nothing.

    :raises BackupError: if the file is damaged, or cannot be restored by this code.
    :raises ConfigurationError: if an argument cannot be used.
    """
    require(tenancy=(tenancy, TENANCY))
    with _planned(tenancy, path, key, isolation, database, domains=domains) as (_, _, found):
        return found.plan


def _compare(
    tenancy: Deployment, connection: Connection, living: Tenant, restored: Tenant
) -> tuple[TableDifference, ...] | None:
    """Return the differences; ``None`` if they cannot be read: the restore has succeeded all the same."""
    try:
        return compare(tenancy, connection, living, restored)
    except (TenantkitError, DBAPIError):
        logger.warning(
            "The rows of %s could not be compared with those of %s.", restored.key, living.key, exc_info=True
        )
        return None


@contextmanager
def _planned(
    tenancy: Deployment,
    path: str | PathLike[str],
    key: str | None,
    isolation: str | None,
    database: str | None,
    *,
    domains: bool,
    suspended: bool = False,
) -> Generator[tuple[BackupFile, Connection, Planned]]:
    require(
        path=(path, PATH),
        key=(key, optional(KEY)),
        isolation=(isolation, optional(one_of(*Isolation))),
        database=(database, optional(NAME)),
        domains=(domains, FLAG),
    )
    with reading(Path(path)) as file, tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            found = plan(
                tenancy,
                connection,
                file,
                key=key,
                isolation=isolation,
                database=database,
                with_domains=domains,
                suspended=suspended,
            )
        yield file, connection, found


@dataclass(frozen=True)
class _Filling:
    """Fills the tables of a new tenant with the rows of a file."""

    tenancy: Deployment
    file: BackupFile
    progress: Callable[[str, int, int], object] | None

    @cached_property
    def builder(self) -> FileBuilder:
        return FileBuilder(self.tenancy, self.file.manifest.heads)

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
        for step in (
            loader.remove_keys_to_others,
            loader.load,
            loader.restore_unchecked_keys_to_others,
            loader.check_keys_to_others,
            loader.refresh_views,
        ):
            in_transaction(there, step)
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
        return target, Loader(self.file, target, column, None if value is None else str(value), self.progress)
