"""Statements of SQLAlchemy's dialects do not count as textual SQL of the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, MetaData, Table, create_engine, delete, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateSchema

from tenantkit import DrainError, RawSQLForbiddenError, Tenancy, TenantReadOnlyError, lifecycle
from tenantkit.registry import versions
from tests.sessions.leftovers import LEFT, LEFTOVERS, NOTHING
from tests.support.blocking import in_sync
from tests.support.models import Project, SharedBase


def test_catalog_queries_and_savepoints_are_not_refused_as_text(make_any_tenancy: Callable[..., Any]) -> None:
    tenancy = make_any_tenancy(raw_sql="forbid")
    tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))

    def use(session: Session) -> None:
        connection = session.connection()
        inspector = inspect(connection)
        assert sorted(inspector.get_table_names()) == ["project", "task"]
        for name in inspector.get_table_names():
            assert inspector.get_columns(name)
            assert inspector.get_pk_constraint(name)
            inspector.get_foreign_keys(name)
            inspector.get_indexes(name)
            inspector.get_unique_constraints(name)
            inspector.get_check_constraints(name)
        assert [enum["name"] for enum in inspector.get_enums()] == ["state"]  # type: ignore[attr-defined]
        assert inspector.has_table("project")
        assert "name" in Table("project", MetaData(), autoload_with=connection).columns
        with session.begin_nested():
            session.add(Project(name="another"))
        savepoint = session.begin_nested()
        savepoint.rollback()
        assert len(session.scalars(select(Project)).all()) == 2
        with pytest.raises(RawSQLForbiddenError):
            session.execute(text("SELECT 1"))

    with tenancy.session("acme") as session:
        in_sync(session, use)


@pytest.fixture
def two_phase_database(two_phase_server: URL) -> URL:
    plain = two_phase_server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS two_phase WITH (FORCE)")
        connection.execute("CREATE DATABASE two_phase")
    url = two_phase_server.set(database="two_phase")
    engine = create_engine(url)
    with engine.begin() as made:
        versions.install(made)
        made.execute(CreateSchema("shared"))
        SharedBase.metadata.create_all(made)
    engine.dispose()
    return url


KEPT = ("setting", "custom setting", "lock", "shared lock", "value of a sequence")
"""State that a prepared transaction may leave; PostgreSQL refuses others, such as temporary tables."""


@pytest.mark.parametrize("raw_sql", ["allow", "forbid"])
def test_a_session_commits_in_two_phases(
    two_phase_database: URL, make_any_tenancy: Callable[..., Any], raw_sql: str
) -> None:
    pool = {"pool_size": 1, "max_overflow": 1, "pool_timeout": 5}
    tenancy = make_any_tenancy(database=two_phase_database, raw_sql=raw_sql, engine_options=pool)
    for key in ("acme", "beta"):
        tenancy.create(key, seed=lambda session: session.add(Project(name=session.tenant.key)))

    def add(session: Session) -> None:
        session.add(Project(name="new"))
        session.flush()
        for name in KEPT if raw_sql == "allow" else ():
            session.execute(text(LEFTOVERS[name]))

    def prepare_and_roll_back(session: Session) -> None:
        session.prepare()
        session.rollback()

    ends: list[Callable[[Session], None]] = [Session.commit, Session.rollback, prepare_and_roll_back]
    for end in ends:
        with tenancy.session("acme", twophase=True) as session:
            in_sync(session, add)
            in_sync(session, end)
            expected = {"acme", "new"} if end is Session.commit else {"acme"}
            assert set(session.scalars(select(Project.name))) == expected
            session.execute(delete(Project).where(Project.name == "new"))
            session.commit()
        for open_session in (lambda: tenancy.session("beta"), tenancy.shared_session):
            with open_session() as session, open_session() as second:
                for each in (session, second) if raw_sql == "allow" else ():
                    assert each.execute(LEFT).one() == NOTHING
        with tenancy.shared_session() as session:
            assert session.execute(text("SELECT count(*) FROM pg_prepared_xacts")).scalar_one() == 0


def test_a_prepared_transaction_is_neither_cut_off_nor_begun_for_a_read_only_tenant(
    two_phase_database: URL, make_tenancy: Callable[..., Tenancy]
) -> None:
    tenancy = make_tenancy(database=two_phase_database, cache_ttl=0)
    tenancy.create("acme")
    with tenancy.session("acme", twophase=True) as session:
        session.add(Project(name="prepared"))
        session.prepare()
        tenancy.suspend("acme", read_only=True)
        with pytest.raises(DrainError, match="pg_prepared_xacts") as still:
            lifecycle.drain(tenancy, "acme", 0)
        assert (still.value.running, still.value.ended) == ((), ())
        session.commit()
        assert session.scalars(select(Project.name)).all() == ["prepared"]
        session.add(Project(name="late"))
        with pytest.raises(TenantReadOnlyError):
            session.prepare()


def test_text_cannot_prepare_a_transaction(two_phase_database: URL, make_any_tenancy: Callable[..., Any]) -> None:
    tenancy = make_any_tenancy(database=two_phase_database)
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        session.execute(text("SELECT 1"))
        with pytest.raises((RawSQLForbiddenError, DBAPIError)):
            session.execute(text("PREPARE TRANSACTION 'x'"))
    with tenancy.shared_session() as session:
        assert session.execute(text("SELECT count(*) FROM pg_prepared_xacts")).scalar_one() == 0
