"""Which revisions are meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.lines import Line
from tenantkit.migrations.sites import line_of

if TYPE_CHECKING:
    from alembic.script import Script

    from tenantkit.tenancy import Tenancy

Selected: TypeAlias = "list[tuple[Line, list[Script]]]"


def select(tenancy: Tenancy, wanted: Sequence[str], since: Sequence[str]) -> Selected:
    """Return the revisions of both lines that are *wanted*, all if none is named, without those up to *since*.

    Revisions are named by their ids, ``shared:`` or ``tenant:`` before them where both lines have one, or by their
    files and folders. A line that knows no revision of *since* is not limited by it.

    :raises ConfigurationError: if there is no such revision, or no migration environment.
    """
    lines = [line_of(tenancy, "shared"), line_of(tenancy, "tenant")]
    folder = lines[0].environment
    chosen = [_choose(lines, folder, name) for name in wanted]
    known = [_known(lines, name) for name in since]
    selected: Selected = []
    for line in lines:
        behind = {
            script.revision
            for found in known
            if line.name in found
            for script in line.scripts.iterate_revisions(found[line.name], "base")
        }
        scripts = [script for script in line.scripts.walk_revisions() if script.revision not in behind]
        if wanted:
            scripts = [script for script in scripts if any(_is_chosen(line, script, each) for each in chosen)]
        selected.append((line, scripts[::-1]))
    return selected


def _choose(lines: Sequence[Line], folder: Path, name: str) -> Path | dict[str, str]:
    """Return the file or folder that *name* means, or the revision of each line that knows it."""
    path = Path(name)
    if path.exists():
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{name} is not in {folder}, where this application's revisions are.")
        return path.resolve()
    return _known(lines, name)


def _known(lines: Sequence[Line], name: str) -> dict[str, str]:
    """Return the revision that *name* means, for each line that knows it."""
    line_name, colon, revision = name.rpartition(":")
    if colon and line_name not in {line.name for line in lines}:
        raise ConfigurationError(f"There is no line {line_name!r}, which {name!r} names. Write 'shared:' or 'tenant:'.")
    found = dict(_find([line for line in lines if line_name in {"", line.name}], revision))
    if not found:
        raise ConfigurationError(
            f"There is no revision {name!r}, nor just one that begins so. 'alembic -n tenant history' lists those of "
            "tenants, and -n shared the others."
        )
    return found


def _find(lines: Sequence[Line], revision: str) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line.knows(revision):
            yield line.name, revision
            continue
        ids = [script.revision for script in line.scripts.walk_revisions() if script.revision.startswith(revision)]
        if len(ids) == 1:
            yield line.name, ids[0]


def _is_chosen(line: Line, script: Script, choice: Path | dict[str, str]) -> bool:
    if isinstance(choice, Path):
        return Path(script.path).resolve().is_relative_to(choice)
    return choice.get(line.name) == script.revision
