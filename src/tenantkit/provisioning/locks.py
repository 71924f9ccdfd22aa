"""Waiting politely for locks that other transactions hold."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from tenantkit.exceptions import TenantkitError

LOCK_TIMEOUT = "2s"
ATTEMPTS = 8

_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
"""serialization_failure, deadlock_detected, lock_not_available (PostgreSQL, appendix A)."""


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database error, whichever driver raised it."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None)


def is_lock_conflict(error: BaseException) -> bool:
    """Return whether the transaction failed only because of others, and may succeed if run again."""
    return sqlstate(error) in _CONFLICTS


def limit_lock_waits(connection: Connection) -> None:
    """Give up on a lock after `LOCK_TIMEOUT` for the rest of this transaction.

    A statement that waits for a strong lock makes everyone behind it wait too.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


def retrying() -> Retrying:
    """Return what runs a transaction again after a lock conflict, with growing, random pauses."""
    return Retrying(
        retry=retry_if_exception(is_lock_conflict),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )


def reason(error: BaseException) -> str:
    """Return why something failed, in one line."""
    if isinstance(error, TenantkitError):
        return str(error)
    original = (error.orig or error) if isinstance(error, DBAPIError) else error
    first, *_ = str(original).splitlines() or [""]
    return f"{type(original).__name__}: {first}".removesuffix(": ")
