"""Custom fields, and what every tenant begins with: an effort field and three labels.

Revision ID: 0009
Revises: 0008
Create Date: 2026-02-11 10:48:59
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    custom_fields = op.create_table(
        "custom_fields",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "kind", sa.Enum("text", "number", "date", "choice", name="field_kind", schema="tenant"), nullable=False
        ),
        sa.Column("choices", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_fields")),
        sa.UniqueConstraint("name", name=op.f("uq_custom_fields_name")),
        schema="tenant",
    )
    op.create_table(
        "custom_values",
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["field_id"], ["tenant.custom_fields.id"], name=op.f("fk_custom_values_field_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tenant.tasks.id"], name=op.f("fk_custom_values_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "field_id", name=op.f("pk_custom_values")),
        schema="tenant",
    )
    op.create_index(op.f("ix_custom_values_field_id"), "custom_values", ["field_id"], schema="tenant")
    op.create_index("ix_custom_values_value", "custom_values", ["value"], schema="tenant", postgresql_using="gin")
    op.bulk_insert(custom_fields, [{"name": "Effort", "kind": "choice", "choices": ["S", "M", "L", "XL"]}])
    op.execute(
        "INSERT INTO labels (name, color) VALUES ('bug', '#d73a4a'), ('feature', '#0e8a16'), ('chore', '#6e7781') "
        "ON CONFLICT DO NOTHING"
    )


def downgrade() -> None:
    """Remove the fields, but not the labels, which tasks may have."""
    op.drop_table("custom_values", schema="tenant")
    op.drop_table("custom_fields", schema="tenant")
    op.execute("DROP TYPE field_kind")
