"""The application of the contract: its tables, and its revisions, which also make a view, functions and a trigger."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

from sqlalchemy import Enum, ForeignKey, MetaData, Sequence, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tenantkit.migrations import init
from tests.migrations.environments import Environment
from tests.support.models import NAMING

KEYS = ("acme", "globex")
"""The tenants of the contract: neighbours, each with the same project 1."""


class SharedBase(DeclarativeBase):
    metadata = MetaData(schema="shared", naming_convention=NAMING)


class TenantBase(DeclarativeBase):
    metadata = MetaData(schema="tenant", naming_convention=NAMING)


class Plan(SharedBase):
    __tablename__ = "plan"

    name: Mapped[str] = mapped_column(primary_key=True)


class State(enum.Enum):
    OPEN = "open"
    DONE = "done"


class Project(TenantBase):
    __tablename__ = "project"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    plan: Mapped[str | None] = mapped_column(ForeignKey(Plan.name))
    tasks: Mapped[list[Task]] = relationship(back_populates="project", cascade="all, delete-orphan")


class Task(TenantBase):
    __tablename__ = "task"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    state: Mapped[State] = mapped_column(Enum(State, name="state"), default=State.OPEN, server_default="OPEN")
    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id, ondelete="CASCADE"), server_default=text("1"))
    project: Mapped[Project] = relationship(back_populates="tasks")


class Entry(TenantBase):
    """What a trigger writes down of each task."""

    __tablename__ = "entry"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


INVOICE_NO = Sequence("invoice_no", schema="tenant", metadata=TenantBase.metadata)

APPLICATION: dict[str, Any] = {"shared": SharedBase.metadata, "tenant": TenantBase.metadata, "listen": False}
"""The arguments of a tenancy of this application."""

SHARED = 'op.create_table("plan", sa.Column("name", sa.String, primary_key=True), schema="shared")'

TABLES = """
op.create_table(
    "project",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("plan", sa.String, sa.ForeignKey("shared.plan.name")),
    schema="tenant",
)
op.create_table(
    "task",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("state", sa.Enum("OPEN", "DONE", name="state", schema="tenant"), nullable=False, server_default="OPEN"),
    sa.Column(
        "project_id", sa.Integer, sa.ForeignKey("tenant.project.id", ondelete="CASCADE"), nullable=False,
        server_default=sa.text("1"),
    ),
    schema="tenant",
)
op.create_table(
    "entry",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    schema="tenant",
)
"""

OBJECTS = """
CREATE VIEW open_task AS SELECT id, title, project_id FROM task WHERE state = 'OPEN';
CREATE FUNCTION titles() RETURNS SETOF varchar LANGUAGE sql STABLE AS 'SELECT title FROM task';
CREATE FUNCTION add_task(given varchar) RETURNS void LANGUAGE sql
    AS 'INSERT INTO task (id, title) VALUES (1, given)';
CREATE FUNCTION note_task() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO entry (title) VALUES (NEW.title); RETURN NULL; END $$;
CREATE TRIGGER noting AFTER INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION note_task();
CREATE SEQUENCE invoice_no;
"""


def environment_in(folder: Path) -> Environment:
    """Write the migration environment of the application into an empty *folder*."""
    init(folder)
    environment = Environment(folder)
    environment.add("s1", SHARED, 'op.drop_table("plan", schema="shared")', line="shared")
    environment.add("t1", TABLES)
    environment.add("t2", f"op.execute({OBJECTS!r})")
    return environment


def seed(session: Any) -> None:
    """Give a new tenant its first project."""
    session.add(Project(id=1, name="first", plan="free"))
