"""Rules, and the problems that they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem that a rule finds."""

    lines: tuple[int, ...]
    """The lines of the revision, the innermost call first."""
    message: str
    """The problem, and advice."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, which has a page of its code in the documentation."""

    code: str
    """``TK001`` and so on."""
    title: str
    """The kind of problem that it finds, in one line."""
    check: Callable[[Revision], Iterator[Problem]]
    """Finds the problems of a revision."""
