"""The heads of a placement as text."""

from __future__ import annotations

from tenantkit.migrations.graph.revision_graph import Heads


def format_heads(heads: Heads) -> str:
    """Return revisions as one string."""
    return ",".join(sorted(heads))


def parse_heads(joined: str | None) -> Heads:
    """Return the revisions in a string of `format_heads`; none for ``None``."""
    return tuple(joined.split(",")) if joined else ()


def is_relative(target: str) -> bool:
    """Return whether a target depends on the revision of a tenant, as ``+1`` does."""
    return target[0] in "+-"
