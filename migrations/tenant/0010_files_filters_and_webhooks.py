"""Attachments, dependencies between tasks, saved filters and webhooks.

Revision ID: 0010
Revises: 0009
Create Date: 2026-03-05 15:26:40
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "attachments",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("uploaded_by_id", sa.Integer(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), sa.Computed("octet_length(content)", persisted=True), nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tenant.tasks.id"], name=op.f("fk_attachments_task_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["uploaded_by_id"], ["tenant.members.user_id"], name=op.f("fk_attachments_uploaded_by_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        schema="tenant",
    )
    op.create_table(
        "task_dependencies",
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("blocked_by_id", sa.Integer(), nullable=False),
        sa.CheckConstraint("task_id <> blocked_by_id", name=op.f("ck_task_dependencies_not_itself")),
        sa.ForeignKeyConstraint(
            ["blocked_by_id"],
            ["tenant.tasks.id"],
            name=op.f("fk_task_dependencies_blocked_by_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tenant.tasks.id"], name=op.f("fk_task_dependencies_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "blocked_by_id", name=op.f("pk_task_dependencies")),
        schema="tenant",
    )
    # The type exists already: create_type=False. It is found without a schema, like every name in raw SQL.
    task_status = postgresql.ENUM(name="task_status", create_type=False)
    op.create_table(
        "saved_filters",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), server_default="", nullable=False),
        sa.Column("labels", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("statuses", postgresql.ARRAY(task_status), nullable=False, comment="Empty for any"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["tenant.members.user_id"], name=op.f("fk_saved_filters_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_filters")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_saved_filters_owner_id_name")),
        schema="tenant",
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True, comment="HTTP status of the last delivery"),
        sa.CheckConstraint("url ~ '^https://'", name=op.f("ck_webhooks_url")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("url", name=op.f("uq_webhooks_url")),
        schema="tenant",
    )
    op.create_index(op.f("ix_attachments_task_id"), "attachments", ["task_id"], schema="tenant")
    op.create_index(op.f("ix_task_dependencies_blocked_by_id"), "task_dependencies", ["blocked_by_id"], schema="tenant")
    op.create_index("ix_webhooks_events", "webhooks", ["events"], schema="tenant", postgresql_using="gin")


def downgrade() -> None:
    for table in ("webhooks", "saved_filters", "task_dependencies", "attachments"):
        op.drop_table(table, schema="tenant")
