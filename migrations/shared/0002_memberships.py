"""Memberships of users in tenants.

Revision ID: 0002
Revises: 0001
Create Date: 2025-09-03 15:40:02
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
        "memberships",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_key", sa.Text(), nullable=False),
        sa.Column("role", sa.Enum("owner", "admin", "member", name="role", schema="shared"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["shared.users.id"], name=op.f("fk_memberships_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "tenant_id", name=op.f("pk_memberships")),
        schema="shared",
    )
    op.create_index(op.f("ix_memberships_tenant_id"), "memberships", ["tenant_id"], schema="shared")


def downgrade() -> None:
    op.drop_table("memberships", schema="shared")
    op.execute("DROP TYPE shared.role")
