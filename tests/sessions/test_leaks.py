"""Pooled connections pass nothing from one tenant to another.

Two connections serve many tenants from concurrent threads and tasks. Every row has the
key of its tenant, and every session commits in its middle, so that the pool may give it
another connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, Engine, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, selectinload

from tenantkit import ConfigurationError, RawSQLForbiddenError, Tenancy, tenant_context
from tenantkit.asyncio import AsyncTenancy
from tests.support.blocking import in_sync
from tests.support.models import APPLICATION, Project, State, Task

KEYS = [f"tenant{number}" for number in range(8)]
POOL = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 60}


def reads_entities(session: Session, key: str) -> set[str]:
    return {project.name for project in session.scalars(select(Project).options(selectinload(Project.tasks)))}


def reads_lazily(session: Session, key: str) -> set[str]:
    session.commit()
    return {task.title for project in session.scalars(select(Project)) for task in project.tasks}


def reads_text(session: Session, key: str) -> set[str]:
    return set(session.scalars(text("SELECT name FROM project UNION SELECT title FROM task")))


def reads_text_from_the_driver(session: Session, key: str) -> set[str]:
    return set(session.connection().exec_driver_sql("SELECT title FROM task WHERE state = 'OPEN'").scalars())


def reads_columns(session: Session, key: str) -> set[str]:
    return set(session.scalars(select(Task.title).where(Task.state == State.OPEN).order_by(text("task.id"))))


def adds(session: Session, key: str) -> set[str]:
    project = session.scalars(select(Project).order_by(func.random())).first()
    assert project is not None
    session.add(Task(title=key, project=project))
    session.flush()
    return {project.name}


def adds_text(session: Session, key: str) -> set[str]:
    statement = text("INSERT INTO task (title, state, project_id) VALUES (:key, 'OPEN', 1) RETURNING title")
    return set(session.scalars(statement, {"key": key}))


def upserts(session: Session, key: str) -> set[str]:
    session.commit()  # so that a transaction waits for one row at most, and two cannot wait for each other
    statement = (
        upsert(Project).values(name=key).on_conflict_do_update(index_elements=["name"], set_={"country_code": None})
    )
    return set(session.scalars(statement.returning(Project.name)))


def updates(session: Session, key: str) -> set[str]:
    session.commit()
    return set(session.scalars(update(Task).values(state=State.OPEN).where(Task.id == 1).returning(Task.title)))


def fails_in_a_savepoint(session: Session, key: str) -> set[str]:
    try:
        with session.begin_nested():
            session.execute(text("INSERT INTO project (id, name) VALUES (1, 'twice')"))
    except DBAPIError:
        pass
    return set(session.scalars(text("SELECT name FROM project")))


def fails_altogether(session: Session, key: str) -> set[str]:
    try:
        session.execute(text("SELECT nothing FROM nowhere"))
    except DBAPIError:
        session.rollback()
    return set(session.scalars(text("SELECT title FROM task")))


def commits(session: Session, key: str) -> set[str]:
    session.commit()
    return set()


STEPS: list[Callable[[Session, str], set[str]]] = [
    reads_entities,
    reads_lazily,
    reads_text,
    reads_text_from_the_driver,
    reads_columns,
    adds,
    adds_text,
    upserts,
    updates,
    fails_in_a_savepoint,
    fails_altogether,
    commits,
    commits,
]


def work(session: Session, key: str, random: Random) -> set[str]:
    seen: set[str] = set()
    for step in random.choices(STEPS, k=8):
        seen |= step(session, key)
    session.commit()
    return seen


@pytest.fixture
def crowd(make_tenancy: Callable[..., Tenancy]) -> Tenancy:
    tenancy = make_tenancy(engine_options=POOL)
    for key in KEYS:
        tenancy.create(key, seed=lambda session, key=key: session.add(Project(name=key, tasks=[Task(title=key)])))
    return tenancy


def owners_of_rows(engine: Engine) -> dict[str, set[str]]:
    with engine.connect() as connection:
        return {
            key: set(
                connection.exec_driver_sql(
                    f"SELECT name FROM t_{key}.project UNION SELECT title FROM t_{key}.task"
                ).scalars()
            )
            for key in KEYS
        }


async def crowd_of_tasks(url: URL, driver: str, seeds: range) -> list[tuple[str, set[str]]]:
    tenancy = AsyncTenancy(url.set(drivername=f"postgresql+{driver}"), listen=False, engine_options=POOL, **APPLICATION)

    async def visit(number: int) -> tuple[str, set[str]]:
        random = Random(number)
        key = random.choice(KEYS)
        if random.random() < 0.5:
            with tenant_context(await tenancy.get(key)):
                async with tenancy.session() as session:
                    return key, await session.run_sync(work, key, random)
        async with tenancy.session(key) as session:
            return key, await session.run_sync(work, key, random)

    try:
        return await asyncio.gather(*(visit(number) for number in seeds))
    finally:
        await tenancy.close()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_threads_and_tasks_over_many_tenants_see_their_own_rows_only(
    crowd: Tenancy, engine: Engine, database: URL, portal: BlockingPortal, driver: str, all_cases: bool
) -> None:
    number_of_each = 80 if all_cases else 40

    def visit(number: int) -> tuple[str, set[str]]:
        random = Random(number)
        key = random.choice(KEYS)
        if random.random() < 0.5:
            with tenant_context(crowd.get(key)), crowd.session() as session:
                return key, work(session, key, random)
        with crowd.session(key) as session:
            return key, work(session, key, random)

    tasks = portal.start_task_soon(crowd_of_tasks, database, driver, range(1000, 1000 + number_of_each))
    with ThreadPoolExecutor(8) as threads:
        visits = list(threads.map(visit, range(number_of_each)))
    visits += tasks.result()
    assert len(visits) == 2 * number_of_each
    assert [(key, seen) for key, seen in visits if not seen <= {key}] == []
    assert owners_of_rows(engine) == {key: {key} for key in KEYS}


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "  rollback",
        "END",
        "ABORT",
        "-- so\nCOMMIT AND CHAIN",
        "/* so */ PREPARE TRANSACTION 'x'",
        "/* so /* or */ so */ COMMIT",
        "--so\rCOMMIT",
        ";COMMIT",
        "SELECT ';', $$;$$, E'\\';' AS \";\"; COMMIT; BEGIN",
    ],
)
def test_text_cannot_end_the_transaction_of_the_path(any_tenancy: Any, statement: str) -> None:
    any_tenancy.create("acme")
    with any_tenancy.session("acme") as session:
        session.execute(text("INSERT INTO project (name) VALUES ('kept')"))
        with pytest.raises(RawSQLForbiddenError, match="commit"):
            session.execute(text(statement))
        session.execute(text("SAVEPOINT here"))
        session.execute(text("ROLLBACK TO SAVEPOINT here"))
        session.execute(text("ROLLBACK WORK TO here"))
        assert session.scalars(text("SELECT name FROM project")).all() == ["kept"]


def test_text_may_contain_the_word_commit(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    with any_tenancy.session("acme") as session:
        for statement in (
            "SELECT 'a; commit', E'\\'; commit', $x$; commit $x$ AS \"; commit\" /* ; commit */ -- ; commit",
            "CREATE FUNCTION one() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
            "CREATE FUNCTION two() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 2; END $$",
        ):
            session.execute(text(statement))
        assert session.execute(text("SELECT one() + two()")).scalar_one() == 3


def test_a_temporary_table_cannot_shadow_the_tenants_own(any_tenancy: Any) -> None:
    any_tenancy.create("acme", seed=lambda session: session.add(Project(name="real")))
    with any_tenancy.session("acme") as session:
        session.execute(text("CREATE TEMP TABLE project AS SELECT 'false' AS name"))
        assert session.scalars(text("SELECT name FROM project")).all() == ["real"]
        assert session.scalars(select(Project.name)).all() == ["real"]


def test_an_autocommit_connection_of_a_session_is_refused(any_tenancy: Any, engine: Engine) -> None:
    any_tenancy.create("acme")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE public.project AS SELECT 'decoy' AS name")

    def use(session: Session) -> None:
        with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})

    with any_tenancy.session("acme") as session:
        in_sync(session, use)


def test_statements_prepared_for_one_tenant_do_not_serve_another(any_tenancy: Any) -> None:
    """With different types behind one text, asyncpg raised InvalidCachedStatementError, or read the wrong rows."""
    for key in ("acme", "beta"):
        any_tenancy.create(
            key, seed=lambda session, key=key: session.add(Project(name=key, tasks=[Task(title=key, state=State.DONE)]))
        )
    statements = [
        select(Task.title).where(Task.state == State.DONE),
        text("SELECT title FROM task WHERE state = 'DONE'"),
        text("SELECT title FROM task WHERE state = CAST(CAST(:state AS text) AS state)"),
        text("SELECT t.title, t.state, t FROM task AS t WHERE state = 'DONE'"),
    ]
    for _ in range(12):  # both drivers prepare frequent statements
        for key in ("acme", "beta"):
            for statement in statements:
                with any_tenancy.session(key) as session:
                    parameters = {"state": "DONE"} if ":state" in str(statement) else {}
                    assert session.scalars(statement, parameters).all() == [key]


def test_a_change_of_the_schema_does_not_break_prepared_statements(any_tenancy: Any, engine: Engine) -> None:
    any_tenancy.create("acme")
    for _ in range(8):
        with any_tenancy.session("acme") as session:
            session.scalars(select(Project)).all()
            session.execute(text("SELECT * FROM project")).all()
    any_tenancy.drop("acme")
    any_tenancy.create("acme", seed=lambda session: session.add(Project(name="new")))
    for _ in range(4):
        with any_tenancy.session("acme") as session:
            assert session.scalars(select(Project.name)).all() == ["new"]
            assert session.execute(text("SELECT * FROM project")).one().name == "new"
