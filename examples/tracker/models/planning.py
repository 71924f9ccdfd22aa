"""Tenant tables: projects, milestones and sprints."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from examples.tracker.models.base import ProjectStatus, TenantBase
from examples.tracker.models.columns import CreatedAt, PrimaryKey
from examples.tracker.models.people import Client, Member

if TYPE_CHECKING:
    from examples.tracker.models.tasks import Task


class Project(TenantBase):
    """A project, with a short key such as ``WEB``."""

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("key ~ '^[A-Z][A-Z0-9]{1,7}$'", name="key"),
        CheckConstraint("due_on >= starts_on", name="due_on"),
    )

    id: Mapped[PrimaryKey]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    status: Mapped[ProjectStatus] = mapped_column(server_default=ProjectStatus.ACTIVE)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey(Member.user_id))
    client_id: Mapped[int | None] = mapped_column(ForeignKey(Client.id), index=True)
    starts_on: Mapped[date | None]
    due_on: Mapped[date | None]
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[CreatedAt]

    lead: Mapped[Member | None] = relationship()
    client: Mapped[Client | None] = relationship()
    members: Mapped[list[Member]] = relationship(
        secondary=lambda: ProjectMember.__table__, order_by=Member.display_name
    )
    milestones: Mapped[list[Milestone]] = relationship(back_populates="project", order_by="Milestone.due_on")
    sprints: Mapped[list[Sprint]] = relationship(back_populates="project", order_by="Sprint.starts_on")
    tasks: Mapped[list[Task]] = relationship(back_populates="project", order_by="Task.number")


class ProjectMember(TenantBase):
    """A member of a project."""

    __tablename__ = "project_members"

    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id, ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(Member.user_id, ondelete="CASCADE"), primary_key=True, index=True)


class Milestone(TenantBase):
    """A milestone of a project."""

    __tablename__ = "milestones"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[PrimaryKey]
    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id, ondelete="CASCADE"))
    name: Mapped[str]
    due_on: Mapped[date]
    reached_on: Mapped[date | None]

    project: Mapped[Project] = relationship(back_populates="milestones")


class Sprint(TenantBase):
    """A sprint of some weeks with a goal; a project has at most one active sprint."""

    __tablename__ = "sprints"
    __table_args__ = (
        CheckConstraint("ends_on >= starts_on", name="ends_on"),
        UniqueConstraint("project_id", "name"),
        Index("uq_sprints_active", "project_id", unique=True, postgresql_where=text("is_active")),
    )

    id: Mapped[PrimaryKey]
    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id, ondelete="CASCADE"))
    name: Mapped[str]
    goal: Mapped[str] = mapped_column(server_default="")
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    days: Mapped[int] = mapped_column(Computed("ends_on - starts_on + 1", persisted=True))
    is_active: Mapped[bool] = mapped_column(server_default=text("false"))

    project: Mapped[Project] = relationship(back_populates="sprints")
    tasks: Mapped[list[Task]] = relationship(back_populates="sprint", order_by="Task.number")
