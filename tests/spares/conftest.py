"""A fleet whose tables revisions make, and spares for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from tenantkit import Tenancy
from tests.migrations.environments import Environment

BASE = """
op.create_table("a", sa.Column("x", sa.Integer, sa.Identity(), primary_key=True), sa.Column("t", sa.Text), schema="tenant")
op.execute("CREATE FUNCTION count_a() RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS 'BEGIN RETURN (SELECT count(*) FROM a); END'")
op.execute("CREATE VIEW v AS SELECT t FROM a; COMMENT ON VIEW v IS '100%'")
op.execute("INSERT INTO a (t) VALUES ('one')")
"""


@pytest.fixture
def fleet(environment: Environment, make_tenancy: Callable[..., Tenancy]) -> Callable[..., Tenancy]:
    """Make tenancies of one application, whose tables a revision makes."""
    environment.add("one", BASE)

    def make(**options: object) -> Tenancy:
        return make_tenancy(migrations=environment.folder, **options)

    return make


@pytest.fixture
def spares(engine: Engine) -> Callable[[], dict[str, str]]:
    """Return the spares: the status of each by its schema."""

    def read() -> dict[str, str]:
        with engine.connect() as connection:
            query = "SELECT schema, status FROM tenantkit.tenants WHERE key ^@ '~spare-' ORDER BY id"
            return {row.schema: row.status for row in connection.exec_driver_sql(query)}

    return read
