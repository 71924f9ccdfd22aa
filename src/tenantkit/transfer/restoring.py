"""The restore of a tenant from a file: the creation of a tenant whose rows are the file's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.arguments import FLAG, FUNCTION, NAME, PATH, one_of, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import TenantkitError
from tenantkit.registry import swaps
from tenantkit.tenant import KEY, Isolation, Tenant
from tenantkit.transfer.compare import compare
from tenantkit.transfer.file import BackupFile, reading
from tenantkit.transfer.filling import create_filled
from tenantkit.transfer.plan import Planned, plan, require_shared_rows
from tenantkit.transfer.results import Restored, RestorePlan, TableDifference, describe

logger = logging.getLogger(__name__)


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

        def mark_copy(copy: Tenant) -> None:
            if found.original is not None:
                swaps.mark_copy(connection, copy.id, found.original.id)

        tenant, _ = create_filled(tenancy, connection, found.order, file, at_end=mark_copy, progress=progress)
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
