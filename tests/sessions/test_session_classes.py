"""Session classes and session options of the application's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, Engine, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Query, Session, sessionmaker
from sqlalchemy.util.concurrency import greenlet_spawn

from tenantkit import ConfigurationError, Tenancy, TenantMismatchError, TenantSession, tenant_context
from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession
from tests.support.models import APPLICATION, Country, Project

pytestmark = pytest.mark.each_value


class Library(Session):
    """The session class of another library, with an option, a choice of binds and a method of its own."""

    def __init__(self, *args: Any, library: str = "default", **options: Any) -> None:
        super().__init__(*args, **options)
        self.library = library

    def get_bind(self, *_: Any, **__: Any) -> Any:
        return self.bind

    def exec(self, statement: Any) -> Any:
        return super().execute(statement).scalars()


class AppSession(TenantSession, Library):
    pass


class AsyncLibrary(AsyncSession):
    sync_session_class: type[Library] = Library
    sync_session: Library

    async def exec(self, statement: Any) -> Any:
        return await greenlet_spawn(self.sync_session.exec, statement)


class AsyncAppSession(AsyncTenantSession, AsyncLibrary):
    sync_session_class = AppSession


@pytest.fixture
def libraries_tenancy(make_any_tenancy: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    synchronous = request.node.callspec.id == "sync"
    return make_any_tenancy(
        session_class=AppSession if synchronous else AsyncAppSession,
        shared_session_class=Library if synchronous else AsyncLibrary,
        session_options={"library": "ours", "autoflush": False},
    )


def test_a_tenants_session_is_one_of_the_other_library_too(libraries_tenancy: Any) -> None:
    for key in ("acme", "beta"):
        libraries_tenancy.create(key)
        with libraries_tenancy.session(key) as session:
            session.add(Project(name=key))
            session.commit()
            assert session.exec(select(Project.name)).all() == [key]


def test_sessions_of_the_other_library_have_the_checks_of_tenant_sessions(libraries_tenancy: Any) -> None:
    acme, beta = libraries_tenancy.create("acme"), libraries_tenancy.create("beta")
    with tenant_context(acme), libraries_tenancy.session() as session:
        with tenant_context(beta), pytest.raises(TenantMismatchError):
            session.exec(select(Project))
        session.add(Project(name="of acme"))
        session.commit()
        project = session.exec(select(Project)).one()
    with libraries_tenancy.session("beta") as session, pytest.raises(TenantMismatchError):
        session.merge(project)


def test_a_shared_session_is_the_other_librarys(libraries_tenancy: Any) -> None:
    with libraries_tenancy.shared_session() as session:
        session.add(Country(code="PT", name="Portugal"))
        session.commit()
        assert session.exec(select(Country.code)).all() == ["PT"]


def test_options_are_those_of_every_session_and_one_may_replace_them(make_tenancy: Callable[..., Tenancy]) -> None:
    options = {"autoflush": False, "info": {"by": "test"}, "execution_options": {"yield_per": 5}}
    tenancy = make_tenancy(session_options=options)
    tenancy.create("acme")
    for session in (
        tenancy.session("acme"),
        tenancy.sessionmaker(tenant="acme"),
        tenancy.shared_session(),
        tenancy.session("acme", autoflush=False),
    ):
        with session:
            assert not session.autoflush
            assert session.info == {"by": "test"}
            assert session.execution_options["yield_per"] == 5
            assert "schema_translate_map" in session.execution_options
    for session in (tenancy.session("acme", autoflush=True), tenancy.shared_session(autoflush=True)):
        with session:
            assert session.autoflush


def test_a_seed_gets_a_session_of_the_same_class_and_options(make_tenancy: Callable[..., Tenancy]) -> None:
    seen: list[Any] = []

    def seed(session: Any) -> None:
        session.add(Project(name="seeded"))
        session.flush()
        seen.append((session.library, session.exec(select(Project.name)).all()))

    tenancy = make_tenancy(session_class=AppSession, session_options={"library": "ours"}, seed=seed)
    tenancy.create("acme")
    assert seen == [("ours", ["seeded"])]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_async_objects_can_be_read_after_a_commit(portal: BlockingPortal, database: URL, driver: str) -> None:
    url = database.set(drivername=f"postgresql+{driver}")

    async def work() -> None:
        tenancy = AsyncTenancy(url, listen=False, **APPLICATION)
        await tenancy.create("acme")
        project, country = Project(name="first"), Country(code="PT", name="Portugal")
        async with tenancy.session("acme") as session:
            session.add(project)
            await session.commit()
            assert project.name == "first"
        async with tenancy.shared_session() as session:
            session.add(country)
            await session.commit()
            assert country.name == "Portugal"
        async with tenancy.session("acme", expire_on_commit=True) as session:
            assert session.sync_session.expire_on_commit
        await tenancy.close()
        tenancy = AsyncTenancy(url, listen=False, session_options={"expire_on_commit": True}, **APPLICATION)
        async with tenancy.session("acme") as session, tenancy.shared_session() as shared:
            assert session.sync_session.expire_on_commit
            assert shared.sync_session.expire_on_commit
        await tenancy.close()

    portal.call(work)


class Backwards(Library, TenantSession):
    pass


class Marked:
    pass


class WithMixin(Marked, AppSession):
    pass


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (Session, r"Write: class AppSession\(TenantSession\): ..."),
        (Library, r"Write: class AppSession\(TenantSession, .*test_session_classes.Library\): ..."),
        (Engine, r"Write: class AppSession\(TenantSession\): ..."),
        (Backwards, r"Write: class Backwards\(TenantSession, .*test_session_classes.Library\): ..."),
        (sessionmaker(), "needs a class"),
        ("AppSession", "needs a class"),
        (None, "needs a class"),
        (AsyncTenantSession, r"Write: class AppSession\(TenantSession\): ..."),
    ],
)
def test_a_class_without_the_checks_of_tenant_sessions_is_refused(
    make_tenancy: Callable[..., Tenancy], chosen: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_tenancy(session_class=chosen)


def test_a_mixin_may_precede(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(session_class=WithMixin)
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        assert isinstance(session, WithMixin)


class Halfway(AsyncTenantSession, AsyncLibrary):
    pass


class Plainly(AsyncTenantSession):
    sync_session_class = Library


class AsyncBackwards(AsyncLibrary, AsyncTenantSession):
    sync_session_class = AppSession


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (AsyncSession, r"Write: class AppAsyncSession\(AsyncTenantSession\): ..."),
        (AsyncLibrary, r"Write: class AppAsyncSession\(AsyncTenantSession, .*AsyncLibrary\): ..."),
        (TenantSession, r"Write: class AppAsyncSession\(AsyncTenantSession\): ..."),
        (AsyncBackwards, r"Write: class AsyncBackwards\(AsyncTenantSession, .*AsyncLibrary\): ..."),
        (AsyncEngine, "Write: class"),
        (Halfway, r"Write: class AppSession\(.*TenantSession, .*Library\): ... and sync_session_class = AppSession in"),
        (Plainly, r"Write: class AppSession\(.*TenantSession, .*Library\): ... and sync_session_class = AppSession in"),
    ],
)
def test_an_async_class_without_the_checks_of_tenant_sessions_is_refused(
    database: URL, chosen: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AsyncTenancy(database, session_class=chosen, **APPLICATION)


@pytest.mark.parametrize("chosen", [TenantSession, AppSession, Query, "Session", None])
def test_a_shared_session_needs_no_tenant(make_tenancy: Callable[..., Tenancy], database: URL, chosen: Any) -> None:
    with pytest.raises(ConfigurationError, match="shared_session_class="):
        make_tenancy(shared_session_class=chosen)
    with pytest.raises(ConfigurationError, match="shared_session_class="):
        AsyncTenancy(database, shared_session_class=chosen, **APPLICATION)


@pytest.mark.parametrize("name", ["tenant", "any_status", "bind", "binds", "binder", "class_", "sync_session_class"])
def test_options_of_all_sessions_name_no_tenant_and_no_engine(
    make_tenancy: Callable[..., Tenancy], database: URL, name: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"session_options= cannot set {name}"):
        make_tenancy(session_options={name: None})
    with pytest.raises(ConfigurationError, match=f"session_options= cannot set {name}"):
        AsyncTenancy(database, session_options={name: None}, **APPLICATION)


class Strict(TenantSession):
    """Takes one option of its own besides those of `Session`."""

    def __init__(
        self, bind: Any = None, *, audit: bool = False, binder: Any, tenant: Any, any_status: Any = False
    ) -> None:
        super().__init__(bind, binder=binder, tenant=tenant, any_status=any_status)
        self.audit = audit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auto_flush": False}, "session_options= holds 'auto_flush', .*TenantSession does not .* mean 'autoflush'?"),
        ({"misspelt": 1}, "session_options= holds 'misspelt', which .*TenantSession does not take. Give options of"),
        ({"autocommit": True}, "session_options= cannot be used: autocommit=True is no longer supported"),
        ({"future": False}, "session_options= cannot be used: .*may only be set to True"),
    ],
)
def test_unknown_session_options_are_refused_at_once(
    make_tenancy: Callable[..., Tenancy], database: URL, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_tenancy(session_options=options)
    with pytest.raises(ConfigurationError, match=message):
        AsyncTenancy(database, session_options=options, **APPLICATION)


def test_a_class_of_the_application_may_take_other_options(make_tenancy: Callable[..., Tenancy]) -> None:
    with pytest.raises(ConfigurationError, match=r"holds 'library', which .*Strict does not take"):
        make_tenancy(session_class=Strict, session_options={"library": "ours"})
    make_tenancy(session_class=Strict, session_options={"audit": True})
    make_tenancy(session_class=AppSession, session_options={"not_named": 1})
