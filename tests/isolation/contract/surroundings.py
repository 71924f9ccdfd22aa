"""Cases of what else tenants may have in common: sequences, locks, the catalog, and what is left on a connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.isolation.contract.application import INVOICE_NO, KEYS, Task
from tests.isolation.contract.case import Case
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.line import (
    ACTIVITY,
    ADVISORY_LOCK,
    CATALOG,
    LARGE_OBJECT,
    LEFT_BEHIND,
    PREPARED,
    SEQUENCE,
    STATISTICS,
    TABLE_LOCK,
)
from tests.isolation.contract.visibility import fill
from tests.support.blocking import in_sync

SECRET = "'the secret of a tenant'"

TYPED = {
    "a value of a type": "SELECT title FROM task WHERE state = CAST(CAST('OPEN' AS text) AS state)",
    "whole rows": "SELECT t.title, t.state, t FROM task AS t",
    "all columns": "SELECT title, * FROM task",
    "plain": "SELECT title FROM task",
}


def is_prepared_for_each(query: str) -> Callable[[Deployment], bool]:
    """Return whether a statement that is repeated often enough to be prepared finds the rows of its tenant."""

    def holds(deployment: Deployment) -> bool:
        fill(deployment)
        return all(
            deployment.work(key, lambda session: session.scalars(text(query)).all()) == [key]
            for _ in range(8)
            for key in KEYS
        )

    return holds


def is_counted_for_each(number: Any) -> Callable[[Deployment], bool]:
    """Return whether a tenant's number of a sequence follows on its own last one."""

    def holds(deployment: Deployment) -> bool:
        first, second = KEYS

        def draw(key: str) -> int:
            return deployment.work(key, lambda session: session.scalar(number))

        begun, start = draw(second), draw(first)
        assert [draw(first) for _ in range(3)] == [start + 1, start + 2, start + 3]
        return draw(second) == begun + 1

    return holds


def meanwhile(use: Callable[[Session], Any], find: Callable[[Session], bool]) -> Callable[[Deployment], bool]:
    """Return whether *find* does not notice what another tenant does in an open transaction: see `Case.holds`.

    In another session of the same tenant, or of a superuser, it does.
    """

    def noticed(deployment: Deployment, observer: Any) -> bool:
        with deployment.application.session(KEYS[0]) as session:
            in_sync(session, use)
            with observer as other:
                return in_sync(other, find)

    def holds(deployment: Deployment) -> bool:
        own, others = map(deployment.application.session, KEYS)
        superusers = Session(deployment.engines[deployment.operator.get(KEYS[0]).placement.database])
        assert noticed(deployment, own) or noticed(deployment, superusers)
        return not noticed(deployment, others)

    return holds


def waits(session: Session) -> bool:
    session.execute(text("SET LOCAL lock_timeout = '100ms'"))
    try:
        session.execute(insert(Task).values(title="", project_id=1))
    except DBAPIError as error:
        return "lock timeout" in str(error)
    return False


def opens_large_objects_of_its_own(deployment: Deployment) -> bool:
    first, second = KEYS
    made = deployment.work(first, lambda session: session.scalar(select(func.lo_from_bytea(0, b"secret"))))

    def read(session: Session) -> bool:
        try:
            return session.scalar(select(func.lo_get(made))) == b"secret"
        except DBAPIError:
            session.rollback()
            return False

    assert deployment.work(first, read)
    return not deployment.work(second, read)


def is_in_no_statistics_of_another(deployment: Deployment) -> bool:
    first, second = KEYS
    rows = [{"title": first, "project_id": 1}] * 20
    deployment.work(first, lambda session: session.execute(insert(Task), rows))
    deployment.alter(first, "ANALYZE task")

    def find(session: Session) -> bool:
        query = "SELECT count(*) FROM pg_stats WHERE tablename = 'task' AND CAST(most_common_vals AS text) LIKE :title"
        return bool(session.scalar(text(query), {"title": f"%{first}%"}))

    with Session(deployment.engines[deployment.operator.get(first).placement.database]) as session:
        assert find(session)
    return not deployment.work(second, find)


def is_in_no_catalog_of_another(deployment: Deployment) -> bool:
    first, second = KEYS
    name = deployment.operator.get(first).schema

    def find(session: Session) -> bool:
        return session.scalar(text("SELECT count(*) FROM pg_namespace WHERE nspname = :name"), {"name": name}) == 1

    assert deployment.work(first, find)
    return not deployment.work(second, find)


def leaves_nothing(leave: str, find: str) -> Callable[[Deployment], bool]:
    """Return whether nobody finds what a tenant's transaction has left: see `Case.holds`."""

    def holds(deployment: Deployment) -> bool:
        first, second = KEYS

        def work(session: Session) -> bool:
            session.execute(text(leave))
            return session.scalar(text(find))

        def look(session: Session) -> bool:
            return session.scalar(text(find))

        assert deployment.work(first, work)
        plain = []
        for opened in deployment.plain_sessions():
            with opened as session:
                plain.append(in_sync(session, look))
        return not (any(plain) or deployment.work(second, look) or deployment.work(first, look))

    return holds


LEFT = {
    "setting": ("SET app.who = 'acme'", "SELECT coalesce(current_setting('app.who', true), '') <> ''"),
    "path": ("SET search_path = elsewhere", "SELECT current_setting('search_path') = 'elsewhere'"),
    "temporary table": ("CREATE TEMP TABLE left_over (id int)", "SELECT to_regclass('pg_temp.left_over') IS NOT NULL"),
    "advisory lock": (
        "SELECT pg_advisory_lock(4711)",
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
    ),
    "cursor": (
        "DECLARE left_over CURSOR WITH HOLD FOR SELECT title FROM task",
        "SELECT EXISTS (SELECT FROM pg_cursors WHERE name = 'left_over')",
    ),
    "prepared statement": (
        "PREPARE left_over AS SELECT title FROM task",
        "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'left_over')",
    ),
}
"""What a transaction leaves by text, and the query that finds it in the same transaction."""

CASES: Sequence[Case] = (
    *(Case(PREPARED, name, is_prepared_for_each(query)) for name, query in TYPED.items()),
    Case(SEQUENCE, "declared", is_counted_for_each(INVOICE_NO)),
    Case(SEQUENCE, "in a function", is_counted_for_each(select(func.nextval("invoice_no")))),
    Case(SEQUENCE, "in text", is_counted_for_each(text("SELECT nextval('invoice_no')"))),
    *(Case(LEFT_BEHIND, name, leaves_nothing(*statements)) for name, statements in LEFT.items()),
    Case(
        TABLE_LOCK,
        "LOCK TABLE",
        meanwhile(lambda session: session.execute(text("LOCK TABLE task IN EXCLUSIVE MODE")), waits),
    ),
    Case(
        ADVISORY_LOCK,
        "of a transaction",
        meanwhile(
            lambda session: session.execute(select(func.pg_advisory_xact_lock(4711))),
            lambda session: not session.scalar(select(func.pg_try_advisory_xact_lock(4711))),
        ),
    ),
    Case(
        ACTIVITY,
        "text of a statement",
        meanwhile(
            lambda session: session.execute(text(f"SELECT {SECRET}")),
            lambda session: bool(
                session.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%secret of%' AND pid <> pg_backend_pid()"
                    )
                )
            ),
        ),
    ),
    Case(LARGE_OBJECT, "read", opens_large_objects_of_its_own),
    Case(STATISTICS, "most common values", is_in_no_statistics_of_another),
    Case(CATALOG, "place of a tenant", is_in_no_catalog_of_another),
)
