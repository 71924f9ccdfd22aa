"""TK007: a revision depends on values that are not in the revision."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from tenantkit.lint.rules.rule import Problem, Rule
from tenantkit.migrations.replay.recorder import LEXER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tenantkit.lint.rendering.render import Rendering, Step
    from tenantkit.lint.revision import Revision

_SLOW = "so its statements cannot be replayed and Alembic runs it tenant by tenant"


def cannot_be_replayed(revision: Revision) -> Iterator[Problem]:
    """Find reasons why the statements of one tenant cannot be replayed for the others."""
    if revision.scope != "tenant" or not revision.is_replayed:
        return
    connections = tuple(each.line for each in revision.source.suspicions if each.kind == "reads")
    for step in _recorded(revision.first):
        if not step.by_operation:
            yield Problem(
                (*step.lines, *connections),  # a comment may silence the line that gets the connection
                "This uses a connection (op.get_bind(), an inspector, a Session, another package's operation) instead "
                f"of an operation of Alembic, {_SLOW}. Write it in SQL: op.execute().",
            )
        elif LEXER.search(step.sql):
            yield Problem(step.lines, f"This changes how statements are parsed, {_SLOW}. Do not change the setting.")
    for suspicion in revision.source.suspicions:
        if suspicion.kind == "asks":
            yield Problem((suspicion.line,), f"This revision depends on {suspicion.reason}, {_SLOW}.")
    first, second = _recorded(revision.first), _recorded(revision.second)
    pairs = zip(first, second, strict=False)
    differing = next((a for a, b in pairs if (a.sql, a.parameters) != (b.sql, b.parameters)), None)
    varying = [each for each in revision.source.suspicions if each.kind == "varies"]
    for suspicion in varying:
        if differing is not None:
            yield Problem((suspicion.line,), f"This revision depends on {suspicion.reason}, {_SLOW}. Write it in SQL.")
        else:
            yield Problem(
                (suspicion.line,),
                f"This revision depends on {suspicion.reason}: tenants that are created or migrated later may get "
                "other values. Write the value itself, or SQL.",
            )
    if differing is not None and not varying:
        yield Problem(differing.lines, f"This differs each time, {_SLOW}. Write it in SQL.")


def _recorded(rendering: Rendering) -> Sequence[Step]:
    """Return the steps that a recording would have: it ends at the first step that commits separately."""
    return [*takewhile(lambda step: not step.in_autocommit_block, rendering.steps)]


RULE = Rule("TK007", "a revision depends on values that are not in the revision", cannot_be_replayed)
