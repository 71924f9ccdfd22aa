"""A first revision of two tables, to migrate in common tables and in schemas."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, text

from tests.migrations.environments import Environment

R1 = """
op.create_table("account", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String, unique=True),
    sa.Column("kind", sa.Enum("a", "b", name="kind", schema="tenant")), schema="tenant")
op.create_table("invoice", sa.Column("id", sa.Integer, primary_key=True), sa.Column("amount", sa.Integer, index=True),
    sa.Column("account_id", sa.Integer, sa.ForeignKey("tenant.account.id", ondelete="SET NULL")), schema="tenant")
"""


@pytest.fixture
def environment(environment: Environment) -> Environment:
    """An environment with that revision."""
    environment.add("r1", R1, 'op.drop_table("invoice", schema="tenant")\nop.drop_table("account", schema="tenant")')
    return environment


@pytest.fixture
def engine(url: URL) -> Generator[Engine]:
    """The superuser's, who sees all rows."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


def fill(session: Any) -> None:
    """Give a tenant an account and an invoice, each with the id 1."""
    session.execute(text("INSERT INTO account (id, name) VALUES (1, :name)"), {"name": session.tenant.key})
    session.execute(text("INSERT INTO invoice (id, amount, account_id) VALUES (1, 0, 1)"))
