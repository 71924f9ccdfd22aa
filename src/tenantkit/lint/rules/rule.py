"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule finds wrong."""

    lines: tuple[int, ...]
    """Where, the innermost call first."""
    message: str
    """What is wrong, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, which has a page of its code in the documentation."""

    code: str
    """``TK001`` and so on."""
    title: str
    """The kind of problem that it finds, in one line."""
    check: Callable[[Revision], Iterator[Problem]]
    """Finds the problems of a revision."""
