"""The number of concurrent tasks: decided without a clock, and respected by threads."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from threading import Barrier, Event, Lock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations import Outcome
from tenantkit.migrations.tasks.concurrency import ConcurrencyLimit
from tenantkit.migrations.tasks.queue import run_tasks
from tenantkit.migrations.tasks.task import Task
from tenantkit.tenant import Placement


class Server:
    """Runs tasks in virtual time, with a maximum number of concurrent tasks."""

    def __init__(self, pace: ConcurrencyLimit, seconds: float, seed: int) -> None:
        self.pace = pace
        self.seconds = seconds
        self.now = 100.0
        self.widths: list[int] = []
        self._chance = random.Random(seed)
        pace.start(self.now)

    def work(self, processors: int, tasks: int) -> Sequence[int]:
        """Run tasks of 0.7 to 1.3 times the usual duration; return the numbers of concurrent tasks."""
        for _ in range(tasks):
            end = self.now + self.seconds / min(processors, self.pace.width) * self._chance.uniform(0.7, 1.3)
            while (patience := self.pace.patience(self.now)) is not None and self.now + patience < end:
                self.now += patience
                self.pace.widen(self.now)
            self.now = end
            self.pace.finished(self.now)
            self.widths.append(self.pace.width)
        return self.widths


@given(processors=st.integers(1, 40), limit=st.integers(1, 40), seed=st.integers())
def test_the_number_of_tasks_grows_to_the_servers_processors(processors: int, limit: int, seed: int) -> None:
    server = Server(ConcurrencyLimit(limit), seconds=0.004, seed=seed)
    server.work(processors, 4_000)
    usual = sorted(server.widths)[len(server.widths) // 2]
    assert min(processors, limit, usual) >= 0.8 * min(processors, limit)
    assert usual <= min(limit, max(2, 2 * processors))
    assert max(server.widths) <= limit


@given(processors=st.integers(1, 40), limit=st.integers(1, 40), seed=st.integers())
def test_long_tasks_use_the_maximum_number(processors: int, limit: int, seed: int) -> None:
    server = Server(ConcurrencyLimit(limit), seconds=60, seed=seed)
    assert server.work(processors, 4)[-1] == limit


def test_after_a_load_of_the_server_the_number_grows_again() -> None:
    server = Server(ConcurrencyLimit(8), seconds=0.01, seed=1)
    assert server.work(1, 1_000)[-1] == 2
    assert server.work(8, 20_000)[-1] == 8


def test_two_slow_tasks_do_not_delay_the_others() -> None:
    server = Server(ConcurrencyLimit(8), seconds=0.01, seed=1)
    assert server.work(1, 1_000)[-1] == 2
    server.seconds = 60
    assert server.work(8, 4)[-1] == 8


class Executor:
    """Runs tasks by a function, and records the executors that ran any."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def __call__(self, task: Task) -> Outcome:
        self._work()
        return task.outcome("one", "two")

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


def tasks(count: int) -> list[Task]:
    return [
        Task(
            key=f"k{number}",
            target=MigrationTarget(placement=Placement("main", "s")),
            command="migrate",
            revision="head",
        )
        for number in range(count)
    ]


def test_no_more_tasks_run_than_the_pace_allows() -> None:
    class Narrow(ConcurrencyLimit):
        def widen(self, now: float) -> None:
            self.start(now)

    lock, working, most = Lock(), 0, 0

    def work() -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        Event().wait(0.001)
        with lock:
            working -= 1

    assert len(list(run_tasks(tasks(200), [lambda: Executor(work)] * 8, None, Narrow(8)))) == 200
    assert most == 2


@pytest.mark.parametrize("executors", [1, 2, 3, 8])
def test_all_executors_get_tasks_while_others_wait(executors: int) -> None:
    together = Barrier(executors)
    outcomes = run_tasks(
        tasks(2 * executors),
        [lambda: Executor(lambda: together.wait(60))] * executors,
        None,
        ConcurrencyLimit(executors),
    )
    assert len(list(outcomes)) == 2 * executors


def test_idle_executors_end_with_the_others() -> None:
    stop = Event()
    outcomes = run_tasks(tasks(100), [lambda: Executor(lambda: Event().wait(0.001))] * 8, stop, ConcurrencyLimit(8))
    next(iter(outcomes))
    stop.set()
    assert len(list(outcomes)) < 99
    assert len(list(run_tasks(tasks(3), [lambda: Executor(lambda: None)] * 8, None, ConcurrencyLimit(8)))) == 3


def test_nothing_is_begun_once_the_caller_has_left() -> None:
    begun: list[None] = []
    outcomes = run_tasks(tasks(100), [lambda: Executor(lambda: (begun.append(None), Event().wait(0.001)))] * 2)
    next(outcomes)
    outcomes.close()
    assert len(begun) < 50
