"""Database errors: their SQLSTATEs and texts."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

from tenantkit.exceptions import TenantkitError
from tenantkit.user_code import describe, storable

LOCK_NOT_AVAILABLE = "55P03"
CONFLICTS = frozenset({"40001", "40P01", LOCK_NOT_AVAILABLE})
"""serialization_failure, deadlock_detected, lock_not_available (PostgreSQL, appendix A)."""


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database error, whichever driver raised it."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None)


def is_lock_conflict(error: BaseException) -> bool:
    """Return whether the transaction failed because of a concurrent one, and may succeed if repeated."""
    return sqlstate(error) in CONFLICTS


def reason(error: BaseException) -> str:
    """Return the reason of an error in one line."""
    if isinstance(error, TenantkitError):
        return storable(str(error))
    return describe((error.orig or error) if isinstance(error, DBAPIError) else error)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and the errors that led to it."""
    seen: list[BaseException] = []  # the causes may form a circle
    following: BaseException | None = error
    while following is not None and not any(following is each for each in seen):
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__
