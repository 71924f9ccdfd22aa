"""The result of a squash: a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A revision that builds a tenant's tables from nothing, in place of all revisions up to its own."""

    revision: str
    """Its id: that of the newest revision that it replaces, so tenants at that are at the baseline."""
    path: Path
    """Its file."""
    text: str
    """The contents of its file."""
    replaced: tuple[str, ...]
    """The revisions that have no file any more, the oldest first."""
    rows: int
    """Number of rows that it inserts: those that the revisions have left in a new tenant's tables."""
    left_out: tuple[str, ...]
    """The properties and objects that it does not create."""
