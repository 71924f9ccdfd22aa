"""Ways to read: each returns the titles of all tasks that it finds, without a condition for the tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import exists, func, literal, select, text, union, update
from sqlalchemy.orm import Session, aliased, joinedload, selectinload, subqueryload

from tenantkit import tenant_text
from tests.isolation.contract import driver
from tests.isolation.contract.application import Entry, Project, State, Task
from tests.isolation.contract.line import (
    AGGREGATE,
    BULK,
    COPY_OUT,
    CORE,
    CURSOR,
    FUNCTION,
    ORM,
    TEXT,
    TRIGGER,
    VIEW,
    Line,
)

Read = Callable[[Session], Iterable[str | None]]

TABLE: Any = Task.__table__
OTHER = aliased(Task)
FIRST: Any = select(Project).where(Project.id == 1)


def get(session: Session) -> list[str]:
    task = session.get(Task, 1)
    return [] if task is None else [task.title]


def refresh(session: Session) -> list[str]:
    tasks = session.scalars(select(Task)).all()
    for task in tasks:
        session.refresh(task)
    return [task.title for task in tasks]


def related(session: Session, *options: Any) -> list[str]:
    return [task.title for task in session.scalars(FIRST.options(*options)).unique().one().tasks]


def aggregated(session: Session) -> list[str | None]:
    count, first, last = session.execute(select(func.count(), func.min(Task.title), func.max(Task.title))).one()
    return [first, last] if count <= 1 else [first, last, f"{count} tasks"]


def counted(session: Session) -> list[str]:
    return [title for title, count in session.execute(select(Task.title, func.count()).group_by(Task.title)) if count]


def scalars(statement: Any, **options: Any) -> Read:
    return lambda session: session.scalars(statement, execution_options=options).all()


READS: dict[str, tuple[Line, Read]] = {
    "entities": (ORM, lambda session: [task.title for task in session.scalars(select(Task))]),
    "query": (ORM, lambda session: [task.title for task in session.query(Task)]),
    "get": (ORM, get),
    "refresh": (ORM, refresh),
    "lazy load": (ORM, related),
    "joined load": (ORM, lambda session: related(session, joinedload(Project.tasks))),
    "selectin load": (ORM, lambda session: related(session, selectinload(Project.tasks))),
    "subquery load": (ORM, lambda session: related(session, subqueryload(Project.tasks))),
    "stream": (ORM, scalars(select(Task.title), yield_per=1)),
    "for update": (ORM, scalars(select(Task.title).with_for_update())),
    "update returning": (BULK, scalars(update(Task).values(state=State.OPEN).returning(Task.title))),
    "select": (CORE, scalars(select(TABLE.c.title))),
    "join": (CORE, scalars(select(TABLE.c.title).join(Project, TABLE.c.project_id == Project.id))),
    "alias": (CORE, scalars(select(OTHER.title).where(OTHER.state == State.OPEN))),
    "exists": (CORE, scalars(select(TABLE.c.title).where(exists().where(OTHER.title == TABLE.c.title)))),
    "subquery": (CORE, scalars(select(select(TABLE.c.title).subquery().c.title))),
    "common table expression": (CORE, scalars(select(select(TABLE.c.title).cte().c.title))),
    "union": (CORE, scalars(union(select(TABLE.c.title), select(OTHER.title)))),
    "text": (TEXT, scalars(text("SELECT title FROM task"))),
    "text with a type": (TEXT, scalars(text("SELECT title FROM task WHERE state = CAST('OPEN' AS state)"))),
    "tenant text": (TEXT, scalars(tenant_text("SELECT title FROM {tenant}.task"))),
    "driver's SQL": (TEXT, lambda session: session.connection().exec_driver_sql("SELECT title FROM task").scalars()),
    "cursor": (CURSOR, lambda session: driver.fetch(session, "SELECT title FROM task")),
    "COPY out": (COPY_OUT, lambda session: driver.copy_out(session, "SELECT title FROM task")),
    "view": (VIEW, scalars(text("SELECT title FROM open_task"))),
    "function": (FUNCTION, scalars(select(func.titles()))),
    "trigger": (TRIGGER, scalars(select(Entry.title))),
    "aggregate": (AGGREGATE, aggregated),
    "count": (AGGREGATE, counted),
    "window": (AGGREGATE, scalars(select(func.first_value(TABLE.c.title).over(order_by=literal(1))))),
}
