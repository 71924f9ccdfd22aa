"""The rows of a tenant that goes on being served, as the origin of a new one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Connection

from tenantkit.deployment import Deployment
from tenantkit.exceptions import BackupError
from tenantkit.tenant import Tenant
from tenantkit.transfer import catalog
from tenantkit.transfer.completeness import require_complete
from tenantkit.transfer.copying import copy_out
from tenantkit.transfer.manifest import Manifest, SequenceState, Table
from tenantkit.transfer.source import Source, read_manifest, reading
from tenantkit.transfer.transform import Transform

_PATIENCE = 5.0
"""Seconds for which a clone waits for the tables when it has made those of the new tenant, which may lock others."""


@dataclass(slots=True)
class LivingRows:
    """The rows of *tenant*, changed by *transform*: an `Origin`.

    Its snapshot lasts only while the rows are read: ``CREATE INDEX CONCURRENTLY`` of a revision that makes the new
    tenant would wait for it for ever.
    """

    tenancy: Deployment
    tenant: Tenant
    transform: Transform
    manifest: Manifest
    rows: Mapping[str, int]
    filled_views: Sequence[str]
    sequences: Sequence[SequenceState]

    @property
    def advice(self) -> str:
        """What to do if its rows cannot be loaded."""
        if not self.transform.names:
            return "Clone the tenant again."
        return "Correct the functions of transform=: leave out, or change, rows that refer to those that are left out."

    @property
    def subject(self) -> str:
        """The tenant's key."""
        return self.tenant.key

    def tables(self) -> Generator[tuple[Table, Iterator[bytes | bytearray]]]:
        """Yield each table and its rows, all from one snapshot.

        :raises BackupError: if the tenant was migrated, or dropped, meanwhile, or a function of the transform fails.
        """
        with reading(self.tenancy, self.tenant, patience=_PATIENCE) as source:
            now = read_manifest(self.tenancy, source)
            if (now.heads, now.tables) != (self.manifest.heads, self.manifest.tables):
                raise BackupError(self.subject, "its tables have been changed meanwhile", self.advice)
            rewritings = self.transform.rewritings(source)
            for table in now.tables:
                with closing(copy_out(source.connection, source.rows_of(table))) as blocks:
                    rewriting = rewritings.get(table.name)
                    yield table, blocks if rewriting is None else rewriting(source.connection, blocks)
            self.sequences = tuple(source.sequences())  # last: no snapshot has their states


def read_living(tenancy: Deployment, tenant: Tenant, transform: Transform) -> LivingRows:
    """Return the rows of *tenant*, which are read later.

    :raises BackupError: if a copy could not hold all of them, or a column of *transform* does not exist.
    """
    with reading(tenancy, tenant) as source:
        require_complete(source)
        transform.rewritings(source)
        return LivingRows(
            tenancy=tenancy,
            tenant=source.tenant,
            transform=transform,
            manifest=read_manifest(tenancy, source),
            rows={table.name: _count(source.connection, source, table) for table in source.tables},
            filled_views=catalog.read_filled_views(source.connection, source.schema),
            sequences=tuple(source.sequences()),
        )


def _count(connection: Connection, source: Source, table: Table) -> int:
    query = f"SELECT count(*) FROM ({source.query(table.name, [])}) AS own"  # noqa: S608
    return int(catalog.execute(connection, query).scalar_one())
