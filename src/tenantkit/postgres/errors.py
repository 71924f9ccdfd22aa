"""Database errors: their SQLSTATEs and texts."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

from tenantkit.exceptions import TenantkitError
from tenantkit.user_code import describe, storable

LOCK_NOT_AVAILABLE = "55P03"
OUT_OF_MEMORY = "53200"
CONFLICTS = frozenset({"40001", "40P01", LOCK_NOT_AVAILABLE, OUT_OF_MEMORY})
"""serialization_failure, deadlock_detected, lock_not_available and out_of_memory (PostgreSQL, appendix A).

Usually, the memory is that for the locks of all transactions: each table that one creates takes several.
"""


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
    found = describe((error.orig or error) if isinstance(error, DBAPIError) else error)
    if sqlstate(error) == OUT_OF_MEMORY:
        found += "; if it is that for locks, raise the server's max_locks_per_transaction, or do less at once"
    return found


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and the errors that led to it."""
    seen: list[BaseException] = []  # the causes may form a circle
    following: BaseException | None = error
    while following is not None and not any(following is each for each in seen):
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__
