"""Settings of the database change neither what sessions find nor what tenantkit itself does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import drift
from tests.support.blocking import in_sync
from tests.support.models import Project

OWN = text("SELECT own()")
SETTINGS = [
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("search_path", "t_beta, public"),
    ("default_transaction_isolation", "serializable"),
    ("session_replication_role", "replica"),
    ("plan_cache_mode", "force_generic_plan"),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_a_setting_of_the_database_changes_nothing(
    make_any_tenancy: Callable[..., Any], engine: Engine, name: str, value: str
) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.exec_driver_sql(f"ALTER DATABASE {engine.url.database} SET {name} = {value}")
        except DBAPIError as error:
            pytest.skip(f"this server has no such setting: {error.orig}")
    tenancy = make_any_tenancy()

    def fill(session: Session) -> None:
        schema = session.scalar(text("SELECT current_schema()"))
        session.add(Project(name=schema))
        body = f"'SELECT name FROM {schema}.project'"
        session.execute(text(f"CREATE FUNCTION own() RETURNS SETOF varchar LANGUAGE sql AS {body}"))

    for key in ("acme", "beta"):
        tenancy.create(key, seed=fill)
    for key in ("acme", "beta") * 2:
        with tenancy.session(key) as session:
            found = in_sync(session, lambda sync: [*sync.scalars(select(Project.name)), *sync.scalars(OWN)])
            assert found == [f"t_{key}"] * 2
    synchronous = getattr(tenancy, "sync", tenancy)
    assert [group.alike for group in drift.check(synchronous).groups] == [2]
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'maintenance', claim = 'run 77'")
    tenancy.repair()
    assert {tenant.status for tenant in tenancy.list()} == {"active"}
    assert not tenancy.diagnose()
