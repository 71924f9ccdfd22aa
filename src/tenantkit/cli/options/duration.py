"""Lengths of time on the command line."""

from __future__ import annotations

import re
from datetime import timedelta

from tenantkit.cli.display.errors import UsageError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str, option: str) -> timedelta:
    """Return the length of time that *text* says: a whole number and a unit of s, m, h, d or w.

    :raises UsageError: if it says none.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip())
    try:
        if found is not None:
            return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        pass
    raise UsageError(f"{option} {text!r} is no length of time. Write 30d, 12h, 45m or 90s.")
