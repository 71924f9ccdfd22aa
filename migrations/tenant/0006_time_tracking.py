"""Estimates, working hours and the time spent on tasks.

Revision ID: 0006
Revises: 0005
Create Date: 2025-11-12 09:55:26
"""

# tenantkit: noqa: renaming-column - the tracker had a maintenance window for this

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "time_entries",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("spent_on", sa.Date(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column(
            "hours",
            sa.Numeric(5, 2),
            sa.Computed("round(minutes::numeric / 60.0, 2)", persisted=True),
            nullable=False,
        ),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("billable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("minutes BETWEEN 1 AND 1440", name=op.f("ck_time_entries_minutes")),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tenant.tasks.id"], name=op.f("fk_time_entries_task_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["tenant.members.user_id"], name=op.f("fk_time_entries_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_time_entries")),
        schema="tenant",
    )
    op.create_index(op.f("ix_time_entries_task_id"), "time_entries", ["task_id"], schema="tenant")
    op.create_index(op.f("ix_time_entries_user_id_spent_on"), "time_entries", ["user_id", "spent_on"], schema="tenant")
    op.add_column("tasks", sa.Column("estimate_minutes", sa.Integer(), nullable=True), schema="tenant")
    with op.batch_alter_table("members", schema="tenant") as members:
        members.alter_column("title", new_column_name="job_title")
        members.add_column(sa.Column("weekly_hours", sa.Integer(), server_default="40", nullable=False))
        members.create_check_constraint(op.f("ck_members_weekly_hours"), "weekly_hours BETWEEN 0 AND 80")


def downgrade() -> None:
    with op.batch_alter_table("members", schema="tenant") as members:
        members.drop_column("weekly_hours")
        members.alter_column("job_title", new_column_name="title")
    op.drop_column("tasks", "estimate_minutes", schema="tenant")
    op.drop_table("time_entries", schema="tenant")
