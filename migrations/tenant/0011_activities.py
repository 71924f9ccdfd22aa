"""A trigger writes down what happens to tasks, and the past is filled in.

Revision ID: 0011
Revises: 0010
Create Date: 2026-04-02 11:17:22
"""

# tenantkit: noqa: TK009 - tasks must not change between the copy and the trigger, and are some thousands

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "activities",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tenant.tasks.id"], name=op.f("fk_activities_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activities")),
        schema="tenant",
    )
    op.execute(
        """
        INSERT INTO activities (task_id, action, happened_at)
        SELECT id, 'created', created_at FROM tasks
        UNION ALL
        SELECT id, 'closed', closed_at FROM tasks WHERE closed_at IS NOT NULL
        ORDER BY 3, 1
        """
    )
    op.create_index(
        "ix_activities_task_id_happened_at", "activities", ["task_id", sa.text("happened_at DESC")], schema="tenant"
    )
    # The names in the function's body are looked up when it runs. Other connections, such as psql, have another
    # search_path, so the function keeps that of migrations, which leads to the tenant's schema.
    op.execute(
        """
        CREATE FUNCTION log_task() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        DECLARE
            differences jsonb;
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO activities (task_id, action) VALUES (NEW.id, 'created');
                RETURN NULL;
            END IF;
            SELECT jsonb_object_agg(key, jsonb_build_array(old_row.value, new_row.value)) INTO differences
                FROM jsonb_each(to_jsonb(OLD)) AS old_row JOIN jsonb_each(to_jsonb(NEW)) AS new_row USING (key)
                WHERE old_row.value <> new_row.value AND key NOT IN ('position', 'search', 'updated_at');
            IF differences IS NOT NULL THEN
                INSERT INTO activities (task_id, action, changes) VALUES (
                    NEW.id,
                    CASE
                        WHEN OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL THEN 'closed'
                        WHEN OLD.closed_at IS NOT NULL AND NEW.closed_at IS NULL THEN 'reopened'
                        ELSE 'changed'
                    END,
                    differences
                );
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute("CREATE TRIGGER log_task AFTER INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION log_task()")


def downgrade() -> None:
    op.execute("DROP TRIGGER log_task ON tasks")
    op.execute("DROP FUNCTION log_task()")
    op.drop_table("activities", schema="tenant")
