"""Full-text search of tasks, and replies to comments.

Revision ID: 0008
Revises: 0007
Create Date: 2026-01-20 12:03:14
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "tasks",
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('english'::regconfig, title || ' '::text || description)", persisted=True),
            nullable=False,
        ),
        schema="tenant",
    )
    op.create_index("ix_tasks_search", "tasks", ["search"], schema="tenant", postgresql_using="gin")
    op.add_column("comments", sa.Column("reply_to_id", sa.Integer(), nullable=True), schema="tenant")
    op.create_foreign_key(
        op.f("fk_comments_reply_to_id"),
        "comments",
        "comments",
        ["reply_to_id"],
        ["id"],
        source_schema="tenant",
        referent_schema="tenant",
        ondelete="CASCADE",
    )
    op.create_index(op.f("ix_comments_reply_to_id"), "comments", ["reply_to_id"], schema="tenant")
    op.create_table_comment("tasks", "A piece of work, called by project key and number", schema="tenant")
    op.alter_column("tasks", "number", comment="Counts within the project", schema="tenant")
    op.alter_column("tasks", "position", comment="Order within a column of the board", schema="tenant")


def downgrade() -> None:
    op.alter_column("tasks", "position", comment=None, schema="tenant")
    op.alter_column("tasks", "number", comment=None, schema="tenant")
    op.drop_table_comment("tasks", schema="tenant")
    op.drop_column("comments", "reply_to_id", schema="tenant")
    op.drop_column("tasks", "search", schema="tenant")
