"""Users, and the reference data they choose from.

Revision ID: 0001
Revises:
Create Date: 2025-09-01 09:12:44
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
        "countries",
        sa.Column("code", sa.Text(), nullable=False, comment="ISO 3166-1 alpha-2"),
        sa.Column("alpha_3", sa.Text(), nullable=False),
        sa.Column("numeric", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("flag", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_countries")),
        sa.UniqueConstraint("alpha_3", name=op.f("uq_countries_alpha_3")),
        sa.UniqueConstraint("name", name=op.f("uq_countries_name")),
        schema="shared",
    )
    op.create_table(
        "currencies",
        sa.Column("code", sa.Text(), nullable=False, comment="ISO 4217"),
        sa.Column("numeric", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_currencies")),
        schema="shared",
    )
    op.create_table(
        "languages",
        sa.Column("code", sa.Text(), nullable=False, comment="ISO 639-1"),
        sa.Column("alpha_3", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_languages")),
        sa.UniqueConstraint("alpha_3", name=op.f("uq_languages_alpha_3")),
        schema="shared",
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("country_code", sa.Text(), nullable=True),
        sa.Column("language_code", sa.Text(), server_default="en", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_is_lower_case")),
        sa.ForeignKeyConstraint(["country_code"], ["shared.countries.code"], name=op.f("fk_users_country_code")),
        sa.ForeignKeyConstraint(["language_code"], ["shared.languages.code"], name=op.f("fk_users_language_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        schema="shared",
    )


def downgrade() -> None:
    for table in ("users", "languages", "currencies", "countries"):
        op.drop_table(table, schema="shared")
