"""Looking at revisions: rendering them, asking the rules, and leaving out what people have silenced."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.arguments import TEXTS, require
from tenantkit.lint import squawk
from tenantkit.lint.findings import Finding, Report
from tenantkit.lint.rendering import Rendering, environment, render
from tenantkit.lint.revision import Revision, Schemas
from tenantkit.lint.rules import RULES, Problem
from tenantkit.lint.selection import Selected, select
from tenantkit.lint.source import Source
from tenantkit.tenancy import TENANCY, Tenancy

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import Script

    from tenantkit.migrations.lines import LineName


def lint(
    tenancy: Tenancy,
    revisions: Sequence[str] = (),
    *,
    since: Sequence[str] = (),
    ignore: Collection[str] = (),
    enable: Collection[str] = (),
) -> Report:
    """Look for what a fleet would suffer from, in the revisions of both lines.

    Their ``upgrade()`` is run on a database that is not there. No server is needed, and none is reached.

    :param revisions: ids (``shared:0001`` where both lines have one), files or folders; all by default.
    :param since: revisions that, with all before them, are not looked at; a line that knows none of them is
        not limited.
    :param ignore: rules to leave out: tenantkit's codes, and names of squawk's.
    :param enable: rules of squawk's that are off by default, to ask all the same.
    :raises ConfigurationError: if there is no such revision, the environment is not usable, or squawk does not work.
    """
    require(
        tenancy=(tenancy, TENANCY),
        revisions=(revisions, TEXTS),
        since=(since, TEXTS),
        ignore=(ignore, TEXTS),
        enable=(enable, TEXTS),
    )
    rendered = list(_render(tenancy, select(tenancy, revisions, since)))
    problems = [(revision, code, problem) for revision in rendered for code, problem in _ask(revision)]
    program = squawk.find()
    if program is not None:
        off = squawk.OFF - {*enable}
        problems += (each for each in squawk.check(program, rendered, enable) if each[1] not in off)
    findings = {
        Finding(revision.path, problem.lines[0], code, problem.message)
        for revision, code, problem in problems
        if not _is_silenced(revision, code, problem, ignore)
    }
    return Report(tuple(sorted(findings)), revisions=len(rendered), has_squawk=program is not None)


def _is_silenced(revision: Revision, code: str, problem: Problem, ignore: Collection[str]) -> bool:
    return (
        code in ignore
        or (revision.phase == "contract" and code.startswith(squawk.CONTRACTING))
        or revision.source.is_silenced(code, problem.lines)
    )


def _ask(revision: Revision) -> Iterator[tuple[str, Problem]]:
    for code, rule in RULES.items():
        for problem in rule(revision):
            yield code, problem


def _render(tenancy: Tenancy, selected: Selected) -> Iterator[Revision]:
    schemas = Schemas.of(tenancy)
    for line, scripts in selected:
        if not scripts:
            continue
        with environment(line) as context:
            for script in scripts:
                yield _look_at(context, line.name, script, schemas)


def _look_at(context: EnvironmentContext, line: LineName, script: Script, schemas: Schemas) -> Revision:
    source = Source.of(Path(script.path))
    leads_to = schemas.schema_translate_map(line)
    is_safe = not any(suspicion.connects for suspicion in source.suspicions)
    first = render(context, script.module, leads_to) if is_safe else Rendering(())
    return Revision(
        line=line,
        path=Path(script.path),
        phase=getattr(script.module, "phase", None),
        schemas=schemas,
        source=source,
        first=first,
        second=render(context, script.module, leads_to) if is_safe and first.error is None else first,
    )
