"""Phases of a deployment: how far a fleet may be migrated while the code from before it still runs.

A revision has ``phase = "contract"`` if it removes what that code uses. All others belong to
``phase = "expand"``, marked or not: an unmarked revision may be one that the new code needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.results.heads import format_heads

if TYPE_CHECKING:
    from alembic.script import Script

    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

Phase: TypeAlias = Literal["expand", "contract"]
"""Before the deployment of the new code, or after the last of the old code is gone."""

_WITHOUT_END = frozenset({"head", "heads"})
"""The targets that a phase may limit; others have an end of their own."""


def require_known(phase: object) -> None:
    """Raise unless *phase* is a phase or ``None``: a misspelt one must not be taken for no limit.

    :raises ConfigurationError: if it is not.
    """
    if phase is not None and phase not in get_args(Phase):
        raise ConfigurationError(f"There is no phase {phase!r}. Use one of {', '.join(get_args(Phase))}.")


def limit(graph: RevisionGraph, target: str, current: Heads, phase: Phase | None) -> str:
    """Return the target at which *phase* ends on the way from *current* to *target*.

    That is *target*, or for ``expand`` the last revisions before the first that contracts: several, separated by
    commas, on branches; those of *current* if there is none.

    :raises ConfigurationError: if a revision that does not contract comes after one that does, so that it cannot be
        reached, or if the target or a revision is wrong.
    """
    require_known(phase)
    if phase != "expand":
        return target
    require_no_end(target)
    contracts: dict[str, str] = {}
    reached = {*current}
    for step in graph.upgrade_steps(target, current):
        script: Script = step.revision
        before = [contracts[down] for down in script._all_down_revisions if down in contracts]  # noqa: SLF001
        if phase_of(script) == "contract":
            contracts[script.revision] = script.revision
        elif not before:
            reached = reached - {*script._all_down_revisions} | {script.revision}  # noqa: SLF001
        elif script.is_merge_point and phase_of(script) is None:
            contracts[script.revision] = before[0]  # a merge has no steps
        else:
            raise ConfigurationError(_order_problem(script.revision, before[0]))
    return format_heads(tuple(reached)) or "base"


def require_no_end(target: str) -> None:
    """Raise if *target* has an end of its own.

    :raises ConfigurationError: if it has.
    """
    if target not in _WITHOUT_END:
        raise ConfigurationError(
            f"The phase expand ends before the first revision that contracts, and {target!r} at another one. "
            "Leave out the phase or the target."
        )


def phase_of(script: Script) -> Phase | None:
    """Return the phase of a revision.

    :raises ConfigurationError: if there is no such phase.
    """
    phase: object = getattr(script.module, "phase", None)
    if phase is not None and phase not in get_args(Phase):
        raise ConfigurationError(
            f"Revision {script.revision} has the phase {phase!r}. Write 'expand' or 'contract', or leave it out."
        )
    return phase  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def _order_problem(revision: str, contracting: str) -> str:
    return (
        f"Revision {revision} belongs before the new code, but comes after {contracting}, whose phase is contract, "
        "so it cannot be reached with the phase expand. Finish that first, once no code from before it runs: "
        f"'tenantkit migrate {contracting}'. If {revision} contracts too, say so in it: phase = \"contract\"."
    )
