"""What revisions' files say of their order, read without running them and without Alembic, for use in requests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tenantkit.exceptions import ConfigurationError, as_clause

Graph: TypeAlias = "dict[str, tuple[str, ...]]"
"""Each revision, with those that come directly before it."""

_FIRST_FUNCTION = re.compile(r"^(?:@|(?:async )?def )", re.MULTILINE)
_NAMES = frozenset({"revision", "down_revision", "depends_on"})
_NAMED = re.compile(r"^(?:revision|down_revision|depends_on)\b", re.MULTILINE)


def read_graph(folder: Path) -> Graph:
    """Return the revisions whose files are in *folder*.

    :raises ConfigurationError: if there is no such folder, or a file cannot be read.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"There is no folder {folder.absolute()}, where the tenants' revisions should be. Make it with "
            "'tenantkit init', or correct migrations= of the Tenancy: a relative path starts at the current directory."
        )
    found = [
        _read(file) for file in sorted(folder.rglob("*.py"))
    ]  # `recursive_version_locations` is one of Alembic's options
    return {
        each["revision"]: (*_several(each.get("down_revision")), *_several(each.get("depends_on")))
        for each in found
        if each.get("revision")
    }


def included(graph: Mapping[str, Iterable[str]], revision: str) -> frozenset[str]:
    """Return *revision* and all that come before it."""
    seen: set[str] = set()
    waiting = [revision]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += graph.get(each, ())
    return frozenset(seen)


def _read(file: Path) -> dict[str, Any]:
    """Return the variables that say which revision it is, and behind which ones it stands."""
    try:
        text = file.read_text(encoding="utf-8")
        head, *rest = _FIRST_FUNCTION.split(text, maxsplit=1)  # what comes then takes long to parse
        module = ast.parse(text if rest and _NAMED.search(rest[0]) else head)
        return {name: ast.literal_eval(value) for name, value in _assigned(module) if name in _NAMES}
    except (SyntaxError, ValueError) as error:
        raise ConfigurationError(
            f"The order of revisions cannot be read from {file}: {as_clause(error)}. "
            "Write its revision, down_revision and depends_on as plain strings."
        ) from error


def _assigned(module: ast.Module) -> Iterable[tuple[str, ast.expr]]:
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case _:
                pass


def _several(value: str | Iterable[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())
