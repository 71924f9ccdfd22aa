"""The replacement of revisions by one that builds the same, or what a living tenant or the models have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.arguments import FLAG, NAME, optional, require
from tenantkit.baseline.creation import write_statements
from tenantkit.baseline.files import replace_files, require_replaceable, write_file
from tenantkit.baseline.proof import prove, read_living, read_source, require_equal
from tenantkit.baseline.report import Baseline
from tenantkit.baseline.tenants import choose_tenant, require_reached
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.graph.revision_scripts import replays
from tenantkit.migrations.planning.status import require_shared_is_current
from tenantkit.naming import first_lines
from tenantkit.revision_files import included, several

if TYPE_CHECKING:
    from alembic.script import Script

    from tenantkit.migrations.graph.revision_graph import RevisionGraph


def squash(
    tenancy: Deployment,
    to: str = "head",
    *,
    from_models: bool = False,
    from_tenant: str | None = None,
    like: str | None = None,
    allow_losses: bool = False,
    dry_run: bool = False,
) -> Baseline:
    """Replace the tenants' revisions up to *to* by one, a baseline, and return it.

    The baseline has the id of the revision *to*, so tenants that are at it or a later one stay as they are; later
    revisions follow it as before. It is written from the catalog of a schema that the revisions build, with the rows
    that they leave there, and used only if it then builds an equal one. Both are built in transactions that are rolled
    back: no tenant is touched.

    :param from_models: write what the models declare, for revisions that do not start from nothing. *to* must be the
        newest revision.
    :param from_tenant: the key of a tenant whose objects are written instead, without its rows. *to* must be its
        revision.
    :param like: the key of a tenant at *to* that must have the same objects as the baseline. With *from_models*, it is
        by default the first that is at *to*.
    :param allow_losses: leave out what no baseline has, such as privileges and aggregates; it is named in the file.
    :param dry_run: change no file.
    :raises ConfigurationError: if a tenant is not at *to* or above, there is nothing to replace, other revisions need
        what would be gone, something cannot be written, or the result is not equal. No file is changed then.
    """
    require(
        tenancy=(tenancy, TENANCY),
        to=(to, NAME),
        from_models=(from_models, FLAG),
        from_tenant=(from_tenant, optional(NAME)),
        like=(like, optional(NAME)),
        allow_losses=(allow_losses, FLAG),
        dry_run=(dry_run, FLAG),
    )
    if from_models and from_tenant is not None:
        raise ConfigurationError("from_models=True and from_tenant= are two sources: give one of them.")
    graph = graph_of(tenancy, "tenant")
    revision = _find(graph, to, from_models=from_models)
    order = graph.order()
    replaced = [each for each in reversed(order) if each in included(order, revision) - {revision}]
    if not replaced and not from_models and from_tenant is None:
        raise ConfigurationError(f"{revision} is the first revision: there are no others to replace by a baseline.")
    require_replaceable(revision, replaced, order)
    require_shared_is_current(tenancy)
    example = require_reached(tenancy, graph, revision, replaced)
    source = None if from_tenant is None else choose_tenant(tenancy, from_tenant, revision)
    other = (example if from_models else None) if like is None else choose_tenant(tenancy, like, revision)
    scripts = {each: _script(graph, each) for each in (*replaced, revision)}
    outside = tuple(
        f"what {each} does outside of its connection (replay = False)"
        for each, script in scripts.items()
        if not replays(script)
    )
    _require_permitted(outside, allow_losses=allow_losses)  # before it is done
    contents, operations, left_out = read_source(tenancy, revision, source, from_models=from_models)
    left_out = (*outside, *left_out)
    _require_permitted(left_out, allow_losses=allow_losses)
    if other is not None:
        require_equal(contents.detail, read_living(tenancy, other), f"the tenant {other.key!r}")
    statements = write_statements(contents)
    operations = [each.replace("{placeholder!r}", repr(tenancy.placeholder)) for each in operations]
    labels, before = (
        [value for each in scripts.values() for value in several(getattr(each.module, name, None))]
        for name in ("branch_labels", "replaces")
    )
    text = write_file(revision, [*before, *replaced], labels, statements, operations, left_out)
    prove(tenancy, graph, text, contents)
    path = Path(scripts[revision].path)
    if not dry_run:
        replace_files(path, text, [Path(scripts[each].path) for each in reversed(replaced)])
    rows = sum(map(len, contents.rows.values()))
    return Baseline(revision=revision, path=path, text=text, replaced=tuple(replaced), rows=rows, left_out=left_out)


def _find(graph: RevisionGraph, to: str, *, from_models: bool) -> str:
    """Return the revision that *to* names.

    :raises ConfigurationError: unless it is one, and with *from_models* the newest.
    """
    if graph.is_empty:
        raise ConfigurationError(
            f"There are no revisions in {graph.folder}. Write the first with 'tenantkit revision --autogenerate -m "
            "initial'."
        )
    found = graph.resolve(to)
    if len(found) != 1:
        raise ConfigurationError(f"{to!r} is {len(found)} revisions, and a baseline is in place of one: name it.")
    if from_models and found != graph.heads():
        raise ConfigurationError(
            f"The models declare what the newest revision builds, and {found[0]} is not that. Leave out the revision."
        )
    return found[0]


def _require_permitted(left_out: Sequence[str], *, allow_losses: bool) -> None:
    if left_out and not allow_losses:
        raise ConfigurationError(
            f"A baseline would not have {first_lines(left_out)}. Leave these out with allow_losses=True "
            "(--allow-losses), and add them to its file by hand, or in a later revision."
        )


def _script(graph: RevisionGraph, revision: str) -> Script:
    script = graph.scripts.get_revision(revision)
    assert script is not None  # noqa: S101 - it is in the graph
    return script
