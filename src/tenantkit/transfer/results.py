"""Results of backups and restores: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantkit.tenant import Tenant
    from tenantkit.transfer.manifest import Contents, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A complete file with the backup of a tenant."""

    path: Path
    size: int
    """The size of the file, in bytes."""
    compression: str
    """``zstd`` or ``none``."""
    created_at: datetime
    tenantkit: str
    """The version of tenantkit that wrote it."""
    postgres: str
    """The version of the server that had the tenant."""
    key: str
    name: str
    isolation: str
    revision: str | None
    """The revision of the tables; ``None`` without migrations."""
    tables: Mapping[str, int]
    """The number of rows of each table."""

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(self.tables.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetBackup:
    """The backups of many tenants."""

    made: tuple[Backup, ...]
    failures: Mapping[str, str]
    """The reason for each tenant without a file, by its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A folder with the rows of a tenant, for other programs."""

    path: Path
    format: str
    """``csv`` or ``parquet``."""
    key: str
    revision: str | None
    """The revision of the tables; ``None`` without migrations."""
    size: int
    """The size of all files, in bytes."""
    tables: Mapping[str, int]
    """The number of rows of each table."""

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(self.tables.values())


def describe(path: Path, compression: str, manifest: Manifest, contents: Contents) -> Backup:
    """Return what a complete file says of itself."""
    return Backup(
        path=path,
        size=path.stat().st_size,
        compression=compression,
        created_at=datetime.fromisoformat(manifest.created_at),
        tenantkit=manifest.tenantkit,
        postgres=manifest.postgres,
        key=manifest.key,
        name=str(manifest.tenant["name"]),
        isolation=str(manifest.tenant["isolation"]),
        revision=manifest.revision,
        tables={each.table: each.rows for each in contents.tables},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore would do."""

    key: str
    """The key of the tenant that would be created."""
    is_beside: bool
    """Whether the tenant of the backup exists, so that the new one is a suspended copy of it."""
    living: str | None
    """The present key of the tenant of the backup, if that exists."""
    isolation: str
    database: str | None
    """The database that it would be created in; ``None`` if a placement policy chooses it."""
    domains: tuple[str, ...]
    domains_left_out: tuple[str, ...]
    """Domains of the backup that other tenants have."""
    from_revision: str | None
    to_revision: str | None
    rows: int
    missing: tuple[MissingRows, ...] = ()
    """Shared rows that the restored ones refer to, and that do not exist: the restore is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRows:
    """Rows of a shared table that do not exist, and to which rows of a backup refer."""

    table: str
    columns: tuple[str, ...]
    shared_table: str
    values: tuple[tuple[str, ...], ...]
    """The values of the columns that are referred to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDifference:
    """The rows of one table in a tenant and in its restored copy."""

    table: str
    live: int | None
    """The number of rows that the tenant has now; ``None`` if it does not have the table."""
    restored: int | None
    is_equal: bool
    """Whether the rows are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A tenant that was created from a backup."""

    tenant: Tenant
    backup: Backup
    plan: RestorePlan
    differences: tuple[TableDifference, ...] | None = None
    """How its rows differ from those of the living tenant; ``None`` if there is none, or they could not be read."""

    @property
    def changed(self) -> tuple[TableDifference, ...]:
        """The tables whose rows differ."""
        return tuple(each for each in self.differences or () if not each.is_equal)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonePlan:
    """What a clone would do."""

    source: str
    """The key of the tenant that would be cloned."""
    key: str
    """The key of the tenant that would be created."""
    name: str
    isolation: str
    database: str | None
    """The database that it would be created in; ``None`` if a placement policy chooses it."""
    from_revision: str | None
    to_revision: str | None
    rows: Mapping[str, int]
    """The number of rows of each table now, before any is left out."""
    transformed: tuple[str, ...]
    """The tables, and the columns as ``table.column``, that have functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloned:
    """A tenant that was created from another one."""

    tenant: Tenant
    plan: ClonePlan
    rows: Mapping[str, int]
    """The number of rows of each table in the clone, when they were loaded."""


def record_of(tenant: Tenant) -> dict[str, Any]:
    """Return the registry's record of *tenant*, as a file has it."""
    return {
        "id": tenant.id,
        "key": tenant.key,
        "name": tenant.name,
        "status": str(tenant.status),
        "isolation": str(tenant.isolation),
        "database": tenant.placement.database,
        "schema": tenant.schema,
        "row_value": tenant.row_value,
        "registry": tenant.registry,
        "domains": list(tenant.domains),
        "attributes": tenant.attributes,
        "created_at": tenant.created_at.isoformat(),
    }
