"""Cases of keys: the same ones in two tenants, and those of another tenant's row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from tenantkit import CrossDatabaseError
from tests.isolation.contract.application import KEYS, Plan, Project, Task
from tests.isolation.contract.case import Case
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.line import PRIMARY_KEY, SHARED_JOIN, SHARED_KEY, SHARED_ROW, TENANT_KEY, UNIQUE

TABLE: Any = Task.__table__
NUMBERS = count(2)


def refuses(deployment: Deployment, key: str, statement: Callable[[Session], Any]) -> bool:
    """Return whether the database refuses what *statement* writes for the tenant *key*."""
    try:
        deployment.work(key, statement)
    except IntegrityError:
        return True
    except DBAPIError as error:  # of asyncpg's own cursor
        raise AssertionError(f"refused for another reason: {error}") from error
    return False


def is_each_tenants_own(write: Callable[[Session], Any]) -> Callable[[Deployment], bool]:
    """Return whether what one tenant can write once, the other can as well: see `Case.holds`."""

    def holds(deployment: Deployment) -> bool:
        first, second = KEYS
        deployment.work(first, write)
        assert refuses(deployment, first, write)
        return not refuses(deployment, second, write)

    return holds


def is_made_for_each(deployment: Deployment) -> bool:
    """Return whether the database makes keys for the rows of both."""

    def write(session: Session) -> int:
        task = Task(title="made", project_id=1)
        session.add(task)
        session.flush()
        return task.id

    made = {key: [deployment.work(key, write) for _ in range(3)] for key in KEYS}
    found = {key: deployment.work(key, lambda session: list(session.scalars(select(Task.id)))) for key in KEYS}
    return all(len(set(keys)) == 3 and sorted(found[key]) == sorted(keys) for key, keys in made.items())


def leads_nowhere_else(deployment: Deployment) -> bool:
    """Return whether the key of one tenant's row finds nothing in the other."""
    first, second = KEYS
    deployment.work(first, lambda session: session.add(Task(id=7, title=first, project_id=1)))
    assert deployment.work(first, lambda session: session.get_one(Task, 7).title) == first
    return deployment.work(second, lambda session: session.get(Task, 7)) is None


def is_deleted_alone(deployment: Deployment) -> bool:
    """Return whether a deleted row takes no rows of the other tenant along, which refer to the same key."""
    for key in KEYS:
        deployment.work(key, lambda session: session.add(Project(id=2, name="second", tasks=[Task(title="second")])))
    first, second = KEYS
    deployment.work(first, lambda session: session.execute(delete(Project).where(Project.id == 2)))
    left = {key: deployment.work(key, lambda session: session.scalars(select(Task.title)).all()) for key in KEYS}
    assert left[first] == []
    return left[second] == ["second"]


def needs_own(write: Callable[[Session], Any]) -> Callable[[Deployment], bool]:
    """Return whether a foreign key refuses project 2, if only the other tenant has one: see `Case.holds`."""

    def holds(deployment: Deployment) -> bool:
        first, second = KEYS
        deployment.work(first, lambda session: session.add(Project(id=2, name="second")))
        for key in KEYS:
            deployment.work(key, lambda session: session.add(Task(id=1, title="first", project_id=1)))
        deployment.work(first, write)
        return refuses(deployment, second, write)

    return holds


REFERENCES: dict[str, Callable[[Session], Any]] = {
    "added": lambda session: session.add(Task(title="", project_id=2)),
    "changed": lambda session: setattr(session.get_one(Task, 1), "project_id", 2),
    "inserted": lambda session: session.execute(insert(TABLE).values(title="", project_id=2)),
    "inserted in bulk": lambda session: session.execute(insert(Task), [{"title": "", "project_id": 2}] * 2),
    "updated": lambda session: session.execute(update(Task).values(project_id=2)),
    "in text": lambda session: session.execute(text("INSERT INTO task (title, project_id) VALUES ('', 2)")),
    "through a view": lambda session: session.execute(text("UPDATE open_task SET project_id = 2")),
}


def refers_to_shared_rows(deployment: Deployment) -> bool:
    """Return whether both tenants' rows can refer to a shared row, and to none that does not exist."""
    for key in KEYS:
        deployment.work(key, lambda session: session.add(Project(id=2, name="second", plan="free")))
    return all(
        refuses(deployment, key, lambda session: session.add(Project(id=3, name="third", plan="nothing")))
        for key in KEYS
    )


def reads_shared_rows(deployment: Deployment) -> bool:
    """Return whether both tenants find the rows of a shared table."""
    found = {key: deployment.work(key, lambda session: session.scalars(select(Plan.name)).all()) for key in KEYS}
    return found == {key: ["free"] for key in KEYS}


def joins_shared_rows(deployment: Deployment) -> bool:
    """Return whether both tenants can join their rows with those of a shared table."""
    joined = select(Project.name).join(Plan, Project.plan == Plan.name)
    try:
        return all(deployment.work(key, lambda session: session.scalars(joined).all()) == ["first"] for key in KEYS)
    except CrossDatabaseError:
        return False


CASES: Sequence[Case] = (
    Case(PRIMARY_KEY, "given", is_each_tenants_own(lambda session: session.add(Task(id=1, title="", project_id=1)))),
    Case(PRIMARY_KEY, "made by the database", is_made_for_each),
    Case(PRIMARY_KEY, "of another tenant's row", leads_nowhere_else),
    Case(PRIMARY_KEY, "of a row that is deleted", is_deleted_alone),
    Case(UNIQUE, "name", is_each_tenants_own(lambda session: session.add(Project(id=next(NUMBERS), name="second")))),
    *(Case(TENANT_KEY, name, needs_own(write)) for name, write in REFERENCES.items()),
    Case(SHARED_KEY, "plan", refers_to_shared_rows),
    Case(SHARED_ROW, "plan", reads_shared_rows),
    Case(SHARED_JOIN, "plan", joins_shared_rows),
)
