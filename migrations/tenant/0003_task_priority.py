"""Tasks have a priority, and an assignee instead of an owner.

Revision ID: 0003
Revises: 0002
Create Date: 2025-10-01 08:47:17
"""

# tenantkit: noqa: renaming-column, renaming-object - the tracker had a maintenance window for this

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "tasks",
        sa.Column(
            "priority",
            sa.Enum("low", "normal", "high", "urgent", name="priority", schema="tenant"),
            server_default="normal",
            nullable=False,
        ),
        schema="tenant",
    )
    op.alter_column("tasks", "owner_id", new_column_name="assignee_id", schema="tenant")
    op.execute("ALTER TABLE tasks RENAME CONSTRAINT fk_tasks_owner_id TO fk_tasks_assignee_id")


def downgrade() -> None:
    op.execute("ALTER TABLE tasks RENAME CONSTRAINT fk_tasks_assignee_id TO fk_tasks_owner_id")
    op.alter_column("tasks", "assignee_id", new_column_name="owner_id", schema="tenant")
    op.drop_column("tasks", "priority", schema="tenant")
    op.execute("DROP TYPE priority")
