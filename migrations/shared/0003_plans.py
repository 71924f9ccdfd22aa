"""Plans that tenants subscribe to.

Revision ID: 0003
Revises: 0002
Create Date: 2025-11-18 10:05:31
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "plans",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=True, comment="None for any number"),
        sa.Column("monthly_price", sa.Integer(), nullable=False, comment="in cents"),
        sa.Column("currency_code", sa.Text(), nullable=False),
        sa.CheckConstraint("monthly_price >= 0", name=op.f("ck_plans_monthly_price")),
        sa.ForeignKeyConstraint(["currency_code"], ["shared.currencies.code"], name=op.f("fk_plans_currency_code")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_plans")),
        schema="shared",
    )


def downgrade() -> None:
    op.drop_table("plans", schema="shared")
