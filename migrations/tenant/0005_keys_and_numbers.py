"""Tasks are called by project key and number: WEB-12.

Revision ID: 0005
Revises: 0004
Create Date: 2025-10-28 13:11:05
"""

# tenantkit: noqa: TK009 - a tenant of the tracker has some thousands of tasks

import re
from collections.abc import Sequence
from itertools import count

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

projects = sa.table("projects", sa.column("id"), sa.column("name"), sa.column("key"), schema="tenant")
tasks = sa.table(
    "tasks",
    *map(sa.column, ("id", "project_id", "status", "number", "position", "updated_at", "closed_at")),
    schema="tenant",
)


def upgrade() -> None:
    op.add_column("projects", sa.Column("key", sa.Text(), nullable=True), schema="tenant")
    op.add_column("tasks", sa.Column("number", sa.Integer(), nullable=True), schema="tenant")
    op.add_column("tasks", sa.Column("position", sa.Integer(), server_default="0", nullable=False), schema="tenant")
    op.add_column("tasks", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True), schema="tenant")
    give_keys_to_projects()
    number_tasks()
    op.alter_column("projects", "key", nullable=False, schema="tenant")
    op.alter_column("tasks", "number", nullable=False, schema="tenant")
    op.create_unique_constraint(op.f("uq_projects_key"), "projects", ["key"], schema="tenant")
    op.create_check_constraint(op.f("ck_projects_key"), "projects", "key ~ '^[A-Z][A-Z0-9]{1,7}$'", schema="tenant")
    op.create_unique_constraint(op.f("uq_tasks_project_id_number"), "tasks", ["project_id", "number"], schema="tenant")
    op.create_check_constraint(
        op.f("ck_tasks_closed_at"), "tasks", "(status = 'done') = (closed_at IS NOT NULL)", schema="tenant"
    )
    op.create_index("ix_tasks_board", "tasks", ["project_id", "status", "position"], schema="tenant")
    op.create_index(
        "ix_tasks_open_by_assignee",
        "tasks",
        ["assignee_id", "due_on"],
        schema="tenant",
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def downgrade() -> None:
    for column in ("closed_at", "position", "number"):
        op.drop_column("tasks", column, schema="tenant")
    op.drop_column("projects", "key", schema="tenant")


def give_keys_to_projects() -> None:
    """Make a key of the first letters of each project's name, with a number if it is taken."""
    # tenantkit: noqa: TK007 - unique keys would be hard to read in SQL
    connection = op.get_bind()
    taken: set[str] = set()
    for project in connection.execute(sa.select(projects.c.id, projects.c.name).order_by(projects.c.id)).all():
        letters = re.sub(r"[^A-Z]", "", project.name.upper())[:3].ljust(2, "X")
        key = next(key for n in count(1) if (key := letters if n == 1 else f"{letters}{n}") not in taken)
        taken.add(key)
        connection.execute(projects.update().where(projects.c.id == project.id).values(key=key))


def number_tasks() -> None:
    """Give each task a number in its project, a place in its column, and a closing time if it is done."""
    ranks = sa.select(
        tasks.c.id,
        sa.func.row_number().over(partition_by=tasks.c.project_id, order_by=tasks.c.id).label("number"),
        (sa.func.row_number().over(partition_by=[tasks.c.project_id, tasks.c.status], order_by=tasks.c.id) - 1).label(
            "position"
        ),
    ).subquery()
    op.execute(tasks.update().where(tasks.c.id == ranks.c.id).values(number=ranks.c.number, position=ranks.c.position))
    op.execute(tasks.update().where(tasks.c.status == sa.text("'done'")).values(closed_at=tasks.c.updated_at))
