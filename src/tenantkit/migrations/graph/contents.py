"""The hash of all that determines what the revisions of a graph build in an empty placement."""

from __future__ import annotations

import ast
import logging
import sys
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.deployment import LOADED_AT
from tenantkit.migrations.graph.imported import UndeterminedError, read_imports
from tenantkit.migrations.graph.suspicions import find

if TYPE_CHECKING:
    from tenantkit.migrations.graph.revision_graph import RevisionGraph

_log = logging.getLogger("tenantkit.migrations")

_FORMAT = 1
"""Increased when this version of tenantkit builds something else from the same revisions."""


def read_contents(graph: RevisionGraph, *options: object) -> str | None:
    """Return a hash of the files of *graph*, of what they import, of the versions of packages, and of *options*.

    ``None`` if these do not determine what is built: if a file imports dynamically, or uses the clock, chance or the
    environment of the process.
    """
    try:
        return _read(graph, options)
    except (UndeterminedError, SyntaxError, OSError, ValueError) as error:
        _log.info("What the revisions build is not determined by their files: %r", error)
        return None


def _read(graph: RevisionGraph, options: tuple[object, ...]) -> str:
    own = sorted(_own(graph))
    code = [path for path in own if path.suffix == ".py"]
    imported, versions = read_imports(code)
    # What only env.py imports is the application: its values decide how to connect, for example.
    used, _ = read_imports([path for path in code if path != graph.environment / "env.py"])
    for path in sorted({*code, *used}):
        is_revision = any(map(path.is_relative_to, graph.config.get_version_locations_list()))
        _require_constant(path, imported[path], is_imported=path in used and not is_revision)
    if any(map(callable, graph.naming_convention.values())):
        raise UndeterminedError("the naming convention of the metadata has a function")
    versions.update({name: metadata.version(name) for name in ("alembic", "psycopg", "sqlalchemy")})
    parts: list[object] = [_FORMAT, sorted(versions.items()), sys.version_info[:2], _settings(graph), options]
    parts.append(sorted(graph.naming_convention.items(), key=str))
    for path in own:
        name = path.relative_to(graph.environment) if path.is_relative_to(graph.environment) else path.name
        parts += [str(name), imported.get(path) or path.read_bytes()]
    for path in sorted(imported.keys() - {*own}):
        _require_unchanged(path)
        parts += [path.name, imported[path]]
    return sha256(repr(parts).encode()).hexdigest()


def _require_constant(path: Path, text: bytes, *, is_imported: bool = False) -> None:
    """Raise if a file of the environment, or one that revisions import, computes values that vary.

    :raises UndeterminedError: if so.
    """
    tree = ast.parse(text, str(path))
    for suspicion in find(tree, tree.body, is_imported=is_imported):
        if suspicion.kind == "varies":
            raise UndeterminedError(f"{path}:{suspicion.line} depends on {suspicion.reason}")


def _own(graph: RevisionGraph) -> Iterator[Path]:
    """Yield the files of the environment but for those of the other graph, and of further folders of revisions."""
    folders = {graph.environment, *map(Path, graph.config.get_version_locations_list())}
    others = {graph.environment / scope for scope in ("shared", "tenant")} - {graph.folder}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not any(map(path.is_relative_to, others)):
                yield path


def _settings(graph: RevisionGraph) -> list[object]:
    """Return Alembic's options from the files outside of the environment."""
    found: list[object] = []
    beside = graph.environment.parent
    if (file := beside / "alembic.ini").is_file():
        found.append(file.read_bytes())
    if (file := beside / "pyproject.toml").is_file():
        found.append(tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("alembic"))
    return found


def _require_unchanged(path: Path) -> None:
    """Raise if a module of the project may have been imported before its file was changed.

    :raises UndeterminedError: if so: the process runs other code than the file has.
    """
    if path.stat().st_mtime > LOADED_AT:
        raise UndeterminedError(f"{path} is newer than this process")
