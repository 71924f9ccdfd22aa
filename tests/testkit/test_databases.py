"""The tenancy's way to the databases of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, create_engine, select, text
from sqlalchemy.exc import DBAPIError

from tenantkit import ConfigurationError, Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.drivers.psycopg import Connection
from tenantkit.migrations import status
from tenantkit.testing import assert_isolated, rolled_back
from tenantkit.testing.template import Databases
from tests.migrations.environments import Environment
from tests.support.models import APPLICATION, Project

PRODUCTION = "postgresql+psycopg://nobody:secret@127.0.0.1:1/production"


def two(tenancy: Tenancy) -> None:
    for key in ("acme", "globex"):
        tenancy.create(key)
        assert tenancy.get(key).key == key  # the first look-up starts the listener


@pytest.fixture
def make_databases(server_url: URL) -> Generator[Callable[..., Databases]]:
    made: list[Any] = []

    def make(tenancy: Tenancy | AsyncTenancy) -> Databases:
        made.append(Databases(tenancy, server_url, two))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_applications_own_connection_arguments_are_kept_but_for_its_place(
    make_databases: Callable[..., Databases],
) -> None:
    options = {"sslmode": "require", "application_name": "shop", "sslrootcert": "/nowhere"}
    url = f"{PRODUCTION}?options=-c%20work_mem%3D8MB"
    with closing(Tenancy(url, engine_options={"connect_args": options}, **APPLICATION)) as tenancy:
        databases = make_databases(tenancy)
        with tenancy.engine.connect() as connection:
            shown = connection.exec_driver_sql(
                "SELECT current_setting('application_name'), current_setting('work_mem')"
            )
            assert tuple(shown.one()) == ("shop", "4MB")
        with databases.copy() as copy:
            assert tenancy.engine.url.database == copy.database  # which worker processes connect to


def test_a_connection_to_another_place_is_refused(
    make_databases: Callable[..., Databases], empty_database: URL
) -> None:
    plain = empty_database.set(drivername="postgresql").render_as_string(hide_password=False)
    engine = create_engine("postgresql+psycopg://", creator=lambda: Connection.connect(plain))
    refused = pytest.raises(ConfigurationError, match="instead of the tests' database. Leave out creator=")
    with closing(Tenancy(engine, listen=False, **APPLICATION)) as tenancy, refused:
        make_databases(tenancy)
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT FROM pg_namespace WHERE nspname = 'tenantkit'").fetchall() == []


@pytest.mark.parametrize("guard", [{"guard": "role"}, {"guard": "login", "guard_secret": "k" * 32}], ids=str)
def test_tenants_have_their_roles_in_each_copy(server_url: URL, guard: dict[str, Any]) -> None:
    roles = "SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenantkit_'"
    plain = server_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as server:
        before = server.execute(roles).fetchone()
    with (
        closing(Tenancy(PRODUCTION, **guard, **APPLICATION)) as tenancy,
        closing(Databases(tenancy, server_url, two)) as databases,
    ):
        found = []
        with databases.copy():
            for key in ("acme", "globex"):
                with tenancy.session(key) as session:
                    session.add(Project(name=key))
                    session.commit()
                    found.append(session.scalar(text("SELECT current_user")))
        with rolled_back(tenancy, "acme") as session:
            session.add(Project(name="x"))
            session.commit()
            found.append(session.scalar(text("SELECT current_user")))
        assert len(set(found)) == 3
    with psycopg.connect(plain) as server:
        assert server.execute(roles).fetchone() == before


def test_the_template_is_made_by_the_migrations(
    make_databases: Callable[..., Databases], environment: Environment
) -> None:
    environment.add("s1", 'op.execute("CREATE TABLE shared.country (code text)")', line="shared")
    environment.add("t1", 'op.create_table("note", sa.Column("id", sa.Integer), schema="tenant")')
    with closing(Tenancy(PRODUCTION, migrations=environment.folder, **APPLICATION)) as tenancy:
        make_databases(tenancy)
        assert status(tenancy).is_current
        with rolled_back(tenancy, "acme") as session:
            assert session.connection().exec_driver_sql("SELECT count(*) FROM note").scalar() == 0


def test_a_session_is_rolled_back_also_after_an_error(make_databases: Callable[..., Databases]) -> None:
    with closing(Tenancy(PRODUCTION, listen=False, **APPLICATION)) as tenancy:
        make_databases(tenancy)
        with pytest.raises(ZeroDivisionError), rolled_back(tenancy, "acme") as session:
            session.add(Project(name="one"))
            session.commit()
            raise ZeroDivisionError
        with pytest.raises(DBAPIError, match="division by zero"), rolled_back(tenancy, "acme") as session:
            session.add(Project(name="one"))
            session.commit()
            session.connection().exec_driver_sql("SELECT 1 / 0")
        with rolled_back(tenancy, "acme") as session:
            assert session.query(Project).count() == 0


def test_each_of_several_databases_is_a_copy(make_databases: Callable[..., Databases]) -> None:
    urls = {"main": PRODUCTION, "eu": f"{PRODUCTION}_eu"}
    place = {"acme": "main", "globex": "eu"}
    with closing(Tenancy(urls, placement=lambda tenant, _: place[tenant.key], listen=False, **APPLICATION)) as tenancy:
        databases = make_databases(tenancy)
        for key in place:
            with rolled_back(tenancy, key) as session:
                session.add(Project(name="one"))
                session.commit()
            with pytest.raises(DBAPIError, match="read-only"), tenancy.session(key) as session:
                session.add(Project(name="one"))
                session.commit()
        with databases.copy():
            assert assert_isolated(tenancy).proven == {"Project", "Task"}
        for key in place:
            with tenancy.session(key) as session:
                assert session.query(Project).count() == 0


def test_copies_of_several_databases_belong_together(make_databases: Callable[..., Databases]) -> None:
    """A copy of the registry is another registry, which the async engines see first."""
    urls = {"main": PRODUCTION, "eu": f"{PRODUCTION}_eu"}
    place = {"acme": "main", "globex": "eu"}

    tenancy = AsyncTenancy(urls, placement=lambda tenant, _: place[tenant.key], listen=False, **APPLICATION)
    make_databases(tenancy)

    async def read() -> None:
        try:
            for key in place:
                async with tenancy.session(key) as session:
                    assert (await session.scalars(select(Project))).all() == []
        finally:
            await tenancy.close()

    asyncio.run(read())
