"""The base of all tenant tables, and the enums of their columns."""

from __future__ import annotations

import enum

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from examples.tracker.models.columns import NAMING, TYPES, stored_enum


class ProjectStatus(enum.StrEnum):
    """The status of a project."""

    PLANNED = "planned"
    ACTIVE = "active"
    ARCHIVED = "archived"


class TaskStatus(enum.StrEnum):
    """The columns of the board, from left to right."""

    BACKLOG = "backlog"
    TODO = "todo"
    IN_PROGRESS = "in_progress"
    IN_REVIEW = "in_review"
    DONE = "done"


class Priority(enum.StrEnum):
    """The priority of a task; PostgreSQL sorts in this order."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class FieldKind(enum.StrEnum):
    """The type of a custom field."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CHOICE = "choice"


class TenantBase(DeclarativeBase):
    """The base of all tenant tables. ``tenant`` is the placeholder: no schema has that name."""

    metadata = MetaData(schema="tenant", naming_convention=NAMING)
    type_annotation_map = {
        **TYPES,
        ProjectStatus: stored_enum(ProjectStatus, "project_status", schema="tenant"),
        TaskStatus: stored_enum(TaskStatus, "task_status", schema="tenant"),
        Priority: stored_enum(Priority, "priority", schema="tenant"),
        FieldKind: stored_enum(FieldKind, "field_kind", schema="tenant"),
    }
