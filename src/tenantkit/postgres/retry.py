"""The retry policy: the errors that allow another attempt, the number of attempts, and the pauses between them."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import sleep as wait

from sqlalchemy.exc import DBAPIError, OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_after_delay

from tenantkit.postgres.errors import is_lock_conflict, sqlstate

ATTEMPTS = 8
"""Maximum number of attempts at a transaction after lock conflicts."""
PATIENCE = 60.0
"""Seconds for which a run waits for a server that is away, and for another run that has claimed a placement."""
_AWAY = frozenset({None, "57P01", "57P02", "57P03", "57P05"})
"""SQLSTATEs of a server that is away: none (libpq's own errors), admin_shutdown, crash_shutdown, cannot_connect_now and
idle_session_timeout."""


def is_away(error: BaseException) -> bool:
    """Return whether the connection is lost, or cannot be opened now."""
    import psycopg  # noqa: PLC0415 - it needs libpq, which may be missing

    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | psycopg.OperationalError) and sqlstate(error) in _AWAY


def pause(attempt: int) -> float:
    """Return the seconds to wait after an attempt, counted from 1.

    They grow and are random, so that conflicting transactions do not meet again.
    """
    return random.uniform(0, min(2, 0.05 * 2**attempt))  # noqa: S311 - no secret


def pause_while_claimed() -> float:
    """Return the seconds until the next attempt at a placement that another run has claimed."""
    return random.uniform(0.05, 0.5)  # noqa: S311 - no secret


def after_conflicts() -> Retrying:
    """Return the `tenacity.Retrying` that repeats a transaction after a lock conflict."""
    return Retrying(
        retry=retry_if_exception(is_lock_conflict), wait=_pause, stop=stop_after_attempt(ATTEMPTS), reraise=True
    )


def while_away(*, patience: float = PATIENCE, sleep: Callable[[float], None] = wait) -> Retrying:
    """Return the `tenacity.Retrying` that repeats a call for *patience* seconds while the server is away."""
    return Retrying(
        retry=retry_if_exception(is_away), wait=_pause, stop=stop_after_delay(patience), sleep=sleep, reraise=True
    )


def _pause(state: RetryCallState) -> float:
    return pause(state.attempt_number)
