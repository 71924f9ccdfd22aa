"""The JSON of requests and responses."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from examples.tracker.accounts import SHORTEST_PASSWORD
from examples.tracker.boards import ProjectSummary
from examples.tracker.models import Activity, Priority, Project, ProjectStatus, Role, Task, TaskStatus

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Prose = Annotated[str, StringConstraints(max_length=20_000)]
Email = Annotated[str, StringConstraints(max_length=254), Field(examples=["ada@example.com"])]
TenantKey = Annotated[
    str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40), Field(examples=["acme"])
]
ProjectKey = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{1,7}$"), Field(examples=["WEB"])]


class Problem(BaseModel):
    """The reason why a request failed."""

    detail: str = Field(examples=["Log in to this tenant first."])


class Credentials(BaseModel):
    """An e-mail address and a password."""

    email: Email
    password: Annotated[str, StringConstraints(max_length=200), Field(examples=["correct horse battery"])]


class NewTenant(BaseModel):
    """A new tenant, and its owner."""

    tenant_key: TenantKey
    tenant_name: Annotated[Line, Field(examples=["Acme Software"])]
    name: Annotated[Line, Field(examples=["Ada Lovelace"])]
    email: Email
    password: Annotated[
        str,
        StringConstraints(min_length=SHORTEST_PASSWORD, max_length=200),
        Field(examples=["correct horse battery"]),
    ]


class TenantPlace(BaseModel):
    """A tenant, and its addresses."""

    key: TenantKey
    name: str
    path: str = Field(examples=["/t/acme/"])
    host: str = Field(examples=["acme.localhost"])


class TenantMembership(TenantPlace):
    """A tenant of a user."""

    role: Role
    status: str = Field(examples=["active"])


class Account(BaseModel):
    """A user, and the user's tenants."""

    name: str
    email: str
    tenants: list[TenantMembership]


class Here(BaseModel):
    """The address of a request."""

    tenant: TenantPlace | None = Field(description="None at the pages without a tenant.")


class _Stored(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class MemberOut(_Stored):
    """A member of the tenant."""

    user_id: int
    display_name: str = Field(examples=["Ada Lovelace"])
    job_title: str | None


class Workload(_Stored):
    """A member's open tasks and hours."""

    member: MemberOut
    open_tasks: int
    hours: Decimal


class ProjectIn(BaseModel):
    """A new project."""

    key: ProjectKey
    name: Annotated[Line, Field(examples=["Website"])]
    description: Prose = ""


class ProjectOut(_Stored):
    """A project."""

    key: ProjectKey
    name: str
    description: str
    status: ProjectStatus
    lead: MemberOut | None


class ProjectWithNumbers(ProjectOut):
    """A project, and its progress."""

    open_tasks: int
    done_tasks: int

    @classmethod
    def of(cls, summary: ProjectSummary) -> ProjectWithNumbers:
        """Return a summary as JSON."""
        project = ProjectOut.model_validate(summary.project)
        return cls(**dict(project), open_tasks=summary.open_tasks, done_tasks=summary.done_tasks)


class LabelOut(_Stored):
    """A coloured label."""

    name: str
    color: str = Field(examples=["#1d76db"])


class TaskIn(BaseModel):
    """A new task."""

    title: Annotated[Line, Field(examples=["Choose a typeface"])]
    description: Prose = ""
    status: TaskStatus = TaskStatus.TODO
    priority: Priority = Priority.NORMAL
    assignee_id: int | None = None
    due_on: date | None = None


class TaskChanges(BaseModel):
    """Changes of a task; omitted fields are kept."""

    model_config = ConfigDict(extra="forbid")

    title: Line = ""
    description: Prose = ""
    status: TaskStatus = TaskStatus.TODO
    priority: Priority = Priority.NORMAL
    assignee_id: int | None = None
    due_on: date | None = None


class TaskOut(_Stored):
    """A task, as on the board."""

    ref: str = Field(examples=["WEB-12"])
    number: int
    title: str
    status: TaskStatus
    priority: Priority
    assignee: MemberOut | None
    labels: list[LabelOut]
    due_on: date | None

    @classmethod
    def of(cls, task: Task, project: Project) -> TaskOut:
        """Return a task of *project* as JSON."""
        return cls(
            ref=f"{project.key}-{task.number}",
            number=task.number,
            title=task.title,
            status=task.status,
            priority=task.priority,
            assignee=None if task.assignee is None else MemberOut.model_validate(task.assignee),
            labels=[LabelOut.model_validate(label) for label in task.labels],
            due_on=task.due_on,
        )


class CommentIn(BaseModel):
    """A new comment."""

    body: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]


class CommentOut(_Stored):
    """A comment."""

    author: MemberOut
    body: str
    created_at: datetime


class TaskDetails(TaskOut):
    """A task with its details."""

    description: str
    reporter: MemberOut
    comments: list[CommentOut]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def read(cls, task: Task) -> TaskDetails:
        """Return a task that `boards.find_task` found as JSON."""
        return cls(
            **dict(TaskOut.of(task, task.project)),
            description=task.description,
            reporter=MemberOut.model_validate(task.reporter),
            comments=[CommentOut.model_validate(comment) for comment in task.comments],
            created_at=task.created_at,
            updated_at=task.updated_at,
        )


class Board(BaseModel):
    """A project and its tasks by column, from left to right."""

    project: ProjectOut
    columns: dict[TaskStatus, list[TaskOut]]


class ActivityOut(BaseModel):
    """A change of a task."""

    action: str = Field(examples=["changed"])
    task: str = Field(examples=["WEB-12"])
    title: str
    changes: dict[str, Any] = Field(examples=[{"status": ["todo", "done"]}])
    happened_at: datetime

    @classmethod
    def of(cls, activity: Activity) -> ActivityOut:
        """Return an activity as JSON."""
        task = activity.task
        return cls(
            action=activity.action,
            task=f"{task.project.key}-{task.number}",
            title=task.title,
            changes=activity.changes,
            happened_at=activity.happened_at,
        )
