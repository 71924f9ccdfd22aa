"""Queries and changes in a tenant: projects, boards, tasks, comments and time.

Each function takes a session of the tenant and leaves the commit to the caller.
Under asyncio, an `AsyncSession` runs it: ``await session.run_sync(boards.board, project)``.
Objects are returned with all attributes loaded that a page or a JSON document shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from examples.tracker.models import Activity, Comment, Member, Priority, Project, Task, TaskStatus, TimeEntry


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    """A project and its progress."""

    project: Project
    open_tasks: int
    done_tasks: int

    @property
    def percent_done(self) -> int:
        """The share of tasks that are done, from 0 to 100."""
        return round(100 * self.done_tasks / ((self.open_tasks + self.done_tasks) or 1))


@dataclass(frozen=True, slots=True)
class Workload:
    """A member's open tasks and hours."""

    member: Member
    open_tasks: int
    hours: Decimal


def list_projects(session: Session) -> list[ProjectSummary]:
    """Return all projects in the order of their names, with the numbers of their tasks."""
    rows = session.execute(
        select(Project, func.count(Task.id), func.count(Task.closed_at))
        .outerjoin(Project.tasks)
        .group_by(Project.id)
        .order_by(Project.name)
        .options(selectinload(Project.lead), selectinload(Project.client))
    )
    return [ProjectSummary(project, total - done, done) for project, total, done in rows]


def find_project(session: Session, key: str) -> Project | None:
    """Return the project with this key, with its lead, client, members, milestones and sprints."""
    return session.scalars(
        select(Project)
        .where(Project.key == key)
        .options(
            joinedload(Project.lead),
            joinedload(Project.client),
            selectinload(Project.members),
            selectinload(Project.milestones),
            selectinload(Project.sprints),
        )
    ).one_or_none()


def board(session: Session, project: Project) -> dict[TaskStatus, list[Task]]:
    """Return the tasks of a project by column, with their assignees and labels."""
    tasks = session.scalars(
        select(Task)
        .where(Task.project_id == project.id)
        .order_by(Task.position, Task.number)
        .options(selectinload(Task.assignee), selectinload(Task.labels))
    )
    columns: dict[TaskStatus, list[Task]] = {status: [] for status in TaskStatus}
    for task in tasks:
        columns[task.status].append(task)
    return columns


def find_task(session: Session, project_key: str, number: int) -> Task | None:
    """Return a task with its details, without the contents of attachments."""
    return session.scalars(
        select(Task)
        .join(Task.project)
        .where(Project.key == project_key, Task.number == number)
        .options(
            joinedload(Task.project),
            joinedload(Task.milestone),
            joinedload(Task.sprint),
            joinedload(Task.parent),
            joinedload(Task.reporter),
            joinedload(Task.assignee),
            selectinload(Task.labels),
            selectinload(Task.subtasks),
            selectinload(Task.blocked_by).joinedload(Task.project),
            selectinload(Task.comments).joinedload(Comment.author),
            selectinload(Task.attachments),
            selectinload(Task.time_entries).joinedload(TimeEntry.member),
        )
    ).one_or_none()


def search_tasks(session: Session, words: str, *, limit: int = 50) -> Sequence[Task]:
    """Return the tasks that match *words* (as in a search engine: quotes, ``or``, ``-``), the best match first."""
    query = func.websearch_to_tsquery("english", words)
    return session.scalars(
        select(Task)
        .where(Task.search.bool_op("@@")(query))
        .order_by(func.ts_rank(Task.search, query).desc(), Task.id)
        .limit(limit)
        .options(joinedload(Task.project), joinedload(Task.assignee))
    ).all()


def open_tasks_of(session: Session, user_id: int) -> Sequence[Task]:
    """Return the open tasks of a member, the most urgent first."""
    return session.scalars(
        select(Task)
        .where(Task.assignee_id == user_id, Task.closed_at.is_(None))
        .order_by(Task.priority.desc(), Task.due_on.nulls_last(), Task.id)
        .options(joinedload(Task.project))
    ).all()


def list_members(session: Session) -> list[Workload]:
    """Return all members in the order of their names, with their open tasks and hours."""
    open_tasks = (
        select(func.count()).where(Task.assignee_id == Member.user_id, Task.closed_at.is_(None)).scalar_subquery()
    )
    hours = (
        select(func.coalesce(func.sum(TimeEntry.hours), 0)).where(TimeEntry.user_id == Member.user_id).scalar_subquery()
    )
    rows = session.execute(
        select(Member, open_tasks, hours).order_by(Member.display_name).options(joinedload(Member.user))
    )
    return [Workload(*row) for row in rows]


def recent_activity(session: Session, *, limit: int = 20) -> Sequence[Activity]:
    """Return the last activities, with the tasks and their projects."""
    return session.scalars(
        select(Activity)
        .order_by(Activity.happened_at.desc(), Activity.id.desc())
        .limit(limit)
        .options(joinedload(Activity.task).joinedload(Task.project))
    ).all()


def create_project(session: Session, *, key: str, name: str, lead: Member, description: str = "") -> Project:
    """Add a project whose only member is its lead."""
    project = Project(key=key, name=name, description=description, lead=lead, members=[lead])
    session.add(project)
    session.flush()
    return project


def create_task(
    session: Session,
    project: Project,
    *,
    title: str,
    reporter: Member,
    assignee: Member | None = None,
    description: str = "",
    status: TaskStatus = TaskStatus.TODO,
    priority: Priority = Priority.NORMAL,
    due_on: date | None = None,
) -> Task:
    """Add a task with the next number of its project, at the end of its column."""
    # Two concurrent tasks must not get one number: the second waits here until the first is committed.
    session.execute(select(Project.id).where(Project.id == project.id).with_for_update())
    number = session.scalar(select(func.coalesce(func.max(Task.number), 0) + 1).where(Task.project_id == project.id))
    task = Task(
        project=project,
        number=number,
        title=title,
        description=description,
        reporter=reporter,
        assignee=assignee,
        priority=priority,
        due_on=due_on,
    )
    _enter_column(session, task, project.id, status)
    session.add(task)
    session.flush()
    return task


def move_task(session: Session, task: Task, status: TaskStatus) -> None:
    """Move a task to the end of another column; it is closed in the last one and open in the others."""
    if task.status is not status:
        _enter_column(session, task, task.project_id, status)
        session.flush()


def _enter_column(session: Session, task: Task, project_id: int, status: TaskStatus) -> None:
    with session.no_autoflush:
        last = session.scalar(
            select(func.max(Task.position)).where(Task.project_id == project_id, Task.status == status)
        )
    task.position = 0 if last is None else last + 1
    task.status = status
    task.closed_at = datetime.now(UTC) if status is TaskStatus.DONE else None


def add_comment(session: Session, task: Task, author: Member, body: str, *, reply_to: Comment | None = None) -> Comment:
    """Add a comment of *author* to a task."""
    comment = Comment(task=task, author=author, body=body, reply_to=reply_to)
    session.add(comment)
    session.flush()
    return comment


def log_time(
    session: Session, task: Task, member: Member, minutes: int, *, spent_on: date, note: str = ""
) -> TimeEntry:
    """Add time that *member* spent on a task."""
    entry = TimeEntry(task=task, member=member, minutes=minutes, spent_on=spent_on, note=note)
    session.add(entry)
    session.flush()
    return entry
