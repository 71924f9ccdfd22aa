"""Messages of PostgreSQL's output plugin ``pgoutput``: what a transaction has changed in the tables of a publication.

The source is PostgreSQL's documentation, "Logical Replication Message Formats", for version 1 of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import TypeAlias


class Unchanged:
    """A large value that an update has not changed, which is not sent."""


Value: TypeAlias = "str | Unchanged | None"
"""The text of a value, as the output function of its type writes it."""
Row: TypeAlias = "Mapping[str, Value]"
"""Values by the names of their columns."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table."""

    schema: str
    name: str
    columns: tuple[str, ...]
    """The columns that are sent: not generated ones."""
    key: tuple[str, ...]
    """Those that identify a row."""


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    relation: Relation
    new: Row


@dataclass(frozen=True, slots=True)
class Update:
    """Another value of a row."""

    relation: Relation
    key: Row
    """The key that the row had."""
    new: Row


@dataclass(frozen=True, slots=True)
class Delete:
    """A row that was deleted."""

    relation: Relation
    key: Row


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables that were emptied."""

    relations: tuple[Relation, ...]


Change: TypeAlias = "Insert | Update | Delete | Truncate"

_UNCHANGED = Unchanged()
_INT16, _INT32 = Struct(">h"), Struct(">i")


@dataclass(slots=True)
class Decoder:
    """Reads the messages of one connection in their order: they refer to tables that earlier ones have described.

    Its database has the encoding UTF8.
    """

    _relations: dict[int, Relation] = field(default_factory=dict[int, Relation])

    def decode(self, message: bytes) -> Change | None:
        """Return the change in a message; ``None`` for one without a change.

        :raises ValueError: if it is no message of this version of the protocol.
        """
        reader = _Reader(memoryview(message), 1)
        match kind := message[:1]:
            case b"I":
                relation = self._relations[reader.int32()]
                reader.byte()
                return Insert(relation, reader.row(relation))
            case b"U":
                return self._update(reader)
            case b"D":
                relation = self._relations[reader.int32()]
                reader.byte()
                return Delete(relation, _key_of(relation, reader.row(relation)))
            case b"T":
                number, _ = reader.int32(), reader.byte()
                return Truncate(tuple(self._relations[reader.int32()] for _ in range(number)))
            case b"R":
                self._describe(reader)
            case b"B" | b"C" | b"O" | b"Y":  # the beginning and end of a transaction, its origin, and a type
                pass
            case _:
                raise ValueError(f"pgoutput has sent a message {kind!r}, which version 1 of its protocol does not have")
        return None

    def _update(self, reader: _Reader) -> Update:
        relation = self._relations[reader.int32()]
        old = None
        if (mark := reader.byte()) != b"N":  # the key has changed
            old = reader.row(relation)
            mark = reader.byte()
        if mark != b"N":
            raise ValueError("pgoutput has sent an update without a new row")
        new = reader.row(relation)
        return Update(relation, _key_of(relation, new if old is None else old), new)

    def _describe(self, reader: _Reader) -> None:
        number, schema, name, _ = reader.int32(), reader.text(), reader.text(), reader.byte()
        columns, key = list[str](), list[str]()
        for _ in range(reader.int16()):
            is_key, column = reader.byte() != b"\0", reader.text()
            for _ in range(2):  # its type
                reader.int32()
            columns.append(column)
            if is_key:
                key.append(column)
        self._relations[number] = Relation(schema, name, tuple(columns), tuple(key))


def _key_of(relation: Relation, row: Row) -> Row:
    return {name: row[name] for name in relation.key}


@dataclass(slots=True)
class _Reader:
    data: memoryview
    position: int

    def byte(self) -> bytes:
        return bytes(self._take(1))

    def int16(self) -> int:
        return int(_INT16.unpack(self._take(2))[0])

    def int32(self) -> int:
        return int(_INT32.unpack(self._take(4))[0])

    def text(self) -> str:
        """Read a text that ends with a null byte."""
        rest = self.data[self.position :].tobytes()
        text, _, _ = rest.partition(b"\0")
        self.position += len(text) + 1
        return text.decode()

    def row(self, relation: Relation) -> Row:
        if self.int16() != len(relation.columns):
            raise ValueError(f"pgoutput has sent a row of {relation.name} with another number of columns")
        return {name: self._value() for name in relation.columns}

    def _value(self) -> Value:
        match kind := self.byte():
            case b"t":
                return str(self._take(self.int32()), "utf-8")
            case b"n":
                return None
            case b"u":
                return _UNCHANGED
            case _:
                raise ValueError(f"pgoutput has sent a value of the kind {kind!r}")

    def _take(self, size: int) -> memoryview:
        end = self.position + size
        if end > len(self.data):
            raise ValueError("pgoutput has sent a message that is too short")
        taken, self.position = self.data[self.position : end], end
        return taken
