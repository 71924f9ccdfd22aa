"""The contents of a backup as values: what it says at its beginning, and at its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, cast

from tenantkit.migrations.results.heads import format_heads

FORMAT = "tenantkit backup"
VERSION = 1
"""The version of the format. A change that older versions of tenantkit would misread adds one."""


class ManifestError(Exception):
    """The text is no manifest, or one of a newer version."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose values are in the file."""

    name: str
    type: str
    """The type, without the tenant's schema in its name."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows are in the file."""

    name: str
    columns: tuple[Column, ...]
    parent: str | None = None
    """The table that it is a partition of."""
    bound: str | None = None
    """``FOR VALUES ...`` of a partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a file says before the rows."""

    created_at: str
    tenantkit: str
    postgres: str
    tenant: Mapping[str, Any]
    """The registry's record of the tenant."""
    heads: tuple[str, ...] | None
    """The revisions of the tenant; ``None`` for tables without migrations."""
    tables: tuple[Table, ...]

    @property
    def key(self) -> str:
        """The tenant's key."""
        return str(self.tenant["key"])

    @property
    def revision(self) -> str | None:
        """The revisions as one text."""
        return format_heads(self.heads or ()) or None

    def dump(self) -> bytes:
        """Return the text of the file."""
        return _dump({"format": FORMAT, "version": VERSION, **asdict(self)})

    @classmethod
    def load(cls, text: bytes) -> Manifest:
        """Return the manifest of a text.

        :raises ManifestError: if it is none.
        """
        data = _load(text)
        if data.pop("format", None) != FORMAT:
            raise ManifestError("it is no backup of a tenant")
        if (version := data.pop("version", None)) != VERSION:
            raise ManifestError(f"its format has version {version}, and this tenantkit reads {VERSION}")
        try:
            data["tables"] = tuple(map(_table, data["tables"]))
            data["heads"] = None if data["heads"] is None else tuple(data["heads"])
            manifest = cls(**data)
            _ = manifest.key, datetime.fromisoformat(manifest.created_at)
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError("its manifest is damaged") from error
        return manifest


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table."""

    table: str
    rows: int
    bytes: int
    hash: str
    """BLAKE2b, of 32 bytes, of the rows as COPY writes them."""


@dataclass(frozen=True, slots=True)
class SequenceState:
    """The state of a sequence."""

    name: str
    last_value: int
    is_called: bool


@dataclass(frozen=True, slots=True)
class References:
    """The values by which rows of one table refer to a shared table."""

    table: str
    columns: tuple[str, ...]
    to: tuple[str, str]
    """The schema and the name of the shared table."""
    to_columns: tuple[str, ...]
    values: tuple[tuple[str, ...], ...] | None
    """The different values as text; ``None`` if they are too many to be listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file says after the rows."""

    manifest: str = ""
    """The hash of the manifest."""
    tables: tuple[Rows, ...] = ()
    sequences: tuple[SequenceState, ...]
    filled_views: tuple[str, ...]
    """The materialized views that had rows."""
    references: tuple[References, ...]

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(each.rows for each in self.tables)

    def with_tables(self, manifest: str, tables: Iterable[Rows]) -> Contents:
        """Return the contents with the hash of the *manifest* and the rows of *tables*."""
        return replace(self, manifest=manifest, tables=tuple(tables))

    def dump(self) -> bytes:
        """Return the text of the file."""
        return _dump(asdict(self))

    @classmethod
    def load(cls, text: bytes) -> Contents:
        """Return the contents that a text tells.

        :raises ManifestError: if it is damaged.
        """
        data = _load(text)
        try:
            return cls(
                manifest=data["manifest"],
                tables=tuple(Rows(**each) for each in data["tables"]),
                sequences=tuple(SequenceState(**each) for each in data["sequences"]),
                filled_views=tuple(data["filled_views"]),
                references=tuple(map(_references, data["references"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError("the list of its contents is damaged") from error


def _table(data: Any) -> Table:
    columns = tuple(Column(str(each["name"]), str(each["type"])) for each in data["columns"])
    parent, bound = (None if data[name] is None else str(data[name]) for name in ("parent", "bound"))
    return Table(str(data["name"]), columns, parent, bound)


def _references(data: Any) -> References:
    schema, table = data["to"]
    values = None if data["values"] is None else tuple(tuple(map(str, each)) for each in data["values"])
    columns, theirs = (tuple(map(str, data[name])) for name in ("columns", "to_columns"))
    return References(str(data["table"]), columns, (str(schema), str(table)), theirs, values)


def _dump(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, indent=1).encode()


def _load(text: bytes) -> dict[str, Any]:
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise ManifestError("its manifest is damaged") from error
    if not isinstance(data, dict):
        raise ManifestError("its manifest is damaged")
    return cast("dict[str, Any]", data)
