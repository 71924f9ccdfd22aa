"""The source of the rows of a new tenant: a backup, or a tenant that lives."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import Protocol

from tenantkit.transfer.manifest import Manifest, SequenceState, Table


class Origin(Protocol):
    """Rows of one tenant in one snapshot, to be loaded into the tables of another."""

    @property
    def subject(self) -> str:
        """The path of a file or the key of a tenant, for errors."""
        ...

    @property
    def advice(self) -> str:
        """What to do if its rows cannot be loaded."""
        ...

    @property
    def manifest(self) -> Manifest:
        """The tenant, its revisions, and the tables with their columns."""
        ...

    @property
    def rows(self) -> Mapping[str, int]:
        """The number of rows of each table, as far as it is known before they are read."""
        ...

    @property
    def filled_views(self) -> Collection[str]:
        """The materialized views that have rows."""
        ...

    @property
    def sequences(self) -> Sequence[SequenceState]:
        """The sequences, with the states that belong to the rows once `tables` has ended."""
        ...

    def tables(self) -> Generator[tuple[Table, Iterator[bytes | bytearray]]]:
        """Yield each table and its rows as text of COPY in pieces, to be read at once; a piece may end within a row."""
        ...
