"""Ways to write: each gives the session's tenant a task 1 with a title, and changes no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, func, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from tests.isolation.contract import driver
from tests.isolation.contract.application import Project, Task
from tests.isolation.contract.line import (
    BULK,
    COPY_IN,
    CORE,
    CURSOR,
    FUNCTION,
    ORM,
    TEXT,
    UPSERT,
    UPSERT_TEXT,
    VIEW,
    Line,
)

Write = Callable[[Session, str], Any]

TABLE: Any = Task.__table__
NAMED: Any = {"id": 1, "title": "", "project_id": 1}
"""A task before it gets its title."""


def add(session: Session, title: str) -> None:
    session.add(Task(id=1, title=title, project_id=1))
    session.flush()


def append(session: Session, title: str) -> None:
    project = session.get_one(Project, 1)
    project.tasks.append(Task(id=1, title=title))
    session.flush()


def merge(session: Session, title: str) -> None:
    session.merge(Task(id=1, title=title, project_id=1))
    session.flush()


def change(session: Session, title: str) -> None:
    task = Task(**NAMED)
    session.add(task)
    session.commit()
    task.title = title
    session.flush()


def replace(session: Session, title: str) -> None:
    session.add(Task(**NAMED))
    session.flush()
    session.delete(session.get_one(Task, 1))
    session.flush()
    add(session, title)


def update_all_by_orm(session: Session, title: str) -> None:
    session.add(Task(**NAMED))
    session.execute(update(Task).values(title=title))


def update_by_key(session: Session, title: str) -> None:
    session.execute(insert(Task), [NAMED])
    session.execute(update(Task), [{"id": 1, "title": title}])


def update_mappings(session: Session, title: str) -> None:
    session.bulk_insert_mappings(Task, [NAMED])
    session.bulk_update_mappings(Task, [{"id": 1, "title": title}])


def insert_from_select(session: Session, title: str) -> None:
    chosen = select(literal(1), literal(title), Project.id).where(Project.id == 1)
    session.execute(insert(TABLE).from_select(["id", "title", "project_id"], chosen))


def update_all(session: Session, title: str) -> None:
    session.execute(insert(TABLE), [NAMED])
    session.execute(update(TABLE).values(title=title))


def update_from(session: Session, title: str) -> None:
    session.execute(insert(TABLE), [NAMED])
    session.execute(update(TABLE).values(title=literal(title)).where(TABLE.c.project_id == Project.id))


def delete_all(session: Session, title: str) -> None:
    session.execute(insert(TABLE), [NAMED])
    session.execute(delete(TABLE))
    session.execute(insert(TABLE).values({**NAMED, "title": title}))


def upsert_twice(session: Session, title: str) -> None:
    for each in ("", title):
        statement = upsert(Task).values({**NAMED, "title": each})
        session.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_={"title": statement.excluded.title})
        )


def insert_unless_there(session: Session, title: str) -> None:
    session.execute(upsert(Task).values({**NAMED, "title": title}).on_conflict_do_nothing())


def upsert_text(session: Session, title: str) -> None:
    statement = text(
        "INSERT INTO task (id, title) VALUES (1, :title) ON CONFLICT (id) DO UPDATE SET title = excluded.title"
    )
    for each in ("", title):
        session.execute(statement, {"title": each})


INSERT = "INSERT INTO task (id, title) VALUES (1, :title)"


def update_text(session: Session, title: str) -> None:
    session.execute(text(INSERT), {"title": ""})
    session.execute(text("UPDATE task SET title = :title"), {"title": title})


def delete_text(session: Session, title: str) -> None:
    session.execute(text(INSERT), {"title": ""})
    session.execute(text("DELETE FROM task"))
    session.execute(text(INSERT), {"title": title})


def cursor(session: Session, title: str) -> None:
    driver.execute(session, f"INSERT INTO task (id, title) VALUES (1, '{title}')")


def copy(session: Session, title: str) -> None:
    driver.copy_in(session, "COPY task (id, title, project_id) FROM STDIN", f"1\t{title}\t1\n")


def change_view(session: Session, title: str) -> None:
    session.execute(text("INSERT INTO open_task (id, title) VALUES (1, '')"))
    session.execute(text("UPDATE open_task SET title = :title"), {"title": title})


def execute(make: Callable[[str], Any], *rows: Callable[[str], Any]) -> Write:
    """Return a way to write that executes a statement, made from the title, with a list of rows."""

    def write(session: Session, title: str) -> None:
        session.execute(make(title), *([row(title) for row in rows],) * bool(rows))

    return write


def row(title: str) -> Any:
    return {**NAMED, "title": title}


WRITES: dict[str, tuple[Line, Write]] = {
    "add": (ORM, add),
    "append to a relationship": (ORM, append),
    "merge": (ORM, merge),
    "change": (ORM, change),
    "delete": (ORM, replace),
    "bulk insert": (BULK, execute(lambda _: insert(Task), row)),
    "bulk insert returning": (BULK, execute(lambda _: insert(Task).returning(Task), row)),
    "bulk_save_objects": (BULK, lambda session, title: session.bulk_save_objects([Task(**row(title))])),
    "bulk update": (BULK, update_all_by_orm),
    "bulk update by primary key": (BULK, update_by_key),
    "bulk mappings": (BULK, update_mappings),
    "insert": (CORE, execute(lambda title: insert(TABLE).values(row(title)))),
    "insert many": (CORE, execute(lambda _: insert(TABLE), row)),
    "insert from select": (CORE, insert_from_select),
    "update": (CORE, update_all),
    "update from": (CORE, update_from),
    "delete all": (CORE, delete_all),
    "upsert": (UPSERT, upsert_twice),
    "insert unless there": (UPSERT, insert_unless_there),
    "upsert in text": (UPSERT_TEXT, upsert_text),
    "insert in text": (TEXT, lambda session, title: session.execute(text(INSERT), {"title": title})),
    "insert many in text": (TEXT, execute(lambda _: text(INSERT), lambda title: {"title": title})),
    "update in text": (TEXT, update_text),
    "delete in text": (TEXT, delete_text),
    "cursor": (CURSOR, cursor),
    "COPY in": (COPY_IN, copy),
    "view": (VIEW, change_view),
    "function": (FUNCTION, lambda session, title: session.execute(select(func.add_task(title)))),
}
