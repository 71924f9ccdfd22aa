"""The names that PostgreSQL gives to constraints without one."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST = 63


def default_name(table: str, columns: Sequence[str], suffix: str) -> str:
    """Return the name of a constraint, as PostgreSQL's ``makeObjectName`` makes it while no other has that name.

    :param columns: the names of the columns; none for a primary key.
    :param suffix: ``pkey``, ``key`` or ``fkey``.
    """
    first, second = table.encode(), "_".join(columns).encode()[:_LONGEST]
    room = _LONGEST - len(suffix) - 1 - (1 if second else 0)
    lengths = [len(first), len(second)]
    while sum(lengths) > room:
        lengths[0 if lengths[0] > lengths[1] else 1] -= 1
    parts = [part[:length].decode(errors="ignore") for part, length in zip((first, second), lengths, strict=True)]
    return "_".join([*(part for part in parts if part), suffix])
