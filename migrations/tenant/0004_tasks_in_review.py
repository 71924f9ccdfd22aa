"""A column for tasks in review.

Revision ID: 0004
Revises: 0003
Create Date: 2025-10-09 16:20:33
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TYPE task_status ADD VALUE 'in_review' BEFORE 'done'")


def downgrade() -> None:
    """Replace the type, because PostgreSQL cannot remove a value of an ENUM."""
    op.execute("UPDATE tasks SET status = 'in_progress' WHERE status = 'in_review'")
    op.execute("ALTER TABLE tasks ALTER COLUMN status DROP DEFAULT")
    op.execute("ALTER TYPE task_status RENAME TO task_status_with_review")
    op.execute("CREATE TYPE task_status AS ENUM ('backlog', 'todo', 'in_progress', 'done')")
    op.execute("ALTER TABLE tasks ALTER COLUMN status TYPE task_status USING status::text::task_status")
    op.execute("ALTER TABLE tasks ALTER COLUMN status SET DEFAULT 'backlog'")
    op.execute("DROP TYPE task_status_with_review")
