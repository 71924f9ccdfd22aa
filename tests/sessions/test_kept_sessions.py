"""A session that is kept checks at the beginning of each transaction that its tenant is still served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tenantkit import Tenancy, TenantMismatchError, TenantNotFoundError, TenantUnavailableError
from tests.support.blocking import in_sync
from tests.support.models import Project

USES: dict[str, Callable[[Session], Any]] = {
    "read": lambda session: session.scalars(select(Project.name)).all(),
    "text": lambda session: session.scalars(text("SELECT name FROM project")).all(),
    "flush": lambda session: (session.add(Project(name="late")), session.flush()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_kept_session_is_refused_while_its_tenant_is_suspended(
    any_tenancy: Any, use: Callable[[Session], Any]
) -> None:
    any_tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
    with any_tenancy.session("acme") as session, any_tenancy.session("acme") as unused:
        assert in_sync(session, USES["read"]) == ["acme"]
        any_tenancy.suspend("acme")
        assert in_sync(session, USES["text"]) == ["acme"]  # its transaction goes on
        session.commit()
        for each in (session, unused):
            with pytest.raises(TenantUnavailableError, match="suspended"):
                in_sync(each, use)
            each.rollback()
        any_tenancy.resume("acme")
        in_sync(session, use)


def test_a_kept_session_is_refused_after_its_tenant_was_dropped(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    with any_tenancy.session("acme") as session:
        assert in_sync(session, USES["read"]) == []
        session.commit()
        any_tenancy.drop("acme")
        with pytest.raises(TenantNotFoundError):
            in_sync(session, USES["read"])
        any_tenancy.create("acme", seed=lambda session: session.add(Project(name="the successor's")))
        with pytest.raises(TenantMismatchError, match="Look the tenant up again"):
            in_sync(session, USES["read"])


def test_a_session_for_maintenance_goes_on_in_a_suspended_tenant(tenancy: Tenancy) -> None:
    tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
    with tenancy.session("acme", any_status=True) as session:
        tenancy.suspend("acme")
        for _ in range(2):
            assert session.scalars(select(Project.name)).all() == ["acme"]
            session.commit()


def test_a_kept_session_is_refused_after_its_tables_have_moved(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        session.commit()
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE tenantkit.tenants SET schema = 't_elsewhere' WHERE key = 'acme'")
        tenancy.cache.clear()
        with pytest.raises(TenantUnavailableError, match="have moved"):
            session.scalars(select(Project)).all()
