"""What a session of a read-only tenant leaves as it is: other sessions, and its own after the tenant is resumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import InternalError
from sqlalchemy.orm import Session

from tenantkit import Tenancy, TenantReadOnlyError
from tests.support.blocking import in_sync
from tests.support.models import Country, Project


def insert(instance: Any) -> Callable[[Session], None]:
    def work(session: Session) -> None:
        session.add(instance)
        session.flush()

    return work


def test_a_session_that_is_kept_writes_again_when_its_tenant_is_resumed(make_any_tenancy: Callable[..., Any]) -> None:
    tenancy = make_any_tenancy(cache_ttl=0)
    tenancy.create("acme")
    tenancy.suspend("acme", read_only=True)
    with tenancy.session("acme") as session:
        options = {"isolation_level": "SERIALIZABLE"}
        in_sync(session, lambda session: session.connection(execution_options=options))
        for refused in (Project(name="refused"), Country(code="PT", name="Portugal")):  # a shared table, too
            with pytest.raises(TenantReadOnlyError):
                in_sync(session, insert(refused))
            session.rollback()
        with pytest.raises(TenantReadOnlyError), session.begin_nested():
            in_sync(session, insert(Project(name="in a savepoint")))
        session.rollback()
        with tenancy.shared_session() as shared:
            in_sync(shared, insert(Country(code="ES", name="Spain")))
            shared.commit()
        tenancy.resume("acme")
        in_sync(session, insert(Project(name="written")))
        session.commit()
        assert in_sync(session, lambda session: session.scalars(select(Project.name)).all()) == ["written"]


def test_a_connection_of_the_callers_is_read_only_to_the_end_of_its_transaction(tenancy: Tenancy) -> None:
    for key in ("acme", "beta"):
        tenancy.create(key)
    tenancy.suspend("acme", read_only=True)
    tenancy.cache.clear()
    with tenancy.engine.connect() as connection:
        connection.begin()
        with tenancy.session("acme", bind=connection) as session:
            assert session.scalars(select(Project)).all() == []
        with tenancy.session("beta", bind=connection) as session, pytest.raises(InternalError, match="read-only"):
            insert(Project(name="beta"))(session)
        connection.rollback()
        with connection.begin(), tenancy.session("beta", bind=connection) as session:
            insert(Project(name="beta"))(session)
            session.commit()
    with tenancy.session("beta") as session:
        assert session.scalars(select(Project.name)).all() == ["beta"]
