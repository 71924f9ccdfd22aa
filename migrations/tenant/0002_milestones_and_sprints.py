"""Milestones and sprints; a project has one active sprint at most.

Revision ID: 0002
Revises: 0001
Create Date: 2025-09-15 14:02:50
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "milestones",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("reached_on", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["tenant.projects.id"], name=op.f("fk_milestones_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_milestones")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_milestones_project_id_name")),
        schema="tenant",
    )
    op.create_table(
        "sprints",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("goal", sa.Text(), server_default="", nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("days", sa.Integer(), sa.Computed("ends_on - starts_on + 1", persisted=True), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("ends_on >= starts_on", name=op.f("ck_sprints_ends_on")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["tenant.projects.id"], name=op.f("fk_sprints_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sprints")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_sprints_project_id_name")),
        schema="tenant",
    )
    op.create_index(
        "uq_sprints_active",
        "sprints",
        ["project_id"],
        unique=True,
        schema="tenant",
        postgresql_where=sa.text("is_active"),
    )
    for column, table in (("milestone_id", "milestones"), ("sprint_id", "sprints")):
        op.add_column("tasks", sa.Column(column, sa.Integer(), nullable=True), schema="tenant")
        op.create_foreign_key(
            op.f(f"fk_tasks_{column}"),
            "tasks",
            table,
            [column],
            ["id"],
            source_schema="tenant",
            referent_schema="tenant",
            ondelete="SET NULL",
        )
        op.create_index(op.f(f"ix_tasks_{column}"), "tasks", [column], schema="tenant")


def downgrade() -> None:
    op.drop_column("tasks", "sprint_id", schema="tenant")
    op.drop_column("tasks", "milestone_id", schema="tenant")
    op.drop_table("sprints", schema="tenant")
    op.drop_table("milestones", schema="tenant")
