"""Tables and columns that downgrades drop, found out without a database."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.exceptions import as_clause
from tenantkit.lint.rendering.render import TENANT_SCHEMA, environment, render
from tenantkit.lint.revision import Schemas
from tenantkit.lint.source.file import Source
from tenantkit.lint.sql import NAME, NAMES, Name, parse_name

if TYPE_CHECKING:
    from tenantkit.deployment import Deployment
    from tenantkit.lint.rendering.render import Rendering
    from tenantkit.lint.sql import Statement
    from tenantkit.migrations.graph.revision_graph import RevisionGraph

_DROPS_TABLES = re.compile(rf"^drop (?:materialized view|foreign table|table) (?:if exists )?({NAMES})")
_DROPS_COLUMN = re.compile(rf"^drop (?!constraint\b)(?:column )?(?:if exists )?({NAME})")
_EMPTIES = re.compile(rf"^(?:truncate (?:table )?|delete from )(?:only )?({NAMES})")  # noqa: S608 - a pattern
_DROPS_MORE = re.compile(r"^drop (?:schema|extension|owned)\b|\bcascade$")
_DROPS_PARTITION = re.compile(rf"^detach partition ({NAME})")


@dataclass(slots=True)
class Losses:
    """What downgrades take away, with schemas where they are not the placement's own."""

    tables: set[Name] = field(default_factory=set[Name])
    columns: dict[Name, set[str]] = field(default_factory=dict[Name, set[str]])
    """By table."""
    emptied: set[Name] = field(default_factory=set[Name])
    """Tables whose rows are deleted, some or all."""
    unknown: dict[str, str] = field(default_factory=dict[str, str])
    """Revisions of which it is not known what else they take away, each with the reason."""

    @property
    def touched(self) -> frozenset[Name]:
        """The tables whose rows lose something."""
        return frozenset(self.tables | self.columns.keys() | self.emptied)

    def learn(self, statement: Statement) -> None:
        """Take in what a statement drops."""
        if found := _DROPS_TABLES.match(statement.text):
            self.tables |= {_own(parse_name(each)) for each in found[1].split(" , ")}
        elif found := _EMPTIES.match(statement.text):
            self.emptied |= {_own(parse_name(each)) for each in found[1].replace("only ", "").split(" , ")}
        if (table := statement.altered_table) is not None:
            for action in statement.actions:
                if found := _DROPS_COLUMN.match(action):
                    self.columns.setdefault(_own(table), set()).add(parse_name(found[1]).name)
                elif found := _DROPS_PARTITION.match(action):
                    self.tables.add(_own(parse_name(found[1])))


def find_losses(tenancy: Deployment, graph: RevisionGraph, revisions: Iterable[str]) -> Losses:
    """Return what the downgrades of *revisions* take away.

    Each ``downgrade()`` is run on a database that does not exist, as lint runs ``upgrade()``: what it would do
    outside of its connection is prevented.

    :raises ConfigurationError: if the environment is not usable.
    """
    losses = Losses()
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
    """Return why a downgrade may take away more than was seen, if so."""
    if rendering.outside:
        return f"it {rendering.outside[0].what}"
    if rendering.error is not None:
        return f"it fails without a database ({as_clause(f'{type(rendering.error).__name__}: {rendering.error}')})"
    if any(not step.by_operation and not step.by_long_change for step in rendering.steps):
        return "it uses the database itself, and what it finds there decides"
    statements = [each for step in rendering.steps for each in step.all_statements]
    more = next((each.text for each in statements if _DROPS_MORE.search(each.text)), None)
    return None if more is None else f"'{more}' drops what belongs to it, too"


def _own(name: Name) -> Name:
    return Name(None, name.name) if name.schema == TENANT_SCHEMA else name
