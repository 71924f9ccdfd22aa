"""A summary of a tracker's content, for comparisons of written and read data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from examples.tracker.models import Project, Task, TenantBase


@dataclass(frozen=True, slots=True)
class Contents:
    """Two are equal only if the projects, tasks, comments and times of two trackers are."""

    tasks: int
    comments: int
    minutes: int
    digest: str


def read(session: Session) -> Contents:
    """Return the content of a tracker."""
    projects = session.scalars(
        select(Project).options(
            selectinload(Project.tasks).options(
                selectinload(Task.assignee), selectinload(Task.comments), selectinload(Task.time_entries)
            )
        )
    )
    return summarize(projects.all())


def summarize(projects: Sequence[Project]) -> Contents:
    """Return a summary of *projects*."""
    tasks = [task for project in projects for task in project.tasks]
    lines = sorted(line for project in projects for line in _lines(project))
    return Contents(
        tasks=len(tasks),
        comments=sum(len(task.comments) for task in tasks),
        minutes=sum(entry.minutes for task in tasks for entry in task.time_entries),
        digest=sha256("\n".join(lines).encode()).hexdigest()[:12],
    )


def count_rows(session: Session) -> int:
    """Return the number of rows in all tables of a tenant."""
    counts = [select(func.count()).select_from(table).scalar_subquery() for table in TenantBase.metadata.sorted_tables]
    return sum(session.execute(select(*counts)).one())


def _lines(project: Project) -> Iterator[str]:
    for task in project.tasks:
        who = task.assignee.display_name if task.assignee else "nobody"
        yield f"{project.key}-{task.number} {task.title} {task.status} {who}"
        for comment in task.comments:
            yield f"{project.key}-{task.number} says {comment.body}"
        for entry in task.time_entries:
            yield f"{project.key}-{task.number} took {entry.minutes} on {entry.spent_on}"
