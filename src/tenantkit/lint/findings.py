"""The results of a check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A problem of a revision."""

    path: Path
    line: int
    code: str
    """The rule: ``TK001`` and so on, or the name of a rule of squawk."""
    message: str
    """The problem, and advice."""


@dataclass(frozen=True, slots=True)
class Report:
    """The findings in a number of revisions."""

    findings: tuple[Finding, ...]
    revisions: int
    """Number of revisions that were checked."""
    has_squawk: bool
    """Whether squawk checked them too."""
    unseen: tuple[Finding, ...] = ()
    """The places from which revisions with ``replay = False`` were not checked, as they work outside of their
    connection."""
