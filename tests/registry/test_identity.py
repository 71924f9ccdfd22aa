"""A tenant belongs to its registry, and is served by its current status."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import flask
import pytest
from sqlalchemy import URL, Engine, event, select, text

from tenantkit import (
    Status,
    Tenancy,
    Tenant,
    TenantMismatchError,
    TenantNotFoundError,
    TenantUnavailableError,
    tenant_context,
)
from tenantkit.flask import TenantKit
from tenantkit.resolvers import Header
from tenantkit.web import session_cookies
from tests.support.models import Project

Make = Callable[..., Any]


@pytest.fixture
def regions(make_any_tenancy: Make, make_database: Callable[..., URL], application_template: str) -> tuple[Any, Any]:
    """Two tenancies in one process, on copies of one database; each has a "globex" with id 1."""
    eu, us = (make_any_tenancy(database=make_database(application_template)) for _ in range(2))
    for tenancy, name in ((eu, "in Europe"), (us, "in America")):
        tenancy.create("globex", seed=lambda session, name=name: session.add(Project(name=name)))
    return eu, us


def first(session: Any) -> Any:
    return session.scalars(select(Project)).one()


def test_every_database_has_a_registry_of_its_own(regions: tuple[Any, Any]) -> None:
    eu, us = (tenancy.get("globex") for tenancy in regions)
    assert (eu.id, eu.key) == (us.id, us.key)
    assert eu.registry != us.registry
    assert eu.identity != us.identity


def test_a_tenants_identity_is_the_same_in_every_process(database: URL, make_tenancy: Callable[..., Tenancy]) -> None:
    created = make_tenancy().create("acme")
    again = make_tenancy().get("acme")
    assert created.registry
    assert created.identity == again.identity == make_tenancy().list()[0].identity


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("any_status", [True, False])
def test_a_tenant_of_one_registry_is_refused_by_another(
    regions: tuple[Any, Any], is_known: bool, any_status: bool
) -> None:
    eu, us = regions
    foreign = eu.get("globex")
    if is_known:
        us.get("globex")
    else:
        getattr(us, "sync", us).cache.clear()
    with pytest.raises(TenantMismatchError, match="globex") as caught, us.session(foreign, any_status=any_status):
        pass
    assert foreign.registry in str(caught.value)
    assert us.get("globex").registry in str(caught.value)
    with (
        tenant_context(foreign),
        pytest.raises(TenantMismatchError, match="globex"),
        us.session(any_status=any_status),
    ):
        pass


def test_a_tenant_that_another_registry_does_not_have_is_refused_as_foreign(regions: tuple[Any, Any]) -> None:
    eu, us = regions
    only_there = eu.create("initech")
    with pytest.raises(TenantMismatchError, match="initech"), us.session(only_there):
        pass


def test_a_session_refuses_to_work_under_a_tenant_of_another_registry(regions: tuple[Any, Any]) -> None:
    eu, us = regions
    with tenant_context(us.get("globex")), us.session() as session:
        assert first(session).name == "in America"
        with tenant_context(eu.get("globex")), pytest.raises(TenantMismatchError):
            first(session)


def test_objects_of_one_registry_are_refused_by_sessions_of_another(regions: tuple[Any, Any]) -> None:
    eu, us = regions
    with eu.session("globex") as session:
        detached = first(session)
        pickled = pickle.dumps(detached)
    with us.session("globex") as session:
        for foreign in (detached, pickle.loads(pickled)):  # noqa: S301 - pickled above
            with pytest.raises(TenantMismatchError):
                session.add(foreign)
            with pytest.raises(TenantMismatchError):
                session.merge(foreign)
        assert first(session).name == "in America"


def test_a_web_session_is_bound_to_a_tenant_of_one_registry(regions: tuple[Any, Any]) -> None:
    eu, us = (tenancy.get("globex") for tenancy in regions)
    cookie: dict[str, Any] = {}
    session_cookies.bind(cookie, eu)
    assert session_cookies.is_bound(cookie, eu)
    assert not session_cookies.is_bound(cookie, us)


def test_at_revision_refuses_a_tenant_of_another_registry(regions: tuple[Any, Any]) -> None:
    eu, us = regions
    with pytest.raises(TenantMismatchError):
        us.at_revision(eu.get("globex"), "0001")


def test_two_flask_applications_that_serve_one_request_have_sessions_of_their_own(
    make_tenancy: Callable[..., Tenancy], make_database: Callable[..., URL], application_template: str
) -> None:
    seen: list[str] = []

    def make_app(name: str) -> tuple[flask.Flask, TenantKit]:
        tenancy = make_tenancy(database=make_database(application_template))
        tenancy.create("globex", seed=lambda session: session.add(Project(name=name)))
        app, kit = flask.Flask(name), TenantKit()
        kit.init_app(app, tenancy, resolver=Header("X-Tenant"))
        return app, kit

    outer, outer_kit = make_app("outer")
    inner, inner_kit = make_app("inner")

    @inner.get("/")
    def inner_view() -> str:
        seen.append(first(inner_kit.session).name)
        seen.append(inner_kit.shared_session.connection().exec_driver_sql("SELECT current_database()").scalar_one())
        return ""

    @outer.get("/")
    def outer_view() -> str:
        seen.append(first(outer_kit.session).name)
        seen.append(outer_kit.shared_session.connection().exec_driver_sql("SELECT current_database()").scalar_one())
        list(inner.wsgi_app(flask.request.environ, lambda *_: lambda _data: None))
        return ""

    assert outer.test_client().get("/", headers={"X-Tenant": "globex"}).status_code == 200
    assert seen[::2] == ["outer", "inner"]
    assert seen[1] != seen[3]


# The current status


CHANGES: dict[str, tuple[Callable[[Any], object], type[Exception]]] = {
    "suspended": (lambda tenancy: tenancy.suspend("acme"), TenantUnavailableError),
    "in maintenance": (lambda tenancy: tenancy.start_maintenance("acme"), TenantUnavailableError),
    "dropped": (lambda tenancy: tenancy.drop("acme"), TenantNotFoundError),
    "another": (lambda tenancy: (tenancy.drop("acme"), tenancy.create("acme")), TenantMismatchError),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("options", [{}, {"cache_ttl": 0}], ids=repr)
def test_a_tenant_value_of_a_job_is_served_by_its_current_status(
    make_any_tenancy: Make, change: str, options: dict[str, Any]
) -> None:
    tenancy = make_any_tenancy(**options)
    kept = tenancy.create("acme")
    do, error = CHANGES[change]
    with tenant_context(kept):
        for opened in (tenancy.session, lambda: tenancy.session(kept)):
            with opened() as session:
                assert session.scalars(select(Project)).all() == []
        do(tenancy)
        for opened in (tenancy.session, lambda: tenancy.session(kept)):
            with pytest.raises(error), opened():
                pass


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("options", [{}, {"cache_ttl": 0}], ids=repr)
def test_sessions_of_the_sessionmaker_check_the_current_status(
    make_any_tenancy: Make, change: str, options: dict[str, Any]
) -> None:
    tenancy = make_any_tenancy(**options)
    kept = tenancy.create("acme")
    do, error = CHANGES[change]
    with tenancy.sessionmaker(tenant=kept) as session:
        assert session.scalars(select(Project)).all() == []
    do(tenancy)
    with pytest.raises(error), tenancy.sessionmaker(tenant=kept) as session:
        session.scalars(select(Project))


def test_a_resumed_tenant_is_served_by_a_suspended_value(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    kept = any_tenancy.suspend("acme")
    any_tenancy.resume("acme")
    with any_tenancy.session(kept) as session:
        assert session.scalars(select(Project)).all() == []
        assert session.tenant.status is Status.ACTIVE


def test_a_tenant_that_was_renamed_by_hand_is_found_by_its_id(any_tenancy: Any, engine: Engine) -> None:
    kept = any_tenancy.create("acme")
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET key = 'renamed'"))
    for tenant in (kept, "renamed"):
        with any_tenancy.session(tenant) as session:
            assert session.tenant.key == "renamed"
            assert session.scalars(select(Project)).all() == []
    with pytest.raises(TenantNotFoundError):
        any_tenancy.get("acme")
    assert any_tenancy.create("acme").schema == "t_acme~2"


def test_another_session_of_a_cached_tenant_sends_no_query_to_the_registry(any_tenancy: Any) -> None:
    kept = copy.copy(any_tenancy.create("acme"))
    any_tenancy.get("acme")
    sent: list[str] = []
    engine = getattr(any_tenancy.engine, "sync_engine", any_tenancy.engine)
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    with tenant_context(kept):
        for opened in (any_tenancy.session, any_tenancy.sessionmaker):
            with opened() as session:
                session.scalars(select(Project))
    assert not [statement for statement in sent if "tenantkit." in statement]


def made_by_hand(tenant: Tenant) -> Tenant:
    values = {name: getattr(tenant, name) for name in ("id", "key", "name", "status", "placement")}
    return Tenant(**values, created_at=tenant.created_at, updated_at=tenant.updated_at)


def test_a_constructed_tenant_has_no_registry(any_tenancy: Any) -> None:
    forged = made_by_hand(any_tenancy.create("acme"))
    with pytest.raises(TenantMismatchError, match="from registry none"), any_tenancy.session(forged):
        pass
