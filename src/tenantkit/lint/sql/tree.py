"""Parse trees as libpg_query gives them: nested dictionaries, whose keys are the fields of PostgreSQL's own structs.

The value of a field without a fixed type is a dictionary with one key, the kind of the value. Fields that are empty,
zero or false are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from typing_extensions import override

Node: TypeAlias = dict[str, Any]


class Name(NamedTuple):
    """The name of an object in a schema."""

    schema: str | None
    name: str

    @override
    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


def walk(value: Any) -> Iterator[Node]:
    """Yield the dictionaries in *value*, the outer ones first, in the order of the text."""
    waiting = [value]  # not recursive: a chain of UNION may be nested more deeply than Python's stack
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            node = cast("Node", each)
            yield node
            waiting += reversed(node.values())
        elif isinstance(each, list):
            waiting += reversed(cast("list[Node]", each))


def find(value: Any, *kinds: str) -> Iterator[Node]:
    """Yield the fields of the nodes of these kinds in *value*."""
    return (node[kind] for node in walk(value) for kind in kinds if kind in node)


def untag(value: Node | None) -> tuple[str, Node]:
    """Return the kind of a node and its fields; both empty if there is no node."""
    return next(iter(value.items())) if value else ("", {})


def parts(value: Any) -> tuple[str, ...]:
    """Return the parts of a name, such as its schema; nothing if *value* is no name."""
    match value:
        case list():
            return tuple(part for each in cast("list[Node]", value) if "String" in each for part in parts(each))
        case {"List": {"items": items}} | {"ObjectWithArgs": {"objname": items}} | {"TypeName": {"names": items}}:
            return parts(items)
        case {"String": {"sval": str(name)}}:
            return (name,)
        case _:
            return ()


def name_of(value: Any) -> Name | None:
    """Return the name of a table, or of another object; ``None`` if *value* names none."""
    match value:
        case {"relname": str(name)}:
            return Name(value.get("schemaname"), name)
        case {"RangeVar": table} | {"VacuumRelation": {"relation": table}}:
            return name_of(table)
        case _:
            return _name(parts(value))


def parent_of(value: Any) -> Name | None:
    """Return the name of the table whose column, trigger or policy *value* names."""
    return _name(parts(value)[:-1])


def _name(found: Sequence[str]) -> Name | None:
    return Name(found[-2] if len(found) > 1 else None, found[-1]) if found else None


def options(fields: Node, key: str = "options") -> dict[str, Any]:
    """Return the options of a statement by their names."""
    return {each["DefElem"]["defname"]: each["DefElem"].get("arg") for each in fields.get(key, ())}
