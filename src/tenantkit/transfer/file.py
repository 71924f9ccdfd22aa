"""The file of a backup: written under a temporary name, and verified to its last byte before it is used.

It is an archive of ``tar``, usually compressed::

    manifest.json                  the tenant, its revisions, the tables and their columns
    rows/0001.note/000001.copy     rows of the first table, as COPY writes them
    contents.json                  the number of rows and a hash for each table, sequences
    contents.hash                  the hash of contents.json, which has those of all the rest
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from tenantkit.exceptions import BackupError
from tenantkit.transfer import compression as zstd
from tenantkit.transfer.archive import ArchiveError, ArchiveReader, ArchiveWriter
from tenantkit.transfer.compression import Compression
from tenantkit.transfer.manifest import Contents, Manifest, ManifestError, Rows, SequenceState, Table

MEMBER = 4 << 20
"""Number of bytes of rows, at least, that a member has, unless it is the last one of its table."""

_MANIFEST, _CONTENTS, _SEAL = "manifest.json", "contents.json", "contents.hash"


def hash_of(data: bytes) -> str:
    """Return the hash of *data* as the file has it."""
    return blake2b(data, digest_size=32).hexdigest()


class BackupWriter:
    """Writes the parts of a backup in their order."""

    def __init__(self, stream: BinaryIO, manifest: Manifest) -> None:
        self._archive = ArchiveWriter(stream, int(datetime.fromisoformat(manifest.created_at).timestamp()))
        self._manifest = manifest.dump()
        self._archive.add(_MANIFEST, self._manifest)
        self._tables: list[Rows] = []

    def add(self, table: Table, blocks: Iterable[bytes | bytearray]) -> Rows:
        """Add the rows of the next table, in blocks of whole rows."""
        prefix = _prefix(len(self._tables) + 1, table)
        found, rows, size = blake2b(digest_size=32), 0, 0
        for number, block in enumerate(blocks, 1):
            found.update(block)
            rows += block.count(b"\n")
            size += len(block)
            self._archive.add(f"{prefix}{number:06}.copy", block)
        self._tables.append(Rows(table.name, rows, size, found.hexdigest()))
        return self._tables[-1]

    def end(self, contents: Contents) -> Contents:
        """Add what the file says after the rows, *contents* and the hashes, and return all of it."""
        contents = contents.with_tables(hash_of(self._manifest), self._tables)
        text = contents.dump()
        self._archive.add(_CONTENTS, text)
        self._archive.add(_SEAL, hash_of(text).encode())
        self._archive.end()
        return contents


@contextmanager
def writing(path: Path, compression: Compression) -> Generator[BinaryIO]:
    """Yield a stream that becomes the file *path* if the block succeeds, and nothing if it does not.

    Only the current user can read the file.

    :raises BackupError: if it exists, or cannot be written.
    """
    with making(path):
        descriptor, name = mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                stream = zstd.compressing(file, compression)
                try:
                    yield stream
                finally:
                    if stream is not file:
                        stream.close()
                file.flush()
                os.fsync(descriptor)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


@contextmanager
def making(path: Path) -> Generator[None]:
    """Make the file or folder *path* in the block.

    :raises BackupError: if it exists, or cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise BackupError(str(path), "it exists already", "Give another name, or remove it.")
    try:
        yield
    except OSError as error:
        raise BackupError(
            str(path), f"it cannot be written: {error.strerror or error}", "Nothing is left of it."
        ) from error


class BackupFile:
    """A file that was verified; what it says, and its rows: an `Origin`."""

    advice = "Use the code that made the backup. 'tar' shows the rows, after 'zstd -d', as COPY writes them."

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """Verify *file*.

        :raises BackupError: if it is not a complete and unchanged backup.
        """
        self.path = path
        self._file = file
        self.compression: Compression = "none"
        self.manifest, self.contents = self._verify()

    @property
    def subject(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def rows(self) -> Mapping[str, int]:
        """The number of rows of each table."""
        return {each.table: each.rows for each in self.contents.tables}

    @property
    def filled_views(self) -> Sequence[str]:
        """The materialized views that had rows."""
        return self.contents.filled_views

    @property
    def sequences(self) -> Sequence[SequenceState]:
        """The states of the sequences."""
        return self.contents.sequences

    def tables(self) -> Generator[tuple[Table, Iterator[bytes | bytearray]]]:
        """Yield each table and its rows in pieces, to be read at once; a piece may end within a row.

        :raises BackupError: at the end, if the file has been changed since it was verified.
        """
        with self._explained():
            parts = _Parts(self._open())
            yield from parts.tables()
            if parts.end() != self.contents:
                raise ArchiveError("it is another one than at the beginning")

    def _verify(self) -> tuple[Manifest, Contents]:
        with self._explained():
            parts = _Parts(self._open())
            for _, pieces in parts.tables():
                for _ in pieces:
                    pass
            return parts.manifest, parts.end()

    def _open(self) -> BinaryIO:
        stream, self.compression = zstd.decompressing(self._file)
        return stream

    @contextmanager
    def _explained(self) -> Generator[None]:
        damages: tuple[type[BaseException], ...] = (ArchiveError, ManifestError, *zstd.errors())
        try:
            yield
        except damages as error:
            said = "it is truncated" if isinstance(error, EOFError) else str(error)
            raise BackupError(str(self.path), f"the file cannot be used: {said}", _ADVICE) from error
        except OSError as error:
            raise BackupError(str(self.path), f"it cannot be read: {error.strerror or error}", _ADVICE) from error


class _Parts:
    """The parts of a backup, read from its beginning to its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._archive = ArchiveReader(stream)
        self._text = self._archive.read(_MANIFEST)
        self.manifest = Manifest.load(self._text)
        self._read: list[Rows] = []
        self._member = self._archive.next()

    def tables(self) -> Iterator[tuple[Table, Iterator[bytes]]]:
        """Yield each table and its rows in pieces, to be read at once."""
        for number, table in enumerate(self.manifest.tables, 1):
            pieces = self._rows(_prefix(number, table), table)
            yield table, pieces
            for _ in pieces:  # those that the caller has left
                pass

    def end(self) -> Contents:
        """Return what the file says after the rows.

        :raises ArchiveError: if that is not what was read.
        """
        if self._member is None or self._member[0] != _CONTENTS:
            raise ArchiveError("it has other rows than its tables have")
        text = b"".join(self._member[1])
        if self._archive.read(_SEAL) != hash_of(text).encode() or self._archive.next() is not None:
            raise ArchiveError("the list of its contents was changed")
        contents = Contents.load(text)
        if contents.manifest != hash_of(self._text) or list(contents.tables) != self._read:
            raise ArchiveError("it was changed")
        return contents

    def _rows(self, prefix: str, table: Table) -> Iterator[bytes]:
        found, rows, size, count = blake2b(digest_size=32), 0, 0, 1
        while self._member is not None and self._member[0] == f"{prefix}{count:06}.copy":
            for piece in self._member[1]:
                found.update(piece)
                rows += piece.count(b"\n")
                size += len(piece)
                yield piece
            self._member, count = self._archive.next(), count + 1
        self._read.append(Rows(table.name, rows, size, found.hexdigest()))


@contextmanager
def reading(path: Path) -> Generator[BackupFile]:
    """Yield the verified file at *path*.

    :raises BackupError: if it cannot be read, or is not a complete and unchanged backup.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise BackupError(str(path), f"it cannot be read: {error.strerror}", "Correct the path.") from error
    with file:
        yield BackupFile(path, file)


_ADVICE = "Nothing was changed. Use another copy of the file, or an older backup."


def _prefix(number: int, table: Table) -> str:
    return f"rows/{number:04}.{re.sub(r'[^a-z0-9_-]', '_', table.name.lower(), flags=re.ASCII)[:60]}/"
