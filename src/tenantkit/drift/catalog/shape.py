"""The contents of a schema as values: one `Item` for each object, and the `Shape` of all of them.

PostgreSQL writes definitions with the schema first on the ``search_path``, so names of the schema's own objects have
no schema in them, and all other names do. In texts that it does not parse, such as the bodies of functions, the
schema's own name is replaced: equal shapes have equal text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

OWN_SCHEMA = "\x01"
"""The replacement of the schema's own name in compared texts: in functions, literals and comments."""
BODY = "\x02"
"""The replacement of a function's body in its signature; absent if PostgreSQL keeps the body in parsed form."""
IN_BRACES = str.maketrans({OWN_SCHEMA: "{schema}", BODY: "{body}"})
"""The readable forms of these replacements."""

IN_NEW_ROWS = "forbidden in new rows"
"""The value of a column's aspect ``NULL`` with a ``NOT NULL`` that is not validated, as PostgreSQL 18 permits."""


class Kind(StrEnum):
    """The kind of an item, in the words of a report."""

    ENUM = "enum"
    DOMAIN = "domain"
    DOMAIN_CONSTRAINT = "domain constraint"
    COMPOSITE = "composite type"
    SEQUENCE = "sequence"
    FUNCTION = "function"
    PROCEDURE = "procedure"
    TABLE = "table"
    COLUMN = "column"
    PRIMARY_KEY = "primary key"
    UNIQUE = "unique constraint"
    EXCLUSION = "exclusion constraint"
    CHECK = "check constraint"
    FOREIGN_KEY = "foreign key"
    INDEX = "index"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"
    TRIGGER = "trigger"
    POLICY = "policy"


VIEWS = (Kind.VIEW, Kind.MATERIALIZED_VIEW)
ROUTINES = (Kind.FUNCTION, Kind.PROCEDURE)
CONSTRAINTS = (Kind.PRIMARY_KEY, Kind.UNIQUE, Kind.EXCLUSION, Kind.CHECK, Kind.FOREIGN_KEY)

_CONSTRAINT = ("definition", "state", "referred table")
_ROUTINE = ("signature", "body")
_VIEW = ("definition", "columns", "options", "comment")

ASPECTS: Mapping[Kind, tuple[str, ...]] = {
    Kind.DOMAIN: ("type", "collation", "default", "NULL"),
    Kind.DOMAIN_CONSTRAINT: ("definition",),
    Kind.COMPOSITE: ("attributes",),
    Kind.SEQUENCE: ("type", "options", "persistence", "owning table", "owning column"),
    Kind.FUNCTION: _ROUTINE,
    Kind.PROCEDURE: _ROUTINE,
    Kind.TABLE: (
        "persistence",
        "row-level security",
        "row-level security for its owner",
        "partition key",
        "parent",
        "partition bound",
        "replica identity",
        "comment",
    ),
    Kind.COLUMN: ("type", "collation", "NULL", "default", "generated", "identity", "comment"),
    **dict.fromkeys(CONSTRAINTS, _CONSTRAINT),
    Kind.INDEX: ("unique", "definition", "state"),
    Kind.VIEW: _VIEW,
    Kind.MATERIALIZED_VIEW: (*_VIEW, "state"),
    Kind.TRIGGER: ("definition", "state"),
    Kind.POLICY: ("type", "command", "roles", "USING", "WITH CHECK"),
}
"""The compared aspects of each kind, in the order of the queries; an enum's labels have no names."""


class Key(NamedTuple):
    """The identity of an item, the same in every schema."""

    kind: Kind
    table: str | None
    """The table, view or domain that it belongs to."""
    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a schema."""

    key: Key
    values: tuple[str | None, ...]
    """The compared values: one for each of its kind's `ASPECTS`, without the schema's own name."""
    written: tuple[str | None, ...] = field(compare=False)
    """The same values with that name."""
    position: int = field(compare=False)
    """Its position among items of its kind: they were created in this order, so none needs a later one."""

    @property
    def aspects(self) -> dict[str, Any]:
        """The compared values by name; the schema's own name and a function's body are in braces."""
        if self.key.kind is Kind.ENUM:
            return {"labels": list(self.values)}
        return {
            aspect: value and value.translate(IN_BRACES)
            for aspect, value in zip(ASPECTS[self.key.kind], self.values, strict=True)
        }

    def __getitem__(self, aspect: str) -> str | None:
        return self.values[ASPECTS[self.key.kind].index(aspect)]


Shape: TypeAlias = Mapping[Key, Item]


def restore_words(shape: Shape, other: Shape) -> Shape:
    """Return *shape* with the schema's name restored where *other* has it too: there it is an ordinary word."""
    return {key: _restore_words(item, other[key]) if key in other else item for key, item in shape.items()}


def _restore_words(item: Item, other: Item) -> Item:
    if item.values == item.written:
        return item
    texts = zip_longest(item.values, item.written, other.written[: len(item.values)])
    return replace(item, values=tuple(text if text == theirs else value for value, text, theirs in texts))


def owner_of(sequence: Item) -> tuple[str | None, str | None]:
    """Return the table and the column that a sequence numbers."""
    return sequence["owning table"], sequence["owning column"]


def parents(table: Item) -> tuple[str, ...]:
    """Return the names of the parents of a table, by inheritance or partitioning."""
    return tuple(unquoted(name) for name in (table["parent"] or "").split(", ") if name)


def unquoted(name: str) -> str:
    """Return the name that PostgreSQL wrote as an identifier."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
