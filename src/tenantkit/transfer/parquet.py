"""Rows in files of Apache Parquet, by pyarrow: the types of columns, and their values."""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_identifier

_MOST_DIGITS = 38
"""Number of digits of Parquet's decimals, as Arrow has them in 128 bits."""

_HAS_YEAR = ("date", "timestamp")


@dataclass(frozen=True, slots=True)
class ExportedColumn:
    """A column whose values are in a file."""

    name: str
    type: str
    """The type in PostgreSQL."""
    base: str
    """The type below a domain."""


def require_library() -> None:
    """Raise if pyarrow is not installed.

    :raises ConfigurationError: if so.
    """
    _load("pyarrow")


def examination(query: str, columns: Sequence[ExportedColumn]) -> str:
    """Return a query for the number of rows, and for columns, by number, that have values which Arrow does not have.

    These are numbers that are none, dates that are infinite, and years that have not four digits.
    """
    found = ["count(*) AS rows"]
    for number, column in enumerate(columns):
        name = quote_identifier(column.name)
        if _digits(column.base):
            found.append(f"coalesce(bool_or({name}::text !~ '^-?[0-9]'), false) AS odd{number}")
        elif column.base.startswith(_HAS_YEAR):
            found.append(f"coalesce(bool_or({name}::text !~ '^[0-9]{{4}}-[^B]*$'), false) AS odd{number}")
    return f"SELECT {', '.join(found)} FROM ({query}) AS own"


def types(columns: Sequence[ExportedColumn], examined: Any) -> dict[str, Any]:
    """Return the type in the file of each column, text where the `examination` found what no other one can hold."""
    arrow = _load("pyarrow")
    simple = {
        "boolean": arrow.bool_(),
        "smallint": arrow.int16(),
        "integer": arrow.int32(),
        "bigint": arrow.int64(),
        "real": arrow.float32(),
        "double precision": arrow.float64(),
        "bytea": arrow.binary(),
        "date": arrow.date32(),
        "timestamp without time zone": arrow.timestamp("us"),
        "timestamp with time zone": arrow.timestamp("us", tz="UTC"),
    }
    found: dict[str, Any] = {}
    for number, column in enumerate(columns):
        if getattr(examined, f"odd{number}", False):
            found[column.name] = arrow.string()
        elif digits := _digits(column.base):
            found[column.name] = arrow.decimal128(*digits)
        else:
            found[column.name] = simple.get(re.sub(r"\(\d+\)", "", column.base), arrow.string())
    return found


def write(stream: BinaryIO, stored: Mapping[str, Any], blocks: Iterable[bytes | bytearray]) -> None:
    """Write *blocks* of whole rows in CSV without a header to a file whose columns have these types."""
    arrow = _load("pyarrow")
    schema = arrow.schema(list(stored.items()))
    with _load("pyarrow.parquet").ParquetWriter(stream, schema, compression="zstd") as writer:
        for block in blocks:
            if stored:
                writer.write_table(_read(block, stored))


def _read(block: bytes | bytearray, stored: Mapping[str, Any]) -> Any:
    """Return the rows of *block*. Bytes are hexadecimal digits there, which Arrow does not read: they are decoded."""
    arrow, csv = _load("pyarrow"), _load("pyarrow.csv")
    binary = [name for name, type_ in stored.items() if type_ == arrow.binary()]
    table = csv.read_csv(
        arrow.BufferReader(bytes(block)),
        csv.ReadOptions(column_names=list(stored), block_size=len(block) + 1, use_threads=False),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types={**stored, **dict.fromkeys(binary, arrow.string())},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    for name in binary:
        values = [None if value is None else bytes.fromhex(value[2:]) for value in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, arrow.array(values, arrow.binary()))
    return table


def _digits(base: str) -> tuple[int, int] | None:
    """Return the numbers of digits, and of those behind the point, of a decimal that Arrow has."""
    if not (found := re.fullmatch(r"numeric\((\d+),(\d+)\)", base)):
        return None
    precision, scale = map(int, found.groups())
    return (precision, scale) if scale <= precision <= _MOST_DIGITS else None


def _load(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            "Parquet files are written by pyarrow, which is not installed. Run 'pip install tenantkit[parquet]', or "
            "export CSV."
        ) from error
