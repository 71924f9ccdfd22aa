"""What linting comes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that a revision had better not do."""

    path: Path
    line: int
    code: str
    """The rule: ``TK001`` and so on, or the name of one of squawk's."""
    message: str
    """What is wrong, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in which revisions."""

    findings: tuple[Finding, ...]
    revisions: int
    """How many were looked at."""
    has_squawk: bool
    """Whether squawk looked at them too."""
    unseen: tuple[Finding, ...] = ()
    """Where revisions with ``replay = False`` were looked at no further, as they work outside of their connection."""
