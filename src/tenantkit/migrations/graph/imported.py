"""The modules that Python files import: those of the project as files, those of other packages as versions."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

_INSTALLED = tuple(
    str(Path(sysconfig.get_paths()[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
"""The folders of Python's own modules and of installed packages."""
_COMPILED = frozenset({"built-in", "frozen"})
_DYNAMIC = frozenset({"__import__", "eval", "exec", "importlib", "pkgutil", "runpy"})
"""Functions and modules by which code imports what its text does not show."""
_HARMLESS = frozenset({"importlib.metadata", "importlib.resources"})


class UndeterminedError(Exception):
    """The text of a file does not determine what it does."""


def read_imports(files: list[Path]) -> tuple[dict[Path, bytes], dict[str, str]]:
    """Return the project's files that *files* import, also indirectly, with their contents; and versions of packages.

    :raises UndeterminedError: if a file imports what its text does not show.
    """
    contents = {file: file.read_bytes() for file in files}
    versions: dict[str, str] = {}
    waiting: list[tuple[Path, str]] = [(file, "") for file in files]
    while waiting:
        file, package = waiting.pop()
        for name in _names(file, contents[file], package):
            path, inside = _locate(name)
            if path is None and not _is_project(name):
                versions[_first(name)] = _version(_first(name))
            elif path is not None and path not in contents:
                contents[path] = path.read_bytes()
                waiting.append((path, inside))
    return contents, versions


def _names(file: Path, text: bytes, package: str) -> Iterator[str]:
    """Yield the full names of the modules that a file may import, with their packages."""
    for node in ast.walk(ast.parse(text, str(file))):
        match node:
            case ast.Import(names):
                imported = [alias.name for alias in names]
            case ast.ImportFrom(module, names, level):
                found = _absolute(package, module, level or 0, file)
                imported = [f"{found}.{alias.name}" for alias in names]  # which may be a module, or a name in one
            case ast.Name(name):
                imported = [name] if name in _DYNAMIC - {"importlib", "pkgutil", "runpy"} else []
            case _:
                imported = []
        for each in imported:
            if _first(each) in _DYNAMIC and each not in _HARMLESS:
                raise UndeterminedError(f"{file} imports dynamically, by {each}")
            yield from _with_packages(each)


def _with_packages(name: str) -> Iterator[str]:
    if not _is_project(name):
        yield _first(name)
        return
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


def _first(name: str) -> str:
    return name.partition(".")[0]


def _absolute(package: str, module: str | None, level: int, file: Path) -> str:
    if level == 0:
        return module or ""
    parts = package.split(".")
    if not package or level > len(parts):
        raise UndeterminedError(f"{file} has a relative import and no package")
    return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])


def _is_project(name: str) -> bool:
    return _locate(_first(name))[0] is not None


def _locate(name: str) -> tuple[Path | None, str]:
    """Return the file of a module of the project, and the package that relative imports in it start from.

    ``None`` for what is installed, or is no module.

    :raises UndeterminedError: if a module of the project has no source.
    """
    if _first(name) in {*sys.stdlib_module_names, "tenantkit"}:
        return None, ""
    try:
        spec = util.find_spec(name)
    except Exception:  # noqa: BLE001 - what the import of a package does is the application's
        return None, ""
    if spec is None or spec.origin is None or spec.origin in _COMPILED:
        return None, ""
    path = Path(spec.origin).resolve()
    if any(path.is_relative_to(folder) for folder in _INSTALLED):
        return None, ""
    if path.suffix != ".py":
        raise UndeterminedError(f"{name} has no source")
    return path, name if spec.submodule_search_locations is not None else name.rpartition(".")[0]


def _version(name: str) -> str:
    """Return the version of an installed package; empty for a module of Python, or one that is missing."""
    if name in sys.stdlib_module_names:
        return ""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        found = metadata.packages_distributions().get(name, ())
        return " ".join(metadata.version(each) for each in found)
