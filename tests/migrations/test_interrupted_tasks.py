"""Parts of a run that is interrupted, in one process: the queue, connections, statements, pauses and workers."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Semaphore, Timer, current_thread, main_thread
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine
from typing_extensions import override

from tenantkit import Tenancy
from tenantkit.cancellation import Cancellation, handling
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations import Progress, migrate
from tenantkit.migrations.executors import process
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.connections import Reconnect, begin, cancel, raise_when_cancelled
from tenantkit.migrations.tasks.queue import run_tasks
from tenantkit.migrations.tasks.task import Retry, Task, run_task
from tenantkit.tenant import Placement
from tests.migrations.environments import Environment
from tests.support.processes import until

LONG = 60.0
"""Seconds of a wait that the interruption ends; a test fails if it lasts half of that."""


def make_tasks(count: int) -> list[Task]:
    target = MigrationTarget(placement=Placement("main", "s"))
    return [Task(key=f"k{number}", target=target, command="migrate", revision="head") for number in range(count)]


@contextmanager
def ends_soon() -> Generator[None]:
    """Check that a block is interrupted, and soon."""
    start = monotonic()
    with pytest.raises(KeyboardInterrupt):
        yield
    assert monotonic() - start < LONG / 2


@contextmanager
def soon(work: Callable[[], object]) -> Generator[None]:
    """Call *work* in another thread, soon after the begin of a block."""
    timer = Timer(0.1, work)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def interrupt_this_process() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def raise_(error: BaseException) -> Any:
    raise error


def succeed_later(task: Task) -> Outcome:
    sleep(0.2)
    return task.outcome("one", "two")


def fail(task: Task) -> Outcome:
    return task.outcome(error=psycopg.errors.QueryCanceled())


ENDS: list[Callable[[Task], Outcome | Retry]] = [
    lambda _: raise_(KeyboardInterrupt()),
    lambda _: raise_(OSError("the pipe is closed")),
    fail,
    lambda task: Retry(fail(task)),
    succeed_later,
]
"""Each way in which a task may end after an interruption."""


class Waiting:
    """Executes each task until it is interrupted, and then ends it by a function."""

    def __init__(self, end: Callable[[Task], Outcome | Retry], begun: Semaphore) -> None:
        self._interrupted = Event()
        self._end, self._begun = end, begun

    def __call__(self, task: Task) -> Outcome | Retry:
        self._begun.release()
        assert self._interrupted.wait(LONG), "it was not interrupted"
        return self._end(task)

    def interrupt(self) -> None:
        self._interrupted.set()
        raise OSError

    def close(self) -> None: ...


def at_work() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tenantkit-migration")]


def test_all_tasks_are_interrupted_and_those_that_succeed_are_reported() -> None:
    cancellation, begun = Cancellation(), Semaphore(0)
    executors = [partial(Waiting, end, begun) for end in ENDS]

    def request() -> None:
        for _ in ENDS:
            begun.acquire()
        cancellation.request()

    reported: list[Outcome] = []
    with ends_soon(), soon(request):
        for outcome in run_tasks(make_tasks(2 * len(ENDS)), executors, cancellation=cancellation):
            reported.append(outcome)  # noqa: PERF402 - those before the exception
    assert [outcome.ok for outcome in reported] == [True]
    assert not begun.acquire(blocking=False), "a task was begun after the interruption"
    assert at_work() == []
    cancellation.end()


@pytest.mark.parametrize("where", ["caller", "executor"])
def test_an_interruption_that_is_no_signal_interrupts_all_tasks(where: str) -> None:
    begun = Semaphore(0)
    cancellation = Cancellation()

    class Raising(Waiting):
        def __call__(self, task: Task) -> Outcome | Retry:
            begun.acquire()
            if where == "executor":
                raise KeyboardInterrupt
            return task.outcome("one", "two")

    makes = [partial(Waiting, succeed_later, begun), partial(Raising, succeed_later, begun)]
    outcomes = run_tasks(make_tasks(2), makes, cancellation=cancellation)
    with ends_soon():
        next(outcomes)
        outcomes.throw(KeyboardInterrupt())
    assert at_work() == []
    assert cancellation.is_requested
    cancellation.end()


def test_a_cancelled_statement_raises_keyboard_interrupt_and_no_other_begins(engine: Engine) -> None:
    cancellation = Cancellation()
    raise_when_cancelled(engine, cancellation)
    with engine.connect() as connection, cancellation.cancelling(partial(cancel, connection)):
        connection.exec_driver_sql("SELECT 1")
        with cancellation.interruptible():
            with soon(cancellation.request), ends_soon():
                connection.exec_driver_sql(f"SELECT pg_sleep({LONG})")
            connection.rollback()
            with pytest.raises(KeyboardInterrupt):
                connection.exec_driver_sql("SELECT 1")
        cancellation.end()


@pytest.mark.parametrize("where", ["main thread", "thread"])
@pytest.mark.parametrize("state", ["away", "silent"])
def test_an_attempt_to_connect_is_interrupted(where: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.pause", lambda _: LONG)
    ended: list[BaseException] = []

    def connect() -> None:
        if state == "away":
            raise psycopg.OperationalError
        sleep(LONG)

    def work(reconnect: Reconnect) -> None:
        assert (current_thread() is main_thread()) == (where == "main thread")
        try:
            reconnect(connect)
        except KeyboardInterrupt as error:
            ended.append(error)

    with ends_soon(), handling() as cancellation, soon(interrupt_this_process):
        reconnect = Reconnect(cancellation)
        if where == "main thread":
            work(reconnect)
        else:
            timer = Timer(0, work, [reconnect])
            timer.start()
            timer.join()
        cancellation.check()
    assert len(ended) == 1


def test_a_transaction_of_the_run_is_interrupted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.pause", lambda _: LONG)
    for work in (
        lambda connection: connection.exec_driver_sql(f"SELECT pg_sleep({LONG})"),
        lambda _: raise_(psycopg.OperationalError()),
    ):
        with ends_soon(), handling() as cancellation, soon(interrupt_this_process):
            begin(engine, work, cancellation)


def test_a_pause_before_another_attempt_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.pause", lambda _: LONG)
    cancellation = Cancellation()
    (task,) = make_tasks(1)
    with ends_soon(), soon(cancellation.request):
        run_task(task, lambda task: Retry(fail(task)), cancellation)
    cancellation.end()


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet("pass", ("k0", "k1", "k2"))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Callable[..., Tenancy]) -> Callable[..., Tenancy]:
    environment.add("one", "pass")
    return migrated_tenancy


class Interrupted(Progress):
    """Records the tenants that are done, and interrupts the run when one is *at*."""

    def __init__(self, at: str = "") -> None:
        self.done: list[str] = []
        self._at = at

    @override
    def finished(self, outcome: Outcome) -> None:
        self.done.append(outcome.key)
        if outcome.key == self._at:
            signal.raise_signal(signal.SIGINT)


def test_a_tenant_whose_transaction_is_committed_is_reported(
    fleet: Callable[..., Tenancy], environment: Environment
) -> None:
    interrupt = "lambda *_: signal.raise_signal(signal.SIGINT)"
    environment.add("two", f"import signal\nsa.event.listen(op.get_bind().engine, 'checkin', {interrupt}, once=True)")
    progress = Interrupted()
    with ends_soon():
        migrate(fleet(), jobs=0, progress=progress)
    assert progress.done == ["k0"]


def test_after_an_interruption_no_tenant_is_put_into_maintenance(
    fleet: Callable[..., Tenancy], environment: Environment, engine: Engine
) -> None:
    def changed() -> list[Any]:
        with engine.connect() as connection:
            query = "SELECT key FROM tenantkit.tenants WHERE updated_at > created_at ORDER BY key"
            return list(connection.exec_driver_sql(query).scalars())

    environment.add("two", "pass")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET updated_at = created_at")
    with ends_soon():
        migrate(fleet(), jobs=0, maintenance=True, progress=Interrupted(at="k0"))
    assert changed() == ["k0"]


def test_a_tenant_that_waits_to_enter_maintenance_is_not_waited_for(
    fleet: Callable[..., Tenancy], environment: Environment, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.migrations.executors.maintenance.limit_lock_waits", lambda _: None)
    environment.add("two", "pass")

    def is_waiting() -> bool:
        with engine.connect() as connection:
            query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            return connection.exec_driver_sql(query).first() is not None

    def interrupt() -> None:
        until(is_waiting)
        interrupt_this_process()

    class Locks(Progress):
        @override
        def started(self, total: int) -> None:
            connection.exec_driver_sql("SELECT FROM tenantkit.tenants WHERE key = 'k0' FOR NO KEY UPDATE")

    with engine.connect() as connection:
        timer = Timer(LONG, connection.invalidate)
        timer.start()
        with soon(interrupt), ends_soon():
            migrate(fleet(), jobs=0, maintenance=True, progress=Locks())
        timer.cancel()


def test_the_explanation_of_a_failure_is_interrupted(
    fleet: Callable[..., Tenancy], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(connection: Connection, *_: Any) -> None:
        Timer(0.1, interrupt_this_process).start()
        connection.exec_driver_sql(f"SELECT pg_sleep({LONG})")

    monkeypatch.setattr("tenantkit.migrations.executors.alembic.explain", explain)
    environment.add("two", "raise ValueError")
    with ends_soon():
        migrate(fleet(), jobs=0)


AT_THE_WORKER = "import os, signal, time\nif {condition}:\n    os.kill({parent}, signal.SIGINT)\n    {then}"
IS_LAST = "op.get_bind().exec_driver_sql('SELECT current_schema()').scalar() == 't_k2'"


@pytest.mark.all_cases
@pytest.mark.usefixtures("new_workers")
@pytest.mark.parametrize("moment", ["start", "work"])
def test_a_worker_outside_of_the_database_is_ended(
    moment: str, fleet: Callable[..., Tenancy], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", LONG)
    then = f"time.sleep({LONG})"
    if moment == "start":
        monkeypatch.setattr(process, "_MAIN", AT_THE_WORKER.format(condition=True, parent=os.getpid(), then=then))
        environment.add("two", "pass")
    else:
        environment.add("two", AT_THE_WORKER.format(condition=IS_LAST, parent=os.getpid(), then=then))
    with ends_soon():
        migrate(fleet(), engine="alembic", jobs=1)


def test_a_worker_that_does_not_react_is_killed(
    fleet: Callable[..., Tenancy], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.3)
    code = AT_THE_WORKER.format(condition=IS_LAST, parent=os.getpid(), then="os.kill(os.getpid(), signal.SIGSTOP)")
    environment.add("two", code)
    with ends_soon():
        migrate(fleet(), engine="alembic", jobs=1)


@pytest.mark.usefixtures("new_workers")
def test_a_signal_to_a_worker_that_starts_does_not_end_it(
    fleet: Callable[..., Tenancy], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.send_signal(signal.SIGINT)
            self.send_signal(signal.SIGTERM)

    environment.add("two", "pass")
    monkeypatch.setattr("tenantkit.migrations.executors.process.subprocess.Popen", Popen)
    report = migrate(fleet(), engine="alembic", jobs=1)
    assert [outcome.ok for outcome in report.outcomes] == [True] * 3


@pytest.mark.usefixtures("new_workers")
@pytest.mark.parametrize("is_ignored", [False, True])
def test_processes_of_a_revision_react_to_signals_as_the_run_does(
    is_ignored: bool, fleet: Callable[..., Tenancy], environment: Environment, tmp_path: Path
) -> None:
    ask = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    answer = tmp_path / "answer"
    environment.add(
        "two",
        "import pathlib, subprocess, sys\n"
        f"pathlib.Path({str(answer)!r}).write_bytes(subprocess.check_output([sys.executable, '-c', {ask!r}]))",
    )
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN if is_ignored else signal.default_int_handler)
    try:
        migrate(fleet(), engine="alembic", jobs=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert answer.read_text() == f"{is_ignored}\n"
