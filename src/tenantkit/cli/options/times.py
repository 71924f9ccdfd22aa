"""Times and durations of the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tenantkit.cli.display.errors import UsageError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART = re.compile(r"([\d.]+)([smhdw])")


def parse_duration(text: str | None, option: str) -> timedelta | None:
    """Return a duration given as ``30s``, ``1h30m`` or ``7d``; ``None`` if none was.

    :raises UsageError: if it is none.
    """
    if text is None:
        return None
    if (found := _duration(text)) is not None:
        return found
    raise UsageError(f"{option} {text!r} is no duration: give numbers with s, m, h, d or w, such as 30s or 1h30m.")


def parse_time(text: str | None, option: str) -> datetime | timedelta | None:
    """Return a time to come given in ISO 8601 with its time zone, or a duration from now; ``None`` if none was.

    :raises UsageError: if it is neither, or has passed.
    """
    if text is None:
        return None
    if (found := _duration(text)) is not None:
        return found
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is neither a time such as 2030-01-31T08:00Z, nor a duration such as 90m or 1h30m."
        ) from None
    if time.utcoffset() is None:
        raise UsageError(f"{option} {text!r} needs a time zone, as 2030-01-31T08:00Z and 2030-01-31T10:00+02:00 have.")
    if time <= datetime.now(UTC):
        raise UsageError(f"{option} {text!r} has passed already.")
    return time


def _duration(text: str) -> timedelta | None:
    try:
        if _DURATION.fullmatch(text):
            return sum((timedelta(**{_UNITS[unit]: float(n)}) for n, unit in _PART.findall(text)), timedelta())
    except OverflowError:
        pass
    return None
