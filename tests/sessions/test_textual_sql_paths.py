"""The search_path holds for textual statements on each way to the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from tenantkit import RawSQLForbiddenError, Tenancy, TenantMismatchError, tenant_context
from tests.support.models import Project

PATH = text("SELECT current_setting('search_path')")
NAMES = text("SELECT name FROM project ORDER BY name")


def test_text_finds_the_tenant_again_after_a_savepoint_was_rolled_back(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    with any_tenancy.session("acme") as session:
        session.execute(select(Project.name))
        savepoint = session.begin_nested()
        with savepoint:
            assert session.execute(PATH).scalar_one() == "t_acme, pg_temp"
            savepoint.rollback()
        assert session.execute(PATH).scalar_one() == "t_acme, pg_temp"
        session.commit()
        assert session.execute(PATH).scalar_one() == "t_acme, pg_temp"


def test_every_driver_call_with_text_finds_the_tenant(any_tenancy: Any) -> None:
    for key in ("acme", "beta"):
        any_tenancy.create(key)
        with any_tenancy.session(key) as session:
            session.execute(text("INSERT INTO project (name) VALUES (:name)"), [{"name": "one"}, {"name": "two"}])
            session.commit()
            connection = session.connection()
            assert connection.exec_driver_sql("SELECT name FROM project ORDER BY 1").scalars().all() == ["one", "two"]
            session.commit()
            options = {"no_parameters": True}
            assert session.execute(NAMES, execution_options=options).scalars().all() == ["one", "two"]
            session.commit()
            values = [{"name": "three"}, {"name": "four"}]
            made = session.scalars(insert(Project).returning(text("project.name")), values).all()
            assert sorted(made) == ["four", "three"]


def test_forbidden_text_is_not_sent_by_any_method(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(raw_sql="forbid")
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        for statement, options in ((PATH, {}), (PATH, {"no_parameters": True})):
            with pytest.raises(RawSQLForbiddenError):
                session.execute(statement, execution_options=options)
        with pytest.raises(RawSQLForbiddenError):
            session.execute(text("INSERT INTO project (name) VALUES (:name)"), [{"name": "one"}, {"name": "two"}])
        assert session.scalars(select(Project.name)).all() == []


def test_other_sessions_on_the_same_engine_keep_their_path(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        session.execute(PATH)
        session.commit()
    with Session(tenancy.engine) as session:
        assert "t_acme" not in session.execute(PATH).scalar_one()


def test_a_refused_flush_leaves_the_session_usable(tenancy: Tenancy) -> None:
    acme, beta = tenancy.create("acme"), tenancy.create("beta")
    with tenant_context(acme), tenancy.session() as session:
        session.add(Project(name="one"))
        with tenant_context(beta):
            for refused in (
                session.flush,
                session.commit,
                session.connection,
                lambda: session.scalars(select(Project)),
            ):
                with pytest.raises(TenantMismatchError):
                    refused()
        session.commit()
        assert session.scalars(select(Project.name)).all() == ["one"]
