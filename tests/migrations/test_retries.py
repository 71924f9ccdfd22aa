"""The retry policy: errors, number of attempts, and pauses."""

from __future__ import annotations

import psycopg
import pytest

from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.task import Retry, Task
from tenantkit.postgres.retry import ATTEMPTS, PATIENCE, after_conflicts, pause, while_away
from tenantkit.tenant import Placement

TASK = Task(key="acme", target=MigrationTarget(placement=Placement("main", "s")), command="migrate", revision="head")


def pauses(retry: Retry) -> list[float]:
    """Return the pauses before the attempts at `TASK` that follow the first."""
    task, found = TASK, []
    while not isinstance(step := retry.next(task), Outcome):
        task, seconds = step
        found.append(seconds)
    assert step is retry.failure
    return found


def test_a_placement_fails_after_eight_lock_conflicts() -> None:
    assert len(pauses(Retry(TASK.outcome(error=psycopg.errors.LockNotAvailable())))) == ATTEMPTS - 1 == 7


def test_a_placement_that_another_run_has_claimed_fails_after_a_minute() -> None:
    waited = pauses(Retry.claimed(TASK))
    assert PATIENCE == 60
    assert sum(waited[:-1]) < PATIENCE <= sum(waited)


def test_pauses_grow_up_to_two_seconds() -> None:
    longest = [max(pause(attempt) for _ in range(500)) for attempt in range(1, ATTEMPTS)]
    assert longest[0] <= 0.1 < longest[1] <= 0.2 < longest[2] <= 0.4
    assert 1.5 < longest[-1] <= 2


@pytest.mark.parametrize("error", [psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected])
def test_a_transaction_is_repeated_while_others_conflict(error: type[psycopg.Error]) -> None:
    errors = [error(), error()]

    def work() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert after_conflicts()(work) == "done"


@pytest.mark.parametrize("retrying", [after_conflicts, while_away])
def test_other_errors_are_raised_at_once(retrying: type) -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise psycopg.errors.UniqueViolation

    with pytest.raises(psycopg.errors.UniqueViolation):
        retrying()(work)
    assert len(calls) == 1


def test_retries_for_an_unreachable_server_use_the_callers_sleep() -> None:
    slept: list[float] = []

    def connect() -> None:
        if len(slept) < 3:
            raise psycopg.OperationalError

    while_away(sleep=slept.append)(connect)
    assert len(slept) == 3
    assert all(0 <= seconds <= 2 for seconds in slept)
