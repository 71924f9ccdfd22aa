"""A small application: what most tests declare."""

from __future__ import annotations

import enum
from typing import Any

from sqlalchemy import ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class SharedBase(DeclarativeBase):
    metadata = MetaData(schema="shared", naming_convention=NAMING)


class TenantBase(DeclarativeBase):
    metadata = MetaData(schema="tenant", naming_convention=NAMING)


class Country(SharedBase):
    __tablename__ = "country"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class State(enum.Enum):
    OPEN = "open"
    DONE = "done"


class Project(TenantBase):
    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    country_code: Mapped[str | None] = mapped_column(ForeignKey(Country.code))
    country: Mapped[Country | None] = relationship(Country)
    tasks: Mapped[list[Task]] = relationship(back_populates="project", order_by="Task.id", cascade="all, delete-orphan")


class Task(TenantBase):
    __tablename__ = "task"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    state: Mapped[State] = mapped_column(default=State.OPEN)
    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id), index=True)
    project: Mapped[Project] = relationship(back_populates="tasks")


APPLICATION: dict[str, Any] = {"shared": SharedBase.metadata, "tenant": TenantBase.metadata}
"""The arguments of a Tenancy for this application."""
