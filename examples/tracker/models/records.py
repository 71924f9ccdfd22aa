"""Tenant tables: saved filters, webhooks and activities."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from examples.tracker.models.base import TaskStatus, TenantBase
from examples.tracker.models.columns import CreatedAt, PrimaryKey
from examples.tracker.models.people import Member
from examples.tracker.models.tasks import Task


class SavedFilter(TenantBase):
    """A saved search of a member."""

    __tablename__ = "saved_filters"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)

    id: Mapped[PrimaryKey]
    owner_id: Mapped[int] = mapped_column(ForeignKey(Member.user_id, ondelete="CASCADE"))
    name: Mapped[str]
    words: Mapped[str] = mapped_column(server_default="")
    labels: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    statuses: Mapped[list[TaskStatus]] = mapped_column(
        ARRAY(TenantBase.type_annotation_map[TaskStatus]), comment="Empty for any"
    )

    owner: Mapped[Member] = relationship()


class Webhook(TenantBase):
    """An address that is notified of events."""

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint("url ~ '^https://'", name="url"),
        Index("ix_webhooks_events", "events", postgresql_using="gin"),
    )

    id: Mapped[PrimaryKey]
    url: Mapped[str] = mapped_column(unique=True)
    events: Mapped[list[str]]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    last_status: Mapped[int | None] = mapped_column(comment="HTTP status of the last delivery")


class Activity(TenantBase):
    """A change of a task.

    A trigger on ``tasks``, which the migrations create, writes a row for every change.
    """

    __tablename__ = "activities"
    __table_args__ = (Index("ix_activities_task_id_happened_at", "task_id", text("happened_at DESC")),)

    id: Mapped[PrimaryKey]
    task_id: Mapped[int] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"))
    action: Mapped[str]
    changes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    happened_at: Mapped[CreatedAt]

    task: Mapped[Task] = relationship()
