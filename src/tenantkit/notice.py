"""What visitors are told of a tenant that is suspended, read-only or in maintenance: a message and an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unicodedata import category

from tenantkit.arguments import FLAG, Kind, optional, plain, require
from tenantkit.status import Status

MAX_MESSAGE = 500
"""Maximum number of characters of a message."""
MAX_TIME = timedelta(days=36_525)
"""Maximum time to an announced end. In some time zones, Python has no value for that of `datetime.max`."""
_NOT_IN_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of control characters, lone surrogates and line separators."""


def _is_message(text: str) -> bool:
    is_line = not any(category(each) in _NOT_IN_A_LINE for each in text)
    return bool(text.strip()) and len(text) <= MAX_MESSAGE and is_line


def _is_in_the_future(until: datetime | timedelta) -> bool:
    try:
        end = end_of(until)
        now = datetime.now(UTC)
        return end is not None and end.utcoffset() is not None and now < end <= now + MAX_TIME
    except OverflowError:
        return False


def _advise_until(_name: str, value: object) -> str | None:
    is_local = isinstance(value, datetime) and value.utcoffset() is None
    return "Give it a time zone: value.astimezone()." if is_local else None


_MESSAGE = Kind(
    f"a line of at most {MAX_MESSAGE} characters that is not blank, without control characters",
    lambda each: issubclass(type(each), str),
    _is_message,
)
_UNTIL = Kind(
    "a datetime in the future with a time zone, or a positive timedelta, and at most 100 years from now",
    lambda each: isinstance(each, datetime | timedelta),
    _is_in_the_future,
    _advise_until,
)


def end_of(until: datetime | timedelta | None) -> datetime | None:
    """Return the time that *until* means now."""
    return datetime.now(UTC) + until if isinstance(until, timedelta) else until


def check_notice(message: str | None, until: datetime | timedelta | None) -> tuple[str | None, datetime | None]:
    """Return message and end as the registry has them.

    :raises TypeError: if one has the wrong type.
    :raises ConfigurationError: if one has a value that cannot be used.
    """
    require(message=(message, optional(_MESSAGE)), until=(until, optional(_UNTIL)))
    return message and plain(message), end_of(until)


def suspended_status(read_only: bool) -> Status:  # noqa: FBT001 - one decision for both colours of `suspend`
    """Return the status of a suspended tenant.

    :raises TypeError: if *read_only* is no flag.
    """
    require(read_only=(read_only, FLAG))
    return Status.READ_ONLY if read_only else Status.SUSPENDED
