"""Connections keep more prepared statements than the drivers' default of 100."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, literal_column, select, text
from sqlalchemy.orm import Session

from tenantkit import Tenancy
from tests.support.models import APPLICATION

PREPARED = text(
    "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%AS kept_%' AND NOT statement LIKE '%count%'"
)
USES = 7  # psycopg prepares a statement at its sixth execution
MANY = 150  # psycopg and asyncpg keep 100


def test_more_statements_stay_prepared_than_drivers_keep_by_default(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    with any_tenancy.session("acme") as session:
        for _ in range(USES):
            for number in range(MANY):
                session.execute(select(literal_column("1").label(f"kept_{number}")))
        assert session.execute(PREPARED).scalar_one() == MANY


def test_a_lookup_of_another_tenant_keeps_what_is_prepared(make_any_tenancy: Callable[..., Any]) -> None:
    tenancy = make_any_tenancy(listen=False, engine_options={"pool_size": 1, "max_overflow": 0})
    for key in ("acme", "globex"):
        tenancy.create(key)
    for _ in range(USES):
        with tenancy.session("acme") as session:
            session.execute(select(literal_column("1").label("kept_0")))
            session.commit()
    tenancy.get("globex")
    with tenancy.session("acme") as session:
        assert session.execute(PREPARED).scalar_one() == 1


def test_an_application_may_turn_prepared_statements_off(database: URL) -> None:
    options = {"connect_args": {"prepare_threshold": None}}
    tenancy = Tenancy(database, **APPLICATION, listen=False, engine_options=options)
    with Session(tenancy.engine) as session:
        for _ in range(USES):
            session.execute(select(literal_column("1").label("kept_0")))
        assert session.execute(PREPARED).scalar_one() == 0
    tenancy.close()
