"""Selection of the revisions to check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.graph.revision_graph import RevisionGraph

if TYPE_CHECKING:
    from alembic.script import Script

    from tenantkit.deployment import Deployment

Selected: TypeAlias = "list[tuple[RevisionGraph, list[Script]]]"


def select(tenancy: Deployment, wanted: Sequence[str], since: Sequence[str]) -> Selected:
    """Return the shared and tenant revisions that are *wanted*, all if none is named, without those up to *since*.

    Revisions are named by their ids, ``shared:`` or ``tenant:`` before them where both sides have one, or by their
    files and folders. A graph that has no revision of *since* is not limited by it.

    :raises ConfigurationError: if there is no such revision, or no migration environment.
    """
    graphs = [graph_of(tenancy, "shared"), graph_of(tenancy, "tenant")]
    folder = graphs[0].environment
    chosen = [_choose(graphs, folder, name) for name in wanted]
    known = [_known(graphs, name) for name in since]
    selected: Selected = []
    for graph in graphs:
        behind = {
            script.revision
            for found in known
            if graph.scope in found
            for script in graph.scripts.iterate_revisions(found[graph.scope], "base")
        }
        scripts = [script for script in graph.scripts.walk_revisions() if script.revision not in behind]
        if wanted:
            scripts = [script for script in scripts if any(_is_chosen(graph, script, each) for each in chosen)]
        selected.append((graph, scripts[::-1]))
    return selected


def _choose(graphs: Sequence[RevisionGraph], folder: Path, name: str) -> Path | dict[str, str]:
    """Return the file or folder that *name* means, or the revision of each side that has it."""
    path = Path(name)
    if path.exists():
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{name} is not in {folder}, where this application's revisions are.")
        return path.resolve()
    return _known(graphs, name)


def _known(graphs: Sequence[RevisionGraph], name: str) -> dict[str, str]:
    """Return the revision that *name* means, for each side that has it."""
    scope, colon, revision = name.rpartition(":")
    if colon and scope not in {graph.scope for graph in graphs}:
        raise ConfigurationError(f"{name!r} names no side of the revisions. Write 'shared:' or 'tenant:'.")
    found = dict(_find([graph for graph in graphs if scope in {"", graph.scope}], revision))
    if not found:
        raise ConfigurationError(
            f"There is no revision {name!r}, nor exactly one that begins with it. 'alembic -n tenant history' lists "
            "those of tenants, and -n shared the others."
        )
    return found


def _find(graphs: Sequence[RevisionGraph], revision: str) -> Iterator[tuple[str, str]]:
    for graph in graphs:
        if graph.knows(revision):
            yield graph.scope, revision
            continue
        ids = [script.revision for script in graph.scripts.walk_revisions() if script.revision.startswith(revision)]
        if len(ids) == 1:
            yield graph.scope, ids[0]


def _is_chosen(graph: RevisionGraph, script: Script, choice: Path | dict[str, str]) -> bool:
    if isinstance(choice, Path):
        return Path(script.path).resolve().is_relative_to(choice)
    return choice.get(graph.scope) == script.revision
