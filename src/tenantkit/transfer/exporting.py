"""The export of one tenant: a folder with a file of each table, which other programs read."""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from os import PathLike
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

from tenantkit.arguments import PATH, one_of, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.registry import store
from tenantkit.registry.history import Event
from tenantkit.tenant import KEY
from tenantkit.transfer import catalog, parquet
from tenantkit.transfer.backups import PROGRESS, Progress
from tenantkit.transfer.completeness import require_complete
from tenantkit.transfer.copying import copy_out
from tenantkit.transfer.file import making
from tenantkit.transfer.manifest import Manifest
from tenantkit.transfer.parquet import ExportedColumn
from tenantkit.transfer.recording import record
from tenantkit.transfer.results import Export
from tenantkit.transfer.source import Source, read_manifest, reading, require_readable

Format = Literal["csv", "parquet"]

CONTENTS = "export.json"
"""The file that says what the others are."""


def export(
    tenancy: Deployment,
    key: str,
    folder: str | PathLike[str],
    *,
    format: Format = "csv",  # noqa: A002 - the option's name
    progress: Progress | None = None,
) -> Export:
    """Write a new *folder* with the rows of a tenant in one snapshot, a file for each table, for other programs.

    ``export.json`` in it names the tenant, the tables, their files, and the columns with their types in PostgreSQL.
    Generated columns are included. Partitions are in the file of their table. Shared tables, views, and the tenant
    column of row isolation are left out.

    In CSV, as COPY writes it, NULL is an empty field, and an empty text is ``""``. In Parquet, the types of columns are
    boolean, integer, float, decimal (where numeric has a precision of at most 38 digits), date, timestamp in
    microseconds, binary, and for all others text as PostgreSQL writes it. A column with a value that its type does not
    have, such as ``NaN`` in a decimal, ``infinity`` in a date or a year of five digits, is text.

    Requests go on meanwhile; migrations of the tenant wait. The folder is complete, or it does not exist, and only the
    current user can read it.

    :param progress: called before each table with its name, its number, and the number of tables.
    :raises TenantNotFoundError: if there is no such tenant.
    :raises TenantUnavailableError: if it is being created or dropped, or this version of tenantkit cannot reach it.
    :raises BackupError: if files could not hold all of it, or the folder exists or cannot be written.
    :raises ConfigurationError: if the library for Parquet is not installed.
    """
    require(
        tenancy=(tenancy, TENANCY),
        key=(key, KEY),
        folder=(folder, PATH),
        format=(format, one_of("csv", "parquet")),
        progress=(progress, PROGRESS),
    )
    if format == "parquet":
        parquet.require_library()
    path = Path(folder)
    with tenancy.engine.connect() as connection:
        tenant = store.get(connection, key)
    require_readable(tenancy, tenant)
    with _writing(path) as part, reading(tenancy, tenant) as source:
        require_complete(source)
        manifest = read_manifest(tenancy, source)
        columns, tables = _read_columns(source), source.wholes
        files: list[dict[str, Any]] = []
        for number, table in enumerate(tables, 1):
            if progress is not None:
                progress(table.name, number, len(tables))
            file = f"{quote(table.name, safe=' ')}.{format}"
            with _create(part / file) as stream:
                rows, stored = _write_table(source, table.name, columns.get(table.name, ()), stream, format)
            files.append({"table": table.name, "file": file, "rows": rows, "columns": stored})
        with _create(part / CONTENTS) as stream:
            stream.write(_contents(manifest, format, files))
    made = Export(
        path=path,
        format=format,
        key=source.tenant.key,
        revision=manifest.revision,
        size=sum(file.stat().st_size for file in path.iterdir()),
        tables={each["table"]: each["rows"] for each in files},
    )
    record(tenancy, source.tenant, Event.EXPORTED, {"folder": path.name, "format": format, "rows": made.rows})
    return made


def _read_columns(source: Source) -> dict[str, list[ExportedColumn]]:
    """Return the columns of each table, without the tenant column."""
    without = source.column.name if source.column else None
    found: dict[str, list[ExportedColumn]] = {}
    for row in catalog.read_columns(source.connection, source.schema):
        if row.name != without:
            found.setdefault(row.table, []).append(ExportedColumn(row.name, row.type, row.base))
    return found


def _write_table(
    source: Source, table: str, columns: Iterable[ExportedColumn], stream: BinaryIO, chosen: Format
) -> tuple[int, list[dict[str, str]]]:
    """Write the rows of a table; return their number, and what `CONTENTS` says of the columns."""
    columns = list(columns)
    query = source.query(table, [column.name for column in columns])
    if chosen == "parquet":
        counted = catalog.execute(source.connection, parquet.examination(query, columns)).one()
        stored = parquet.types(columns, counted)
        with closing(copy_out(source.connection, f"({query})", "FORMAT csv")) as blocks:
            parquet.write(stream, stored, blocks)
        return counted.rows, [
            {"name": column.name, "type": column.type, "stored_as": str(stored[column.name])} for column in columns
        ]
    rows = catalog.execute(source.connection, f"SELECT count(*) FROM ({query}) AS own").scalar_one()
    with closing(copy_out(source.connection, f"({query})", "FORMAT csv, HEADER")) as blocks:
        stream.writelines(blocks)
    return rows, [{"name": column.name, "type": column.type} for column in columns]


def _contents(manifest: Manifest, chosen: Format, files: list[dict[str, Any]]) -> bytes:
    found = {
        "tenant": {name: manifest.tenant[name] for name in ("key", "name")},
        "created_at": manifest.created_at,
        "tenantkit": manifest.tenantkit,
        "postgres": manifest.postgres,
        "revision": manifest.revision,
        "format": chosen,
        "tables": files,
    }
    return json.dumps(found, ensure_ascii=False, indent=2).encode() + b"\n"


@contextmanager
def _writing(path: Path) -> Generator[Path]:
    """Yield a folder that becomes *path* if the block succeeds, and nothing if it does not.

    :raises BackupError: if it exists, or cannot be written.
    """
    with making(path):
        part = Path(mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            yield part
            part.rename(path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


@contextmanager
def _create(path: Path) -> Generator[BinaryIO]:
    """Yield a new file that only the current user can read, and write it to the disk at the end."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(descriptor)
