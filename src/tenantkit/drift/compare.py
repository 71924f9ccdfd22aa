"""Differences between two shapes, and their description in words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from textwrap import shorten

from typing_extensions import override

from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.shape import ASPECTS, CONSTRAINTS, IN_BRACES, VIEWS, Item, Key, Kind, Shape, parents

_MAX_QUOTED = 120
"""Maximum length of a quoted text, in characters; of longer texts, only the differing lines are quoted."""

_NOT_INHERITED = frozenset({"identity", "comment"})
"""Aspects of a column that a partition does not inherit."""

_KINDS = list(Kind)
_OWNERS = frozenset({Kind.TABLE, Kind.DOMAIN, *VIEWS})


_REFERENCES = re.compile(r'REFERENCES (?:"((?:[^"]|"")+)"|([\w$]+))\.')
"""The schema in the definition of a foreign key that leads to another one."""


class Change(StrEnum):
    """The kind of a difference from the expected item."""

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One item that is not as expected."""

    expected: Item | None
    """The expected item; ``None`` if it should not exist."""
    found: Item | None
    """The existing item; ``None`` if it is missing."""

    @property
    def key(self) -> Key:
        """The key of the expected item, or of an item that should not exist."""
        item = self.expected or self.found
        assert item is not None  # noqa: S101 - one of them is there
        return item.key

    @property
    def change(self) -> Change:
        """The kind of the difference."""
        if self.expected is None:
            return Change.EXTRA
        if self.found is None:
            return Change.MISSING
        return Change.CHANGED if self.expected.key == self.found.key else Change.RENAMED

    @override
    def __str__(self) -> str:
        """Return the difference in words, in one line."""
        if self.expected is None:
            return f"{subject(self.key)} should not be there"
        if self.found is None:
            return _missing(self.key)
        if self.change is Change.RENAMED:
            return f"{subject(self.found.key)} should be named {self.key.name}"
        return f"{subject(self.key)}: {', '.join(_phrases(self.expected, self.found))}"


def compare(expected: Shape, found: Shape) -> tuple[Difference, ...]:
    """Return all differences of *found* from *expected*, table by table."""
    expected, found = _without_own_partitions(expected, found), _without_own_partitions(found, expected)
    expected, found = _with_inherited_columns(expected, found), _with_inherited_columns(found, expected)
    missing = _without(found, expected)
    extra = _without(expected, found)
    differences = [
        Difference(item, found[key]) for key, item in expected.items() if key in found and item != found[key]
    ]
    for item, other in _renamed(missing, extra):
        differences.append(Difference(item, other))
        del missing[item.key], extra[other.key]
    differences += [Difference(item, None) for item in missing.values()]
    differences += [Difference(None, item) for item in extra.values()]
    return tuple(sorted(differences, key=_place))


def outermost(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Return *differences* without those that belong to a table that is missing or should not exist."""
    differences = tuple(differences)
    one_sided = (each for each in differences if each.change in {Change.MISSING, Change.EXTRA})
    whole = {(each.change, each.key.name) for each in one_sided if each.key.kind in _OWNERS}
    return tuple(each for each in differences if (each.change, _owner(each)) not in whole)


def _owner(difference: Difference) -> str | None:
    item = difference.expected or difference.found
    return item["owning table"] if item and item.key.kind is Kind.SEQUENCE else difference.key.table


def _without(other: Shape, shape: Shape) -> dict[Key, Item]:
    """Return the items of *shape* that neither *other* has, nor a table of which this one is a partition there."""
    inherited = {
        (table.key.name, key.kind, key.name if key.kind is Kind.COLUMN else None, item.values)
        for table in other.values()
        if table.key.kind is Kind.TABLE
        for parent in parents(table)
        for key, item in other.items()
        if key.table == parent
    }
    return {
        key: item
        for key, item in shape.items()
        if key not in other
        and (key.table, key.kind, key.name if key.kind is Kind.COLUMN else None, item.values) not in inherited
    }


def _without_own_partitions(shape: Shape, other: Shape) -> Shape:
    """Return *shape* without those partitions, of tables that both have, that only *shape* has: they may differ."""
    there = {key.name for key in other if key.kind is Kind.TABLE}
    tables = [item for key, item in shape.items() if key.kind is Kind.TABLE and key.name not in there]
    own: set[str] = set()
    for _ in tables:  # a partition may have partitions
        own |= {each.key.name for each in tables if each["partition bound"] and {*parents(each)} & (there | own)}
    return {key: item for key, item in shape.items() if (key.name if key.kind is Kind.TABLE else key.table) not in own}


def _with_inherited_columns(shape: Shape, other: Shape) -> Shape:
    """Return *shape* with the inherited columns of those tables that have other parents in *other*."""
    columns: dict[Key, Item] = {}
    for key, table in shape.items():
        if key.kind is Kind.TABLE and key in other and parents(table) != parents(other[key]):
            for column in (each for each in shape.values() if each.key.table in parents(table)):
                if column.key.kind is Kind.COLUMN:
                    aspects = zip(ASPECTS[Kind.COLUMN], column.values, strict=True)
                    values = tuple(None if name in _NOT_INHERITED else value for name, value in aspects)
                    own = column.key._replace(table=key.name)
                    columns[own] = replace(column, key=own, values=values)
    return {**columns, **shape}


def _place(difference: Difference) -> tuple[str, int, str]:
    """Return the sort key of a difference: those of one table are adjacent."""
    key = difference.key
    table = key.name if key.kind is Kind.TABLE else key.table
    return table or "", _KINDS.index(key.kind), key.name


def _renamed(missing: Shape, extra: Shape) -> list[tuple[Item, Item]]:
    """Pair items that are equal except for their name, of the kinds to which nothing refers by name."""
    found: defaultdict[object, list[Item]] = defaultdict(list)
    for item in sorted(extra.values(), key=lambda item: item.key.name):
        found[item.key.kind, item.key.table, item.values].append(item)
    return [
        (item, others.pop(0))
        for item in sorted(missing.values(), key=lambda item: item.key.name)
        if item.key.kind in {*CONSTRAINTS, Kind.INDEX} and (others := found[item.key.kind, item.key.table, item.values])
    ]


def _missing(key: Key) -> str:
    if key.table is None or key.kind is Kind.COLUMN:
        return f"{subject(key)} is missing"
    return f"{key.kind} {key.name} is missing on {key.table}"


def subject(key: Key | str) -> str:
    """Return the name of an item for messages; one that is not compared has its description."""
    if isinstance(key, str):
        return key
    if key.table is None:
        return f"{key.kind} {key.name}"
    if key.kind is Kind.COLUMN:
        return f"column {key.table}.{key.name}"
    return f"{key.kind} {key.name} on {key.table}"


def _phrases(expected: Item, found: Item) -> Iterator[str]:
    if expected.key.kind is Kind.ENUM:
        yield f"labels are {_quoted(found.values)}, not {_quoted(expected.values)}"
        return
    for aspect, wanted, there in zip(ASPECTS[expected.key.kind], expected.values, found.values, strict=True):
        if wanted != there and aspect != "referred table":  # the definition has that
            yield _phrase(aspect, wanted or "none", there or "none")


def _phrase(aspect: str, wanted: str, there: str) -> str:
    """Return the difference of two texts in words; of long ones, by the lines that are in one of them only."""
    if all(len(text) <= _MAX_QUOTED and "\n" not in text for text in (wanted, there)):
        return f"{aspect} is {there}, not {wanted}".translate(IN_BRACES)
    lines, others = ([" ".join(line.split()) for line in text.splitlines()] for text in (wanted, there))
    added = _shortened(line for line in others if line not in lines)
    lacking = _shortened(line for line in lines if line not in others)
    if added == lacking == "nothing":
        return f"{aspect} differs in white space, line ends, or the order of lines only"
    return f"{aspect} has {added} instead of {lacking}"


def _shortened(lines: Iterable[str]) -> str:
    text = " ".join(lines).translate(IN_BRACES)
    return f"«{shorten(text, _MAX_QUOTED, placeholder=' …')}»" if text else "nothing"


def _quoted(labels: tuple[str | None, ...]) -> str:
    return ", ".join(repr(label) for label in labels)


def without_keys_to(detail: Detail, schemas: Collection[str]) -> Detail:
    """Return *detail* without foreign keys to tables in other *schemas*, as a database without these tables has it."""
    return detail._replace(shape={key: item for key, item in detail.shape.items() if not _leads_to(item, schemas)})


def _leads_to(item: Item, schemas: Collection[str]) -> bool:
    if item.key.kind is not Kind.FOREIGN_KEY or (found := _REFERENCES.search(item["definition"] or "")) is None:
        return False
    return (found[2] or found[1].replace('""', '"')) in schemas
