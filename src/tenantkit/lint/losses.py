"""Tables and columns that downgrades drop, found without a database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.exceptions.base import as_clause
from tenantkit.lint.rendering.render import environment, render
from tenantkit.lint.revision import Schemas
from tenantkit.lint.source.file import Source
from tenantkit.lint.sql.statement import MISSING, has_parser
from tenantkit.lint.sql.texts import TENANT_SCHEMA
from tenantkit.lint.sql.tree import Name, find, name_of, walk

if TYPE_CHECKING:
    from tenantkit.deployment import Deployment
    from tenantkit.lint.rendering.render import Rendering
    from tenantkit.lint.sql.statement import Statement
    from tenantkit.migrations.graph.revision_graph import RevisionGraph

_TABLES = frozenset({"OBJECT_FOREIGN_TABLE", "OBJECT_MATVIEW", "OBJECT_TABLE"})
_DROPS_MORE = frozenset({"OBJECT_EXTENSION", "OBJECT_SCHEMA"})


@dataclass(slots=True)
class Losses:
    """The data that downgrades remove. Names have a schema unless it is the placement's own."""

    tables: set[Name] = field(default_factory=set[Name])
    columns: dict[Name, set[str]] = field(default_factory=dict[Name, set[str]])
    """By table."""
    emptied: set[Name] = field(default_factory=set[Name])
    """Tables of which some or all rows are deleted."""
    unknown: dict[str, str] = field(default_factory=dict[str, str])
    """Revisions that may remove more, each with the reason why that is not known."""

    @property
    def touched(self) -> frozenset[Name]:
        """The tables that lose rows or values."""
        return frozenset(self.tables | self.columns.keys() | self.emptied)

    def learn(self, statement: Statement) -> None:
        """Add the objects and rows that a statement removes."""
        kind, node = statement.kind, statement.node
        if kind == "DropStmt" and node["removeType"] in _TABLES:
            self.tables |= {*map(_own, statement.changes)}
        elif kind == "TruncateStmt":
            self.emptied |= {*map(_own, statement.changes)}
        merged = (
            each
            for each in find({kind: node}, "MergeStmt")
            if any(when.get("commandType") == "CMD_DELETE" for when in find(each, "MergeWhenClause"))
        )
        deleted = (name_of(each["relation"]) for each in (*find({kind: node}, "DeleteStmt"), *merged))
        self.emptied |= {*map(_own, filter(None, deleted))}
        for action in statement.actions:
            if action.kind == "DropColumn" and statement.altered_table is not None:
                self.columns.setdefault(_own(statement.altered_table), set()).add(action.name)
            elif action.kind == "DetachPartition" and action.partition is not None:
                self.tables.add(_own(action.partition))


def find_losses(tenancy: Deployment, graph: RevisionGraph, revisions: Iterable[str]) -> Losses:
    """Return the data that the downgrades of *revisions* remove.

    Each ``downgrade()`` runs on a database that does not exist, as ``upgrade()`` does in lint; work outside of its
    connection is prevented.

    :raises ConfigurationError: if the environment is not usable.
    """
    losses = Losses()
    if not has_parser():
        losses.unknown = dict.fromkeys(revisions, f"its statements were not checked, as {MISSING}")
        return losses
    leads_to = Schemas.of(tenancy).schema_translate_map(graph.scope)
    with environment(graph) as context:
        for revision in revisions:
            script = graph.scripts.get_revision(revision)
            assert script is not None  # noqa: S101 - it was planned
            if any(each.kind == "connects" for each in Source.of(Path(script.path)).suspicions_of("downgrade")):
                losses.unknown[revision] = "it makes a connection of its own"
                continue
            rendering = render(context, script.module, leads_to, function="downgrade")
            for step in rendering.steps:
                for statement in step.all_statements:
                    losses.learn(statement)
            if (reason := _unknown(rendering)) is not None:
                losses.unknown[revision] = reason
    for table in losses.tables:
        losses.columns.pop(table, None)
    losses.emptied -= losses.tables
    return losses


def _unknown(rendering: Rendering) -> str | None:
    """Return why a downgrade may remove more than was found; ``None`` if it does not."""
    if rendering.outside:
        return f"it {rendering.outside[0].what}"
    if rendering.error is not None:
        return f"it fails without a database ({as_clause(f'{type(rendering.error).__name__}: {rendering.error}')})"
    if any(not step.by_operation and not step.by_long_change for step in rendering.steps):
        return "it uses the database itself, and depends on what it finds there"
    statements = [each for step in rendering.steps for each in step.all_statements]
    unread = next((each.error for each in statements if each.error is not None), None)
    if unread is not None:
        return f"PostgreSQL 17's parser does not read it: {unread}"
    bodies = (each for each in statements if each.kind == "DoStmt")
    unseen = next((each.unseen for each in bodies if each.unseen is not None), None)
    if unseen is not None:
        return unseen
    more = next((each.text for each in statements if _drops_more(each)), None)
    return None if more is None else f"'{more}' drops dependent objects, too"


def _drops_more(statement: Statement) -> bool:
    is_cascading = any(node.get("behavior") == "DROP_CASCADE" for node in walk(statement.node))
    return is_cascading or statement.kind == "DropOwnedStmt" or statement.node.get("removeType") in _DROPS_MORE


def _own(name: Name) -> Name:
    return Name(None, name.name) if name.schema == TENANT_SCHEMA else name
