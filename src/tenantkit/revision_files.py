"""The order of revisions, read from their files without execution and without Alembic, for use in requests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause

Graph: TypeAlias = "dict[str, tuple[str, ...]]"
"""Each revision with its direct predecessors."""

_FIRST_FUNCTION = re.compile(r"^(?:@|(?:async )?def )", re.MULTILINE)
_NAMES = frozenset({"revision", "down_revision", "depends_on", "branch_labels"})
_OTHERS = ("down_revision", "depends_on", "branch_labels")
_NAMED = re.compile(r"^(?:revision|down_revision|depends_on|branch_labels)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RevisionFile:
    """The identifiers in one revision file."""

    path: Path
    revision: str
    down_revision: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    branch_labels: tuple[str, ...] = ()


def read_graph(folder: Path) -> Graph:
    """Return the revisions whose files are in *folder*.

    :raises ConfigurationError: if there is no such folder, if a file cannot be read, or as `require_complete` does.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"There is no folder {folder.absolute()}, where the tenant revisions should be. Create it with "
            "'tenantkit init', or correct migrations= of the Tenancy: a relative path starts at the current directory."
        )
    found = [
        RevisionFile(file, read["revision"], *(several(read.get(name)) for name in _OTHERS))
        for file in sorted(folder.rglob("*.py"))  # `recursive_version_locations` is one of Alembic's options
        if (read := _read(file)).get("revision")
    ]
    require_complete(found)
    return {each.revision: (*each.down_revision, *each.depends_on) for each in found}


def require_complete(files: Sequence[RevisionFile]) -> None:
    """Raise if two files have the same revision, or if one names a revision that no file has.

    Alembic keeps one of the two files, and fails with a KeyError for the missing one.

    :raises ConfigurationError: if so; it names the files.
    """
    known: dict[str, Path] = {}
    for each in files:
        if each.revision in known:
            raise ConfigurationError(
                f"{known[each.revision]} and {each.path} both have the revision {each.revision!r}. "
                "Give one of them another id, or remove it if it is a copy."
            )
        known[each.revision] = each.path
    labels = {label for each in files for label in each.branch_labels}
    for each in files:
        for name, named, allowed in (
            ("down_revision", each.down_revision, known.keys()),
            ("depends_on", each.depends_on, known.keys() | labels),
        ):
            for missing in named:
                if missing not in allowed:
                    raise ConfigurationError(_missing(each.path, name, missing, sorted(allowed - {each.revision})))


def _missing(path: Path, name: str, missing: str, known: Sequence[str]) -> str:
    longer = [each for each in known if each.startswith(missing)]
    close = longer if len(longer) == 1 else get_close_matches(missing, known, n=1)
    advice = f"Did you mean {close[0]!r}? If not, add" if close else "Correct it, or add"
    return f"{path} has {name} = {missing!r}, and no file in its folder has that revision. {advice} the missing file."


def included(graph: Mapping[str, Iterable[str]], revision: str) -> frozenset[str]:
    """Return *revision* and all of its predecessors."""
    seen: set[str] = set()
    waiting = [revision]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += graph.get(each, ())
    return frozenset(seen)


def _read(file: Path) -> dict[str, Any]:
    """Return the variables with the revision's id and its predecessors."""
    try:
        text = file.read_text(encoding="utf-8")
        head, *rest = _FIRST_FUNCTION.split(text, maxsplit=1)  # the rest takes long to parse
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


def several(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the identifiers in *value*, as revision files write them."""
    return (value,) if isinstance(value, str) else tuple(value or ())
