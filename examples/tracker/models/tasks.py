"""Tenant tables: tasks, labels, comments, attachments, times and custom fields."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, LargeBinary, Numeric, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column, relationship

from examples.tracker.models.base import FieldKind, Priority, TaskStatus, TenantBase
from examples.tracker.models.columns import CreatedAt, PrimaryKey
from examples.tracker.models.people import Member
from examples.tracker.models.planning import Milestone, Project, Sprint


class Task(TenantBase):
    """A task, identified by project key and number: ``WEB-12``."""

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        CheckConstraint("parent_id <> id", name="parent_id"),
        CheckConstraint("(status = 'done') = (closed_at IS NOT NULL)", name="closed_at"),
        Index("ix_tasks_board", "project_id", "status", "position"),
        Index("ix_tasks_open_by_assignee", "assignee_id", "due_on", postgresql_where=text("closed_at IS NULL")),
        Index("ix_tasks_search", "search", postgresql_using="gin"),
        {"comment": "A piece of work, called by project key and number"},
    )
    __mapper_args__ = {"eager_defaults": True}  # so that updated_at is known after a flush, also under asyncio

    id: Mapped[PrimaryKey]
    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id, ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(comment="Counts within the project")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.tasks.id", ondelete="CASCADE"), index=True)
    milestone_id: Mapped[int | None] = mapped_column(ForeignKey(Milestone.id, ondelete="SET NULL"), index=True)
    sprint_id: Mapped[int | None] = mapped_column(ForeignKey(Sprint.id, ondelete="SET NULL"), index=True)
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    status: Mapped[TaskStatus] = mapped_column(server_default=TaskStatus.BACKLOG)
    priority: Mapped[Priority] = mapped_column(server_default=Priority.NORMAL)
    position: Mapped[int] = mapped_column(server_default="0", comment="Order within a column of the board")
    reporter_id: Mapped[int] = mapped_column(ForeignKey(Member.user_id))
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey(Member.user_id))
    estimate_minutes: Mapped[int | None]
    due_on: Mapped[date | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    closed_at: Mapped[datetime | None]
    search: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed("to_tsvector('english'::regconfig, title || ' '::text || description)", persisted=True),
        deferred=True,
    )

    project: Mapped[Project] = relationship(back_populates="tasks")
    milestone: Mapped[Milestone | None] = relationship()
    sprint: Mapped[Sprint | None] = relationship(back_populates="tasks")
    parent: Mapped[Task | None] = relationship(remote_side="Task.id", back_populates="subtasks")
    subtasks: Mapped[list[Task]] = relationship(back_populates="parent", order_by="Task.number")
    reporter: Mapped[Member] = relationship(foreign_keys=[reporter_id])
    assignee: Mapped[Member | None] = relationship(foreign_keys=[assignee_id])
    labels: Mapped[list[Label]] = relationship(secondary=lambda: TaskLabel.__table__, order_by=lambda: Label.name)
    blocked_by: Mapped[list[Task]] = relationship(
        secondary=lambda: TaskDependency.__table__,
        primaryjoin=lambda: Task.id == TaskDependency.task_id,
        secondaryjoin=lambda: Task.id == TaskDependency.blocked_by_id,
        order_by="Task.number",
    )
    comments: Mapped[list[Comment]] = relationship(back_populates="task", order_by="Comment.id")
    attachments: Mapped[list[Attachment]] = relationship(back_populates="task", order_by="Attachment.filename")
    time_entries: Mapped[list[TimeEntry]] = relationship(back_populates="task", order_by="TimeEntry.spent_on")
    custom_values: Mapped[list[CustomValue]] = relationship(back_populates="task")


class Label(TenantBase):
    """A coloured label of tasks."""

    __tablename__ = "labels"
    __table_args__ = (CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="color"),)

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    color: Mapped[str]


class TaskLabel(TenantBase):
    """A label of a task."""

    __tablename__ = "task_labels"

    task_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey(Label.id, ondelete="CASCADE"), primary_key=True, index=True)


class TaskDependency(TenantBase):
    """A task that waits for another."""

    __tablename__ = "task_dependencies"
    __table_args__ = (CheckConstraint("task_id <> blocked_by_id", name="not_itself"),)

    task_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), primary_key=True)
    blocked_by_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), primary_key=True, index=True)


class Comment(TenantBase):
    """A comment on a task, or a reply to another comment."""

    __tablename__ = "comments"

    id: Mapped[PrimaryKey]
    task_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), index=True)
    author_id: Mapped[int] = mapped_column(ForeignKey(Member.user_id))
    reply_to_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.comments.id", ondelete="CASCADE"), index=True)
    body: Mapped[str]
    created_at: Mapped[CreatedAt]

    task: Mapped[Task] = relationship(back_populates="comments")
    author: Mapped[Member] = relationship()
    reply_to: Mapped[Comment | None] = relationship(remote_side="Comment.id")


class Attachment(TenantBase):
    """A small file, whose content is loaded on access."""

    __tablename__ = "attachments"

    id: Mapped[PrimaryKey]
    task_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), index=True)
    uploaded_by_id: Mapped[int] = mapped_column(ForeignKey(Member.user_id))
    filename: Mapped[str]
    media_type: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    size: Mapped[int] = mapped_column(Computed("octet_length(content)", persisted=True))
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[CreatedAt]

    task: Mapped[Task] = relationship(back_populates="attachments")
    uploaded_by: Mapped[Member] = relationship()


class TimeEntry(TenantBase):
    """Time that a member spent on a task."""

    __tablename__ = "time_entries"
    __table_args__ = (
        CheckConstraint("minutes BETWEEN 1 AND 1440", name="minutes"),
        Index("ix_time_entries_user_id_spent_on", "user_id", "spent_on"),
    )

    id: Mapped[PrimaryKey]
    task_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(Member.user_id))
    spent_on: Mapped[date]
    minutes: Mapped[int]
    hours: Mapped[Decimal] = mapped_column(Numeric(5, 2), Computed("round(minutes::numeric / 60.0, 2)", persisted=True))
    note: Mapped[str] = mapped_column(server_default="")
    billable: Mapped[bool] = mapped_column(server_default=text("true"))

    task: Mapped[Task] = relationship(back_populates="time_entries")
    member: Mapped[Member] = relationship()


class CustomField(TenantBase):
    """A field that this tenant added to its tasks."""

    __tablename__ = "custom_fields"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[FieldKind]
    choices: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))


class CustomValue(TenantBase):
    """The value of a task in a custom field."""

    __tablename__ = "custom_values"
    __table_args__ = (Index("ix_custom_values_value", "value", postgresql_using="gin"),)

    task_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), primary_key=True)
    field_id: Mapped[int] = mapped_column(ForeignKey(CustomField.id, ondelete="CASCADE"), primary_key=True, index=True)
    value: Mapped[dict[str, Any]]

    task: Mapped[Task] = relationship(back_populates="custom_values")
    field: Mapped[CustomField] = relationship()
