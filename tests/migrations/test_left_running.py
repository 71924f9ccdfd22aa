"""What a revision leaves running never works in another tenant, nor in a later revision."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Generator, Iterable
from itertools import product
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import MigrationError, Tenancy
from tenantkit.migrations import migrate
from tenantkit.migrations.executors import process
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

KEYS = [f"k{number}" for number in range(5)]
ONE = 'op.create_table("a", sa.Column("x", sa.Integer), schema="tenant")'
ADD = "op.add_column('a', sa.Column('y', sa.Integer), schema='tenant')\n"

HEAD = """
import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

from alembic import context
from alembic.operations import Operations

GO, LEFT, CAUGHT = threading.Event(), [], []
INSERT = "INSERT INTO a (x) VALUES (99)"


def work(insert):
    GO.wait(1)
    try:
        insert()
    except BaseException as error:
        CAUGHT.append(f"{type(error).__name__}: {error}")
"""

USES = {
    "op": "lambda: op.execute(INSERT)",
    "op.get_bind()": "lambda: op.get_bind().exec_driver_sql(INSERT)",
    "the kept connection": "lambda bind=op.get_bind(): bind.exec_driver_sql(INSERT)",
    "a kept Operations": "lambda kept=Operations(op.get_context()): kept.execute(INSERT)",
    "alembic.context": "lambda: context.execute(INSERT)",
    "the driver": "lambda: op.get_bind().connection.driver_connection.execute(INSERT)",
    "the kept driver": "lambda raw=op.get_bind().connection.driver_connection: raw.execute(INSERT)",
    "a kept cursor": "lambda raw=op.get_bind().connection.cursor(): raw.execute(INSERT)",
}
"""Ways to the connection, as functions that a revision makes."""
CLOSED = {"the kept connection", "a kept Operations"}
"""Those of them that lead to the earlier tenant's connection, which is closed."""

STARTS = {
    "thread": "thread = threading.Thread(target=work, args=(insert,)); thread.start(); END = thread.join",
    "daemon": "thread = threading.Thread(target=work, args=(insert,), daemon=True); thread.start(); END = thread.join",
    "timer": "thread = threading.Timer(0, work, (insert,)); thread.start(); END = thread.join",
    "executor": "END = ThreadPoolExecutor(1).submit(work, insert).result",
    "pool": (
        "pool = ThreadPool(1); result = pool.apply_async(work, (insert,))\n"
        "END = lambda: (result.get(), pool.terminate(), pool.join())"
    ),
    "thread of a thread": (
        "inner = threading.Thread(target=work, args=(insert,))\n"
        "outer = threading.Thread(target=inner.start); outer.start(); outer.join(); END = inner.join"
    ),
    "to_thread": (
        "loop = asyncio.new_event_loop(); future = loop.run_in_executor(None, work, insert)\n"
        "END = lambda: loop.run_until_complete(future)"
    ),
    "task": (
        "loop = asyncio.new_event_loop()\n"
        "async def later(): await asyncio.sleep(0.2); work(insert)\n"
        "task = loop.create_task(later()); loop.run_until_complete(asyncio.sleep(0))\n"
        "END = lambda: loop.run_until_complete(task)"
    ),
    "context": "copied = contextvars.copy_context(); END = lambda: copied.run(work, insert)",
    "raw thread": (
        "import _thread; ended = threading.Event()\n"
        "_thread.start_new_thread(lambda: (work(insert), ended.set()), ()); END = ended.wait"
    ),
}
"""Ways to leave code running, each with a function that waits for its end."""
WAITED = {
    "thread": "thread = threading.Thread(target=work, args=(insert,)); thread.start(); thread.join()",
    "executor": "with ThreadPoolExecutor(2) as pool: pool.submit(work, insert).result()",
    "executor that is garbage": "ThreadPoolExecutor(2).submit(work, insert).result()",
    "thread of a thread": (
        "inner = threading.Thread(target=work, args=(insert,))\n"
        "outer = threading.Thread(target=inner.start); outer.start(); outer.join(); inner.join()"
    ),
    "asyncio": "async def main(): await asyncio.to_thread(work, insert)\nasyncio.run(main())",
    "context": "contextvars.Context().run(work, insert)",
    "greenlet": "import greenlet; greenlet.greenlet(work).switch(insert)",
}
"""Ways to run code in a revision that waits for it."""

OPTIONS: dict[str, dict[str, Any]] = {
    "in this process": {"jobs": 0},
    "alembic": {"engine": "alembic", "jobs": 1},
    "alembic, 4 jobs": {"engine": "alembic", "jobs": 4},
    "replay": {"jobs": 4},
}


pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed running multiprocessing pool",
    "ignore:Exception ignored in. <function Pool.__del__:pytest.PytestUnraisableExceptionWarning",
)


def spread(*values: Iterable[str]) -> list[tuple[str, ...]]:
    """Return each fifth combination: all of them take ten minutes."""
    return [*product(*values)][::5]


@pytest.fixture(autouse=True)
def nothing_left() -> Generator[None]:
    """End the loops and pools that revisions leave, so that no later test gets a warning of them."""
    yield
    for each in gc.get_objects():
        if isinstance(each, asyncio.BaseEventLoop) and not each.is_running():
            each.close()
        elif isinstance(each, ThreadPool):
            each.terminate()
    gc.collect()


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(ONE, tuple(KEYS))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Tenancy:
    """Five tenants, and a table of the same name in public."""
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    with tenancy.engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.a (x int)"))
    return tenancy


def written(engine: Engine) -> list[str]:
    """Return the schemas with a row of the code that was left running."""
    with engine.connect() as connection:
        schemas = ["public", *(f"t_{key}" for key in KEYS)]
        return [
            schema for schema in schemas if connection.execute(text(f"SELECT FROM {schema}.a WHERE x = 99")).rowcount
        ]


@pytest.mark.some_values(start=14)
@pytest.mark.parametrize(("start", "use", "options"), spread(STARTS, USES, OPTIONS))
def test_what_a_revision_leaves_running_does_not_work_in_the_next_tenant(
    start: str,
    use: str,
    options: str,
    fleet: Tenancy,
    environment: Environment,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    leave = "\n".join(f"    {line}" for line in STARTS[start].splitlines())
    environment.add(
        "two",
        f"{ADD}insert = {USES[use]}\nif not LEFT:\n{leave}\n    LEFT.append(END)\n"
        "else:\n    GO.set()\n    LEFT[0]()\n    LEFT[1:] = CAUGHT",
        head=HEAD,
    )
    try:
        migrate(fleet, **OPTIONS[options])
        said = caplog.text
    except MigrationError as error:
        said = f"{caplog.text}{error}"
    assert written(engine) == []
    if OPTIONS[options]["jobs"] < 2 and use not in CLOSED:  # with more jobs, a process may migrate one tenant
        assert "It was refused. Let the revision wait" in said


@pytest.mark.some_values(how=10)
@pytest.mark.parametrize(("how", "use", "options"), spread(WAITED, USES, OPTIONS))
def test_threads_and_tasks_that_a_revision_waits_for_work_in_its_tenant(
    how: str, use: str, options: str, fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    environment.add(
        "two",
        f"{ADD}insert = {USES[use]}\nGO.set(); CAUGHT.clear()\n{WAITED[how]}\nassert not CAUGHT, CAUGHT",
        head=HEAD,
    )
    migrate(fleet, **OPTIONS[options])
    assert written(engine) == [f"t_{key}" for key in KEYS]


@pytest.mark.all_cases
@pytest.mark.parametrize("options", ["in this process", "replay"])
def test_a_revision_whose_threads_go_on_using_op_fails(options: str, fleet: Tenancy, environment: Environment) -> None:
    environment.add(
        "two",
        f"{ADD}LEFT.append(ThreadPoolExecutor(1))\nGO.set()\nLEFT[-1].submit(work, lambda: op.execute(INSERT)).result()",
        "pass",
        head=HEAD,
    )
    with pytest.raises(MigrationError, match=r"Revision two left a thread running that uses op \(ThreadPool.*two\.py"):
        migrate(fleet, **OPTIONS[options])


@pytest.mark.all_cases
def test_a_thread_of_an_earlier_revision_does_not_work_in_a_later_one(
    fleet: Tenancy, environment: Environment, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    kept = "bind = op.get_bind(); insert = lambda: bind.exec_driver_sql(INSERT)"
    environment.add(
        "leaving", f"{ADD}{kept}\nimport sys; sys.KEPT = LEFT, GO\n{STARTS['thread']}\nLEFT.append(END)", head=HEAD
    )
    environment.add("three", "import sys; LEFT, GO = sys.KEPT\nGO.set()\nLEFT[-1]()")
    with pytest.raises(MigrationError, match="Revision leaving left a thread or a task running in the schema 't_k0'"):
        migrate(fleet, tenants=["k0"], jobs=0)
    assert written(engine) == []
    assert "Revision leaving left a thread running (Thread-" in caplog.text


@pytest.mark.all_cases
def test_a_worker_whose_threads_never_end_is_killed(
    fleet: Tenancy, environment: Environment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "END_LIMIT", 1.0)
    environment.add("two", f"{ADD}threading.Thread(target=threading.Event().wait).start()", head=HEAD)
    assert not migrate(fleet, engine="alembic", jobs=2).failures
    assert "A worker process is killed, as it has not ended 1 seconds after its last task" in caplog.text


@pytest.mark.all_cases
def test_a_revision_may_use_a_pooled_connection_on_which_another_one_has_run(
    environment: Environment, migrated_tenancy: Make
) -> None:
    environment.add("one", "with op.get_bind().engine.connect() as other:\n    other.exec_driver_sql('SELECT 1')")
    tenancy = migrated_tenancy()
    for number in range(4):
        assert tenancy.create(f"n{number}").status == "active"
