"""The backup of one tenant: its rows in one snapshot, and what else it takes to restore it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from os import PathLike
from pathlib import Path

from tenantkit.arguments import FUNCTION, PATH, one_of, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.registry import store
from tenantkit.registry.history import Event
from tenantkit.tenant import KEY
from tenantkit.transfer import catalog
from tenantkit.transfer import compression as zstd
from tenantkit.transfer.completeness import require_complete
from tenantkit.transfer.compression import Compression
from tenantkit.transfer.copying import copy_out
from tenantkit.transfer.file import BackupWriter, reading, writing
from tenantkit.transfer.manifest import Contents
from tenantkit.transfer.recording import record
from tenantkit.transfer.results import Backup, describe
from tenantkit.transfer.source import read_manifest, require_readable
from tenantkit.transfer.source import reading as reading_rows

Progress = Callable[[str, int, int], object]
"""Called before each table with its name, its number, and the number of tables."""

PROGRESS = optional(FUNCTION)


def backup(
    tenancy: Deployment,
    key: str,
    path: str | PathLike[str],
    *,
    compression: Compression | None = None,
    progress: Progress | None = None,
) -> Backup:
    """Write the file *path* with the rows of a tenant in one snapshot, and with what else it takes to restore it.

    Requests go on meanwhile; migrations of the tenant wait. The file has the mode 0600, and it is complete or does not
    exist. Of row isolation, it has the rows of this tenant only.

    :param compression: ``zstd`` or ``none``; by default zstd, where its library is installed.
    :param progress: called before each table with its name, its number, and the number of tables.
    :raises TenantNotFoundError: if there is no such tenant.
    :raises TenantUnavailableError: if it is being created or dropped, or this version of tenantkit cannot reach it.
    :raises BackupError: if a file could not hold all of it, or cannot be written; or the tenant is dropped meanwhile.
    """
    require(
        tenancy=(tenancy, TENANCY),
        key=(key, KEY),
        path=(path, PATH),
        compression=(compression, optional(one_of("zstd", "none"))),
        progress=(progress, PROGRESS),
    )
    chosen, file = zstd.choose(compression), Path(path)
    with tenancy.engine.connect() as connection:
        tenant = store.get(connection, key)
    require_readable(tenancy, tenant)
    with writing(file, chosen) as stream, reading_rows(tenancy, tenant) as source:
        require_complete(source)
        manifest = read_manifest(tenancy, source)
        writer = BackupWriter(stream, manifest)
        for number, table in enumerate(manifest.tables, 1):
            if progress is not None:
                progress(table.name, number, len(manifest.tables))
            with closing(copy_out(source.connection, source.rows_of(table))) as blocks:
                writer.add(table, blocks)
        contents = writer.end(
            Contents(
                references=tuple(source.references()),
                filled_views=tuple(catalog.read_filled_views(source.connection, source.schema)),
                sequences=tuple(source.sequences()),  # last: no snapshot has their states
            )
        )
    made = describe(file, chosen, manifest, contents)
    details = {"file": made.path.name, "rows": made.rows, "bytes": made.size}
    record(tenancy, source.tenant, Event.BACKED_UP, details)
    return made


def verify(path: str | PathLike[str]) -> Backup:
    """Read the file *path* to its end, and return what it says of itself.

    :raises BackupError: if it is not a complete and unchanged backup.
    :raises ConfigurationError: if it is compressed, and the library is not installed.
    """
    require(path=(path, PATH))
    with reading(Path(path)) as file:
        return describe(file.path, file.compression, file.manifest, file.contents)
