"""Members, projects, tasks, labels and comments.

Revision ID: 0001
Revises:
Create Date: 2025-09-02 11:31:09
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "members",
        sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("joined_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["shared.users.id"], name=op.f("fk_members_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_members")),
        schema="tenant",
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "status",
            sa.Enum("planned", "active", "archived", name="project_status", schema="tenant"),
            server_default="active",
            nullable=False,
        ),
        sa.Column("lead_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["lead_id"], ["tenant.members.user_id"], name=op.f("fk_projects_lead_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        schema="tenant",
    )
    op.create_table(
        "staffing",
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["tenant.projects.id"], name=op.f("fk_staffing_project_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["tenant.members.user_id"], name=op.f("fk_staffing_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "user_id", name=op.f("pk_staffing")),
        schema="tenant",
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "status",
            sa.Enum("backlog", "todo", "in_progress", "done", name="task_status", schema="tenant"),
            server_default="backlog",
            nullable=False,
        ),
        sa.Column("reporter_id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_tasks_parent_id")),
        sa.ForeignKeyConstraint(["owner_id"], ["tenant.members.user_id"], name=op.f("fk_tasks_owner_id")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["tenant.tasks.id"], name=op.f("fk_tasks_parent_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["tenant.projects.id"], name=op.f("fk_tasks_project_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["reporter_id"], ["tenant.members.user_id"], name=op.f("fk_tasks_reporter_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        schema="tenant",
    )
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("color", sa.Text(), nullable=False),
        sa.CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name=op.f("ck_labels_color")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sa.UniqueConstraint("name", name=op.f("uq_labels_name")),
        schema="tenant",
    )
    op.create_table(
        "task_labels",
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["label_id"], ["tenant.labels.id"], name=op.f("fk_task_labels_label_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tenant.tasks.id"], name=op.f("fk_task_labels_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "label_id", name=op.f("pk_task_labels")),
        schema="tenant",
    )
    op.create_table(
        "comments",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["tenant.members.user_id"], name=op.f("fk_comments_author_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tenant.tasks.id"], name=op.f("fk_comments_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
        schema="tenant",
    )
    op.create_index(op.f("ix_staffing_user_id"), "staffing", ["user_id"], schema="tenant")
    op.create_index(op.f("ix_tasks_parent_id"), "tasks", ["parent_id"], schema="tenant")
    op.create_index(op.f("ix_task_labels_label_id"), "task_labels", ["label_id"], schema="tenant")
    op.create_index(op.f("ix_comments_task_id"), "comments", ["task_id"], schema="tenant")


def downgrade() -> None:
    for table in ("comments", "task_labels", "labels", "tasks", "staffing", "projects", "members"):
        op.drop_table(table, schema="tenant")
    op.execute("DROP TYPE task_status, project_status")
