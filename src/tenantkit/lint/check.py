"""The check of revisions: render them, apply the rules, and leave out silenced findings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.arguments import TEXTS, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError
from tenantkit.lint import squawk
from tenantkit.lint.findings import Finding, Report
from tenantkit.lint.rendering.render import Rendering, environment, render
from tenantkit.lint.revision import Revision, Schemas
from tenantkit.lint.rules import RULES, Problem
from tenantkit.lint.selection import Selected, select
from tenantkit.lint.source.file import Source
from tenantkit.lint.sql.statement import MISSING, has_parser

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import Script

    from tenantkit.migrations.graph.revision_graph import RevisionGraph

COMMON = "TK012"
"""The rule for tables that tenants share."""


def lint(
    tenancy: Deployment,
    revisions: Sequence[str] = (),
    *,
    since: Sequence[str] = (),
    ignore: Collection[str] = (),
    enable: Collection[str] = (),
) -> Report:
    """Check shared and tenant revisions for problems in a fleet.

    Their ``upgrade()`` runs on a database that does not exist: no server is needed, and none is reached.

    :param revisions: ids (``shared:0001`` where both sides have one), files or folders; all by default.
    :param since: revisions that are left out, with all revisions before them; a graph that has none of them is not
        limited.
    :param ignore: rules to leave out: codes of tenantkit and names of squawk's rules.
    :param enable: rules that are off by default: of squawk, and TK012, which is on if new tenants share tables.
    :raises ConfigurationError: if there is no such revision or rule, or the environment, squawk or the parser
        does not work.
    """
    require(
        tenancy=(tenancy, TENANCY),
        revisions=(revisions, TEXTS),
        since=(since, TEXTS),
        ignore=(ignore, TEXTS),
        enable=(enable, TEXTS),
    )
    if not has_parser():
        raise ConfigurationError(f"{MISSING}.")
    program = squawk.find()
    ignored, enabled = ({_normalize(name) for name in names} for names in (ignore, enable))
    _require_rules(program, ignore=ignore, enable=enable)
    rendered: list[Revision] = []
    problems: list[tuple[Revision, str, Problem]] = []
    for revision in _render(tenancy, select(tenancy, revisions, since), has_common_tables=COMMON in enabled):
        rendered.append(revision)
        problems += ((revision, code, problem) for code, problem in _apply_rules(revision))
    if program is not None:
        off = squawk.OFF - enabled
        others = [each for each in squawk.check(program, rendered, enabled) if each[1] not in off]
        found_by_squawk = {(id(revision), squawk.SAME.get(code), problem.lines) for revision, code, problem in others}
        problems = [each for each in problems if (id(each[0]), each[1], each[2].lines) not in found_by_squawk]
        problems += others
    findings: set[Finding] = set()
    unseen: set[Finding] = set()
    for revision, code, problem in problems:
        if not _is_silenced(revision, code, problem, ignored):
            is_declared = code == "TK000" and not revision.is_replayed and revision.works_outside
            (unseen if is_declared else findings).add(Finding(revision.path, problem.lines[0], code, problem.message))
    return Report(
        tuple(sorted(findings)),
        revisions=len(rendered),
        has_squawk=program is not None,
        unseen=tuple(sorted(unseen)),
    )


def _normalize(name: str) -> str:
    """Return the name of a rule in its usual case."""
    return name.upper() if name.upper() in RULES else name.lower()


def _require_rules(program: str | None, **names: Collection[str]) -> None:
    """Raise if a name is not that of a rule. It would be taken for a rule without findings.

    :raises ConfigurationError: with the nearest names.
    """
    for option, given in names.items():
        for name in given:
            if (spelled := _normalize(name)) in RULES or squawk.has_rule(program, spelled):
                continue
            known = {each.lower(): each for each in [*RULES, *sorted(squawk.known_rules())]}
            near = [known[each] for each in known if spelled and spelled in each]
            near = near or [known[each] for each in get_close_matches(spelled, known, n=3)]
            hint = f"Did you mean {' or '.join(near[:3])}?" if near else f"tenantkit's are {', '.join(RULES)}."
            raise ConfigurationError(f"There is no rule {name!r}, which {option} names. {hint}")


def _is_silenced(revision: Revision, code: str, problem: Problem, ignore: Collection[str]) -> bool:
    return (
        code in ignore
        or (revision.phase == "contract" and code.startswith(squawk.CONTRACTING))
        or revision.source.is_silenced(code, problem.lines)
    )


def _apply_rules(revision: Revision) -> Iterator[tuple[str, Problem]]:
    for rule in RULES.values():
        for problem in rule.check(revision):
            yield rule.code, problem


def _render(tenancy: Deployment, selected: Selected, *, has_common_tables: bool) -> Iterator[Revision]:
    schemas = Schemas.of(tenancy, has_common_tables=has_common_tables)
    for line, scripts in selected:
        if not scripts:
            continue
        with environment(line) as context:
            renderer = _Renderer(context, line, schemas)
            yield from map(renderer, scripts)


@dataclass
class _Renderer:
    """Renders the revisions of one graph, each once."""

    context: EnvironmentContext
    graph: RevisionGraph
    schemas: Schemas
    _seen: dict[str, Revision] = field(default_factory=dict[str, Revision])

    def __call__(self, script: Script) -> Revision:
        """Return the revision of *script*."""
        if script.revision not in self._seen:
            self._seen[script.revision] = _render_revision(self, script)
        return self._seen[script.revision]

    def before(self, script: Script) -> Iterator[Revision]:
        """Yield the revisions before *script*, in order."""
        several = list(self.graph.scripts.iterate_revisions(script.revision, "base"))
        return (self(each) for each in reversed(several) if each.revision != script.revision)


def _render_revision(renderer: _Renderer, script: Script) -> Revision:
    context, scope, schemas = renderer.context, renderer.graph.scope, renderer.schemas
    source = Source.of(Path(script.path))
    leads_to = schemas.schema_translate_map(scope)
    is_safe = not any(suspicion.kind == "connects" for suspicion in source.suspicions)
    first = render(context, script.module, leads_to) if is_safe else Rendering(())
    return Revision(
        scope=scope,
        path=Path(script.path),
        phase=getattr(script.module, "phase", None),
        is_replayed=getattr(script.module, "replay", True) is not False,
        schemas=schemas,
        source=source,
        first=first,
        second=render(context, script.module, leads_to) if is_safe and first.error is None else first,
        history=partial(renderer.before, script),
    )
