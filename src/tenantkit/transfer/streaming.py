"""The rows of a tenant that lives, sent to other tables of it without a file, and compared with what arrived."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Connection

from tenantkit.deployment import Deployment
from tenantkit.naming import first_lines
from tenantkit.tenant import Tenant
from tenantkit.transfer import catalog
from tenantkit.transfer.compare import Sum, sums_of
from tenantkit.transfer.completeness import require_complete
from tenantkit.transfer.copying import copy_out
from tenantkit.transfer.manifest import Manifest, SequenceState, Table
from tenantkit.transfer.source import Source, read_manifest


@dataclass(frozen=True, slots=True)
class Stream:
    """The rows of a tenant in one snapshot: an `Origin`."""

    source: Source
    manifest: Manifest
    sums: Mapping[str, Sum]
    filled_views: Sequence[str]
    sequences: Sequence[SequenceState]
    advice: str = "Compare the tables by 'tenantkit check'."

    @property
    def subject(self) -> str:
        """The tenant's key."""
        return self.source.tenant.key

    @property
    def rows(self) -> Mapping[str, int]:
        """The number of rows of each table."""
        return {name: each.rows for name, each in self.sums.items()}

    def tables(self) -> Generator[tuple[Table, Iterator[bytes | bytearray]]]:
        """Yield each table and its rows in pieces, to be read at once."""
        for table in self.manifest.tables:
            with closing(copy_out(self.source.connection, self.source.rows_of(table))) as blocks:
                yield table, blocks

    def find_differences(self, there: Connection, copy: Tenant) -> list[str]:
        """Return the tables and sequences of the *copy* that are not as those that were sent."""
        with there.begin():
            catalog.pin(there)
            arrived = Source(there, copy, None, None, None)
            sums, sequences = sums_of(arrived), [*arrived.sequences()]
        different = [name for name, each in self.sums.items() if sums.get(name) != each]
        return different + [each.name for each in self.sequences if each not in sequences]


def stream(tenancy: Deployment, source: Source) -> Stream:
    """Return the rows of *source*, which are counted first.

    :raises BackupError: if others would not be the same.
    """
    require_complete(source)
    return Stream(
        source,
        read_manifest(tenancy, source),
        sums_of(source),
        catalog.read_filled_views(source.connection, source.schema),
        [*source.sequences()],
    )


def describe(differences: list[str]) -> str:
    """Return the words of an error."""
    return f"these did not arrive as they are: {first_lines(differences)}"
