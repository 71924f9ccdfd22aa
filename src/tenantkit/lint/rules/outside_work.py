"""TK011: a revision works outside of its connection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


def works_outside(revision: Revision) -> Iterator[Problem]:
    """Find work on files, processes, the network and other connections, which a replay omits."""
    if not revision.is_replayed:
        return
    if revision.scope == "tenant":
        why = (
            "It cannot be replayed or rolled back. Do it in the application, or set replay = False in the revision: "
            "then Alembic runs it for each tenant"
        )
    else:
        why = "It cannot be rolled back. Do it in the application, or set replay = False in the revision"
    for outside in revision.first.outside:
        yield Problem(outside.lines, f"This {outside.what}, outside of the revision's connection. {why}.")
    seen = {line for outside in revision.first.outside for line in outside.lines}
    for suspicion in revision.source.suspicions:
        if suspicion.kind in {"connects", "outside"} and suspicion.line not in seen:
            yield Problem(
                (suspicion.line,),
                f"In this revision {suspicion.reason}, outside of the revision's connection. {why}.",
            )


RULE = Rule("TK011", "a revision works outside of its connection", works_outside)
