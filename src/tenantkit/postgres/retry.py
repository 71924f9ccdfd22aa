"""Retries of transactions after lock conflicts."""

from __future__ import annotations

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from tenantkit.postgres.errors import is_lock_conflict

ATTEMPTS = 8


def retrying() -> Retrying:
    """Return the `tenacity.Retrying` that repeats a transaction after a lock conflict, with growing, random pauses."""
    return Retrying(
        retry=retry_if_exception(is_lock_conflict),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
