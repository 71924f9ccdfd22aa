"""Clients with a country and a currency; projects have a schedule and settings.

Revision ID: 0007
Revises: 0006
Create Date: 2025-12-04 17:34:48
"""

# tenantkit: noqa: renaming-table, renaming-object - the tracker had a maintenance window for this

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("country_code", sa.Text(), nullable=False),
        sa.Column("currency_code", sa.Text(), server_default="EUR", nullable=False),
        sa.ForeignKeyConstraint(["country_code"], ["shared.countries.code"], name=op.f("fk_clients_country_code")),
        sa.ForeignKeyConstraint(["currency_code"], ["shared.currencies.code"], name=op.f("fk_clients_currency_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
        sa.UniqueConstraint("name", name=op.f("uq_clients_name")),
        schema="tenant",
    )
    op.create_index(op.f("ix_clients_country_code"), "clients", ["country_code"], schema="tenant")
    with op.batch_alter_table("projects", schema="tenant") as projects:
        projects.add_column(sa.Column("client_id", sa.Integer(), nullable=True))
        projects.add_column(sa.Column("starts_on", sa.Date(), nullable=True))
        projects.add_column(sa.Column("due_on", sa.Date(), nullable=True))
        projects.add_column(
            sa.Column("settings", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False)
        )
        projects.create_check_constraint(op.f("ck_projects_due_on"), "due_on >= starts_on")
        projects.create_foreign_key(
            op.f("fk_projects_client_id"), "clients", ["client_id"], ["id"], referent_schema="tenant"
        )
        projects.create_index(op.f("ix_projects_client_id"), ["client_id"])
    rename_table("staffing", "project_members")


def downgrade() -> None:
    rename_table("project_members", "staffing")
    with op.batch_alter_table("projects", schema="tenant") as projects:
        for column in ("settings", "due_on", "starts_on", "client_id"):
            projects.drop_column(column)
    op.drop_table("clients", schema="tenant")


def rename_table(old: str, new: str) -> None:
    """Rename a table and the objects with its name."""
    op.rename_table(old, new, schema="tenant")
    for constraint in ("pk_{}", "fk_{}_project_id", "fk_{}_user_id"):
        op.execute(f"ALTER TABLE {new} RENAME CONSTRAINT {constraint.format(old)} TO {constraint.format(new)}")
    op.execute(f"ALTER INDEX ix_{old}_user_id RENAME TO ix_{new}_user_id")
