"""What a rule finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule finds wrong."""

    lines: tuple[int, ...]
    """Where, the innermost call first."""
    message: str
    """What is wrong, and what to do instead."""
