"""A tenancy whose login is an ordinary role that owns the tenants' tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import URL, create_engine, select, text

from tenantkit import Tenancy
from tests.migrations.environments import Environment
from tests.support.copies import Databases
from tests.support.models import Project, Task


@pytest.fixture(scope="session")
def owner(databases: Databases) -> str:
    """The role, which may create schemas and databases."""
    role = databases.make_role()
    databases.let_provision(role)
    return role


@pytest.fixture
def owned(database: URL, owner: str) -> URL:
    """The database of the small application, by the login of the owner."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text(f"GRANT CREATE ON DATABASE {database.database} TO {owner}"))
        for schema in ("tenantkit", "shared"):
            connection.execute(text(f"GRANT ALL ON SCHEMA {schema} TO {owner}"))
            connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {owner}"))
    engine.dispose()
    return database.set(username=owner)


@pytest.fixture
def make_owned(make_tenancy: Callable[..., Tenancy], owned: URL, environment: Environment) -> Callable[[str], Tenancy]:
    """Make a tenancy whose tenants have what a text of SQL creates."""

    def make(sql: str) -> Tenancy:
        environment.add("t1", f"op.execute({sql!r})")
        return make_tenancy(database=owned, migrations=environment.folder)

    return make


@pytest.fixture
def fill() -> Callable[..., None]:
    """Give a tenant of the small application projects with these names, each with a task."""

    def fill(tenancy: Tenancy, key: str, *names: str) -> None:
        with tenancy.session(key) as session:
            session.add_all(Project(name=name, tasks=[Task(title=f"of {name}")]) for name in names)
            session.commit()

    return fill


@pytest.fixture
def read() -> Callable[[Tenancy, str], list[tuple[int, str, list[str]]]]:
    """Return the projects of a tenant, with the titles of their tasks."""

    def read(tenancy: Tenancy, key: str) -> list[tuple[int, str, list[str]]]:
        with tenancy.session(key, any_status=True) as session:
            projects = session.scalars(select(Project).order_by(Project.id))
            return [(each.id, each.name, [task.title for task in each.tasks]) for each in projects]

    return read
