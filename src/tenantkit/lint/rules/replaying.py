"""Rules about what cannot be replayed: what is not in the statements, or is no statement."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from tenantkit.lint.rules.problem import Problem
from tenantkit.migrations.replay.recorder import LEXER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tenantkit.lint.rendering.render import Rendering, Step
    from tenantkit.lint.revision import Revision

_SLOW = "so its statements cannot be replayed and Alembic runs it tenant by tenant"


def cannot_be_replayed(revision: Revision) -> Iterator[Problem]:
    """TK007: what it does depends on more than the revision."""
    if revision.scope != "tenant" or not revision.is_replayed:
        return
    connections = tuple(each.line for each in revision.source.suspicions if each.kind == "reads")
    for step in _recorded(revision.first):
        if not step.by_operation:
            yield Problem(
                (*step.lines, *connections),  # a comment may stand where the connection comes from
                "A connection is used here (op.get_bind(), an inspector, a Session, another package's operation) and "
                f"no operation of Alembic, {_SLOW}. Write it in SQL: op.execute().",
            )
        elif LEXER.search(step.sql):
            yield Problem(step.lines, f"This changes how statements are read, {_SLOW}. Leave the setting alone.")
    for suspicion in revision.source.suspicions:
        if suspicion.kind == "asks":
            yield Problem((suspicion.line,), f"In this revision {suspicion.reason} decides, {_SLOW}.")
    first, second = _recorded(revision.first), _recorded(revision.second)
    pairs = zip(first, second, strict=False)
    differing = next((a for a, b in pairs if (a.sql, a.parameters) != (b.sql, b.parameters)), None)
    varying = [each for each in revision.source.suspicions if each.kind == "varies"]
    for suspicion in varying:
        if differing is not None:
            yield Problem((suspicion.line,), f"In this revision {suspicion.reason} decides, {_SLOW}. Write it in SQL.")
        else:
            yield Problem(
                (suspicion.line,),
                f"In this revision {suspicion.reason} decides: tenants that another run migrates or creates may get "
                "something else. Write the value itself, or SQL.",
            )
    if differing is not None and not varying:
        yield Problem(differing.lines, f"Run twice, this is not the same, {_SLOW}. Write it in SQL.")


def works_outside(revision: Revision) -> Iterator[Problem]:
    """TK011: it does something outside of its connection, which a replay leaves out."""
    if not revision.is_replayed:
        return
    if revision.scope == "tenant":
        why = (
            "It cannot be replayed, and no transaction takes it back. Do it in the application, or set replay = False "
            "in the revision: then Alembic runs it for each tenant"
        )
    else:
        why = "No transaction takes it back. Do it in the application, or set replay = False in the revision"
    for outside in revision.first.outside:
        yield Problem(outside.lines, f"This {outside.what}, outside of the revision's connection. {why}.")
    seen = {line for outside in revision.first.outside for line in outside.lines}
    for suspicion in revision.source.suspicions:
        if suspicion.kind in {"connects", "outside"} and suspicion.line not in seen:
            yield Problem(
                (suspicion.line,),
                f"In this revision {suspicion.reason}, outside of the revision's connection. {why}.",
            )


def _recorded(rendering: Rendering) -> Sequence[Step]:
    """Return the steps that a recording would have: it ends where something is committed by itself."""
    return [*takewhile(lambda step: not step.in_autocommit_block, rendering.steps)]
