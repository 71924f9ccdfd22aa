"""Rows as text of COPY, changed by functions of the application."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from traceback import extract_tb
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.json import Jsonb, JsonbDumper
from sqlalchemy import Connection

from tenantkit.exceptions import BackupError
from tenantkit.user_code import describe_place, set_place

_NULL = rb"\N"
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SPECIAL = re.compile(rb"[\b\t\n\v\f\r\\]")
_LETTERS = {b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_ESCAPES = {value: b"\\" + letter for letter, value in _LETTERS.items()} | {b"\\": b"\\\\"}
_JSON = frozenset({114, 3802})
"""The OIDs of json and jsonb."""
_PLAIN_KEYS = frozenset({20, 21, 23, 2950})
"""The OIDs of the integers and uuid: an error may show such a key, which is no personal data by itself."""
_IMMUTABLE = frozenset(
    {str, bytes, bool, int, float, Decimal, date, time, timedelta, UUID, IPv4Address, IPv6Address, type(None)}
)


class Values:
    """Values of Python as COPY writes and reads them, by the adapters of psycopg."""

    def __init__(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        cursor = driver.cursor()
        cursor.adapters.register_dumper(dict, JsonbDumper)
        self._adapters = Transformer(cursor)

    def load(self, text: bytes, type_: int) -> Any:
        """Return the value of a field; as a string if Python has no such value, for example a date ``infinity``."""
        if text == _NULL:
            return None
        plain = _ESCAPED.sub(lambda found: _LETTERS.get(found[1], found[1]), text)
        try:
            return self._adapters.get_loader(type_, pq.Format.TEXT).load(plain)
        except (psycopg.Error, ValueError):
            return plain.decode()

    def dump(self, value: Any, type_: int) -> bytes:
        """Return the field of a value."""
        if value is not None and type_ in _JSON:
            value = Jsonb(value)
        if value is None or (found := self._adapters.get_dumper(value, PyFormat.TEXT).dump(value)) is None:
            return _NULL
        return _SPECIAL.sub(lambda special: _ESCAPES[special[0]], bytes(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """Changes the rows of one table."""

    table: str
    columns: Mapping[str, int]
    """The OIDs of their types by names, in the order of the fields."""
    key: tuple[str, ...]
    """The columns of the primary key."""
    row: Callable[[dict[str, Any]], Mapping[str, Any] | None] | None
    values: Mapping[str, Callable[[Any], Any]]

    def __call__(self, connection: Connection, blocks: Iterable[bytes | bytearray]) -> Iterator[bytes | bytearray]:
        """Yield *blocks* of whole rows with the rows changed.

        :raises BackupError: if a function fails, or returns what its column cannot have. It has no value of the row.
        """
        values = Values(connection)
        number = 0
        for block in blocks:
            lines: list[bytes] = []
            for line in bytes(block).split(b"\n")[:-1]:
                number += 1
                fields = dict(zip(self.columns, line.split(b"\t"), strict=False))
                if self.row is None or self._change_row(values, fields, number):
                    self._change_values(values, fields, number)
                    lines.append(b"\t".join(fields.values()))
            if lines:
                yield b"\n".join([*lines, b""])

    def _change_row(self, values: Values, fields: dict[str, bytes], number: int) -> bool:
        """Change the fields as the function of rows does; return whether the row stays."""
        assert self.row is not None  # noqa: S101 - the caller has asked
        before = {column: values.load(fields[column], type_) for column, type_ in self.columns.items()}
        after = self._call(self.row, dict(before), values, fields, number)
        if after is None:
            return False
        kind = type(after).__name__
        changed = cast("Mapping[str, Any]", after) if isinstance(after, Mapping) else None
        if changed is None or changed.keys() != before.keys():
            returned = kind if changed is None else sorted(map(str, changed))
            raise self._error(f"returned {returned} instead of a mapping of all columns", values, fields, number)
        self._put(values, fields, number, {column: (before[column], changed[column]) for column in before})
        return True

    def _change_values(self, values: Values, fields: dict[str, bytes], number: int) -> None:
        for column, function in self.values.items():
            if fields[column] != _NULL:
                before = values.load(fields[column], self.columns[column])
                after = self._call(function, before, values, fields, number, column)
                self._put(values, fields, number, {column: (before, after)})

    def _put(self, values: Values, fields: dict[str, bytes], number: int, pairs: Mapping[str, tuple[Any, Any]]) -> None:
        for column, (before, after) in pairs.items():
            if after is before and (type(before) in _IMMUTABLE or self._is_as_read(values, fields, column, before)):
                continue
            try:
                fields[column] = values.dump(after, self.columns[column])
            except Exception:  # noqa: BLE001 - of adapters and of json, and with the value in its text
                said = f"returned a {type(after).__name__}, which the column cannot have"
                raise self._error(said, values, fields, number, column) from None

    def _is_as_read(self, values: Values, fields: dict[str, bytes], column: str, value: Any) -> bool:
        """Return whether a value that can be changed in place was not."""
        return repr(values.load(fields[column], self.columns[column])) == repr(value)

    def _call(
        self,
        function: Callable[[Any], Any],
        given: Any,
        values: Values,
        fields: dict[str, bytes],
        number: int,
        column: str | None = None,
    ) -> Any:
        try:
            return function(given)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the application
            told = self._error(f"raised {type(error).__name__}", values, fields, number, column)
            for frame in extract_tb(error.__traceback__)[:0:-1]:  # the innermost one, and none of this module
                set_place(told, describe_place(None, frame.filename, frame.lineno))
                break
            raise told from None  # its text may have a value

    def _error(
        self, did: str, values: Values, fields: dict[str, bytes], number: int, column: str | None = None
    ) -> BackupError:
        is_plain = self.key and all(self.columns[each] in _PLAIN_KEYS and each not in self.values for each in self.key)
        shown = [f"{each} = {values.load(fields[each], self.columns[each])}" for each in self.key]
        where = ", ".join(shown) if is_plain else f"number {number}"
        return BackupError(
            self.table if column is None else f"{self.table}.{column}",
            f"the function of transform= for the row {where} {did}",
            "Correct the function, then clone the tenant again.",
        )
