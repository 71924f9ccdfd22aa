"""Databases of the tracker: created once, copied for every test."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

import pytest
from sqlalchemy import URL, create_engine, select, text

from examples.settings import Settings
from examples.start import let_use_shared
from examples.tracker import boards
from examples.tracker.accounts import SignUp, add_member, find_user, sign_up
from examples.tracker.app import make_tenancy
from examples.tracker.models import Member, Project
from examples.tracker.reference import load_reference_data
from tenantkit import Tenancy
from tenantkit.migrations import migrate
from tests.support.copies import Databases

PASSWORD = "correct horse battery"
OWNERS = {
    "acme": "ada@acme.example",
    "beta": "bob@beta.example",
    "gamma": "eve@gamma.example",
    "delta": "dan@delta.example",
}
"""The owners of the tenants of `peopled_url`. Ada is a member of beta, too."""


def secret_of(tenant_key: str) -> str:
    """Return the title of a task that only the members of this tenant may see."""
    return f"Secret plan of {tenant_key}"


@pytest.fixture(scope="session")
def tracker_template(make_template: Callable[..., URL]) -> str:
    """The name of a database with the tracker's shared tables and reference data, and no tenants."""
    url = make_template()
    with closing(make_tenancy(url, listen=False)) as tenancy:
        migrate(tenancy)
        with tenancy.shared_session() as session:
            load_reference_data(session)
            session.commit()
    assert url.database
    return url.database


@pytest.fixture
def tracker_url(make_database: Callable[..., URL], tracker_template: str) -> URL:
    return make_database(tracker_template)


@pytest.fixture
def tenancy(tracker_url: URL) -> Generator[Tenancy]:
    with closing(make_tenancy(tracker_url, listen=False)) as tenancy:
        yield tenancy


@pytest.fixture(scope="session")
def logins(databases: Databases) -> tuple[str, str]:
    """The roles of the owner of all tables, and of an application with tenants in common tables."""
    owner, application = databases.make_role(), databases.make_role(options="NOINHERIT")
    databases.let_provision(owner)
    return owner, application


@pytest.fixture
def isolation(request: pytest.FixtureRequest) -> str:
    """The isolation of the tenants of `OWNERS`."""
    return str(getattr(request, "param", "schema"))


@pytest.fixture(scope="session")
def peopled_template(
    make_template: Callable[..., URL], tracker_template: str, logins: tuple[str, str]
) -> Callable[[str], str]:
    """Return the name of a database with four tenants, each with its owner and its secret."""
    made: dict[str, str] = {}

    def template(isolation: str) -> str:
        if isolation not in made:
            url = make_template(tracker_template)
            own_them(url, logins[0])
            _fill(*make_logins(url, logins, isolation), isolation=isolation)
            made[isolation] = url.database or ""
        return made[isolation]

    return template


def own_them(url: URL, owner: str) -> None:
    """Let *owner* create schemas, and own what there is."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        tables = connection.execute(text("SELECT * FROM pg_tables WHERE schemaname IN ('shared', 'tenantkit')"))
        for statement in (
            f"ALTER DATABASE {url.database} OWNER TO {owner}",
            *(f"ALTER SCHEMA {schema} OWNER TO {owner}" for schema in ("shared", "tenantkit")),
            *(f"ALTER TABLE {row.schemaname}.{row.tablename} OWNER TO {owner}" for row in tables),
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()


def make_logins(url: URL, logins: tuple[str, str], isolation: str) -> tuple[URL, URL]:
    """Return the URLs of the owner and of the application."""
    owner, application = logins
    return (url.set(username=owner), url.set(username=application)) if isolation == "row" else (url, url)


def make_operator(owner: URL, application: URL, isolation: str) -> Tenancy:
    """Return a tenancy that creates tenants."""
    grant_to = () if owner == application else application.username
    return make_tenancy(owner, listen=False, isolation=isolation, grant_to=grant_to)


def _fill(owner: URL, application: URL, *, isolation: str) -> None:
    with (
        closing(make_operator(owner, application, isolation)) as operator,
        closing(make_tenancy(application, listen=False)) as tenancy,
    ):
        operator.install()
        let_use_shared(operator)
        for key, email in OWNERS.items():
            name = email.partition("@")[0].capitalize()
            form = SignUp(email=email, name=name, password=PASSWORD, tenant_key=key, tenant_name=key.capitalize())
            with tenancy.session(sign_up(operator, form).key) as session:
                project, owner_of_it = session.scalars(select(Project)).one(), session.scalars(select(Member)).one()
                boards.create_task(session, project, title=secret_of(key), reporter=owner_of_it)
                session.commit()
        with tenancy.session("beta") as session:
            ada = find_user(session, OWNERS["acme"])
            assert ada is not None
            add_member(session, ada)
            session.commit()


@pytest.fixture
def peopled(
    make_database: Callable[..., URL],
    peopled_template: Callable[[str], str],
    logins: tuple[str, str],
    isolation: str,
) -> tuple[URL, URL]:
    """A database with the tenants of `OWNERS`, as its owner and the application reach it."""
    url = make_database(peopled_template(isolation))
    if isolation == "row":
        own_them(url, logins[0])
    return make_logins(url, logins, isolation)


@pytest.fixture
def peopled_url(peopled: tuple[URL, URL]) -> URL:
    """The same, as the application reaches it."""
    return peopled[1]


@pytest.fixture
def operator(peopled: tuple[URL, URL], isolation: str) -> Generator[Tenancy]:
    """The tenancy that creates tenants."""
    owner, application = peopled
    with closing(make_operator(owner, application, isolation)) as operator:
        yield operator


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(secret_key="a key for tests")
