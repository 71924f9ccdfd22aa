"""The form of a backup's file: an archive of ``tar``, written and read from its beginning to its end.

Only what a backup needs is accepted: plain members one after another, and nothing after their end.
"""

from __future__ import annotations

from collections.abc import Iterator
from tarfile import BLOCKSIZE, NUL, REGTYPE, USTAR_FORMAT, HeaderError, TarInfo
from typing import BinaryIO

PIECE = 1 << 20
"""Number of bytes that are read at a time."""
_END = NUL * (2 * BLOCKSIZE)


class ArchiveError(Exception):
    """The bytes are no archive as this module writes it."""


class ArchiveWriter:
    """Writes members to *stream*."""

    def __init__(self, stream: BinaryIO, modified: int) -> None:
        self._stream = stream
        self._modified = modified

    def add(self, name: str, data: bytes | bytearray) -> None:
        """Add a member, whose name has at most 100 ASCII characters."""
        info = TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o600, self._modified
        self._stream.write(info.tobuf(USTAR_FORMAT, "ascii", "strict"))
        self._stream.write(data)
        self._stream.write(NUL * (-len(data) % BLOCKSIZE))

    def end(self) -> None:
        """Write the end of the archive."""
        self._stream.write(_END)


class ArchiveReader:
    """Reads the members of *stream* in their order."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, name: str) -> bytes:
        """Return the contents of the next member, which must have this name.

        :raises ArchiveError: if it has another one, or the archive is damaged.
        """
        found = self.next()
        if found is None or found[0] != name:
            raise ArchiveError(f"it has {found and found[0]!r} where {name!r} is expected")
        return b"".join(found[1])

    def next(self) -> tuple[str, Iterator[bytes]] | None:
        """Return the name of the next member and its contents, in pieces to be read at once; ``None`` at the end.

        :raises ArchiveError: if the archive is damaged.
        """
        block = self._exactly(BLOCKSIZE)
        if block == NUL * BLOCKSIZE:
            if self._exactly(BLOCKSIZE) != NUL * BLOCKSIZE or self._stream.read(1):
                raise ArchiveError("something follows its end")
            return None
        try:
            info = TarInfo.frombuf(block, "ascii", "strict")
        except (HeaderError, ValueError) as error:
            raise ArchiveError(f"its structure is damaged: {error}") from error
        if info.type != REGTYPE or info.size < 0 or info.tobuf(USTAR_FORMAT, "ascii", "strict") != block:
            raise ArchiveError(f"{info.name!r} is no member as a backup has it")
        return info.name, self._pieces(info.size)

    def _pieces(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, PIECE):
            yield self._exactly(min(PIECE, size - start))
        if any(self._exactly(-size % BLOCKSIZE)):
            raise ArchiveError("its structure is damaged")

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        if len(data) < size:
            raise ArchiveError("it is truncated")
        return data
