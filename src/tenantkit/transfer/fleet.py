"""Backups of many tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection
from os import PathLike
from pathlib import Path

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.arguments import FUNCTION, PATH, TEXTS, one_of, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import BackupError, TenantkitError
from tenantkit.migrations.planning.selection import Selection
from tenantkit.postgres.errors import reason
from tenantkit.registry import store
from tenantkit.status import COMPLETE
from tenantkit.transfer.backups import backup
from tenantkit.transfer.compression import Compression, choose
from tenantkit.transfer.results import Backup, FleetBackup


def backup_all(
    tenancy: Deployment,
    folder: str | PathLike[str],
    *,
    tenants: Collection[str] | None = None,
    compression: Compression | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> FleetBackup:
    """Back up each tenant to a file ``<key>.tenant`` in *folder*, which is made if need be, one after another.

    Each file is a snapshot of its own. A tenant that fails does not stop the others. Tenants that are being created or
    dropped are left out.

    :param tenants: the keys of some tenants; by default all.
    :param compression: as for `backup`.
    :param progress: called before each tenant with its key, its number, and the number of tenants.
    :raises TenantNotFoundError: if one of *tenants* does not exist, or has no complete tables.
    :raises BackupError: if the folder cannot be made.
    """
    require(
        tenancy=(tenancy, TENANCY),
        folder=(folder, PATH),
        tenants=(tenants, optional(TEXTS)),
        compression=(compression, optional(one_of("zstd", "none"))),
        progress=(progress, optional(FUNCTION)),
    )
    chosen, place = choose(compression), Path(folder)
    with tenancy.engine.connect() as connection:
        found = store.find(connection, status=COMPLETE)
    fleet = Selection(tenants=tenants).choose(found, {tenant.id for tenant in found})
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupError(str(place), f"it cannot be made: {error.strerror}", "Give another folder.") from error
    made: list[Backup] = []
    failures: dict[str, str] = {}
    for number, tenant in enumerate(fleet, 1):
        if progress is not None:
            progress(tenant.key, number, len(fleet))
        try:
            made.append(backup(tenancy, tenant.key, place / f"{tenant.key}.tenant", compression=chosen))
        except (TenantkitError, SQLAlchemyError, psycopg.Error) as error:
            failures[tenant.key] = reason(error)
    return FleetBackup(made=tuple(made), failures=failures)
