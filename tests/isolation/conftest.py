"""Deployments of the contract's application."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, insert, text

from tenantkit import Tenancy, migrations
from tenantkit.registry.identity import read_identity
from tests.isolation.contract.application import Plan, environment_in, seed
from tests.isolation.contract.case import Case, violations
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import GROUP, Kind, Urls
from tests.support.blocking import blocking
from tests.support.copies import Databases
from tests.support.pgbouncer import driver_arguments, pgbouncer

POOL = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 60}

_GROUP = f"""
DO $$ BEGIN
    CREATE ROLE {GROUP};
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""


@dataclass(frozen=True)
class Roles:
    """The roles of a deployment, neither of which is a superuser."""

    owner: str
    """Creates and migrates tenants, and owns all tables."""
    application: str
    """Has sessions, and owns nothing."""


@pytest.fixture(scope="session")
def roles(databases: Databases) -> Roles:
    """The roles of all deployments."""
    made = Roles(databases.make_role(), databases.make_role(options="NOINHERIT"))
    databases.let_provision(made.owner)
    return made


@pytest.fixture(scope="session")
def contract_template(
    make_template: Callable[..., URL], roles: Roles, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Kind], Urls]:
    """Return the databases of an isolation, with its tenants, to be copied."""
    made: dict[str, Urls] = {}

    def template(kind: Kind) -> Urls:
        if kind.name not in made:
            urls = {name: make_template() for name in kind.databases}
            environment = environment_in(tmp_path_factory.mktemp("contract") / "migrations")
            for url in urls.values():
                prepare(url, roles, is_copy=False)
            with closing(
                kind.make(as_role(urls, roles.owner), migrations=environment.folder, grant_to=roles.application)
            ) as operator:
                fill(kind, operator, roles)
            made[kind.name] = urls
        return made[kind.name]

    return template


def as_role(urls: Urls, role: str) -> Urls:
    """Return the URLs with another login."""
    return {name: url.set(username=role) for name, url in urls.items()}


def prepare(url: URL, roles: Roles, *, is_copy: bool) -> None:
    """Let the owner create schemas in a database, and a copy belong to the copy of its registry."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(_GROUP))
        connection.execute(text(f"GRANT {GROUP} TO {roles.owner} WITH ADMIN OPTION"))
        connection.execute(text(f"ALTER ROLE {roles.owner} CREATEROLE"))
        connection.execute(text(f"GRANT CREATE ON DATABASE {url.database} TO {roles.owner}"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))  # as from PostgreSQL 15 on
        if is_copy:
            connection.execute(text("COMMENT ON SCHEMA tenantkit IS NULL"))
    engine.dispose()


_OWN = "SELECT id, split_part(database, '/', 2) AS name FROM tenantkit.tenants WHERE isolation = 'database'"


def copy_databases_of_tenants(main: URL, roles: Roles, make_database: Callable[..., URL]) -> dict[str, URL]:
    """Copy the databases of single tenants, too, and let the copies belong to the copy of the registry in *main*.

    Return the copies by their keys.
    """
    copies: dict[str, URL] = {}
    engine = create_engine(main, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for row in connection.execute(text(_OWN)).all():
            copied = make_database(row.name)
            copies[f"main/{copied.database}"] = copied
            registry = read_identity(connection)
            for statement in (
                f"UPDATE tenantkit.tenants SET database = 'main/{copied.database}' WHERE id = {row.id}",
                f"COMMENT ON DATABASE {copied.database} IS 'tenantkit tenant {row.id} of registry {registry}'",
                f"ALTER DATABASE {copied.database} OWNER TO {roles.owner}",
                f"REVOKE CONNECT, TEMPORARY ON DATABASE {copied.database} FROM PUBLIC",
                f"GRANT CONNECT, TEMPORARY ON DATABASE {copied.database} TO {roles.application}",
            ):
                connection.execute(text(statement))
            prepare(copied, roles, is_copy=True)
    engine.dispose()
    return copies


def fill(kind: Kind, operator: Tenancy, roles: Roles) -> None:
    """Create the shared tables and the tenants."""
    migrations.migrate(operator)
    with operator.engine.begin() as connection:
        connection.execute(insert(Plan).values(name="free"))
        for role in (roles.application, GROUP):
            connection.execute(text(f"GRANT USAGE ON SCHEMA shared TO {role}"))
            connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA shared TO {role}"))
    for key, options in kind.tenants.items():
        operator.create(key, seed=seed, **options)


@pytest.fixture
def deploy_each(
    request: pytest.FixtureRequest,
    make_database: Callable[..., URL],
    contract_template: Callable[[Kind], Urls],
    roles: Roles,
    tmp_path: Path,
) -> Generator[Callable[..., dict[str, Deployment]]]:
    """Deploy the application in an isolation, once, and reach it by several drivers."""
    numbers = count(1)
    with ExitStack() as opened:

        def deploy_each(
            kind: Kind, drivers: Iterable[str], *, way: str = "direct", **options: Any
        ) -> dict[str, Deployment]:
            urls = {name: make_database(url.database or "") for name, url in contract_template(kind).items()}
            for name, url in urls.items():
                prepare(url, roles, is_copy=name != kind.databases[0])
            own = copy_databases_of_tenants(urls["main"], roles, make_database)
            environment = environment_in(tmp_path / f"migrations{next(numbers)}")
            owners, direct = as_role(urls, roles.owner), as_role(urls, roles.application)
            reached = direct
            if way == "pgbouncer":
                pooler = opened.enter_context(
                    pgbouncer(direct["main"], superuser=urls["main"] if kind.has_logins else None)
                )
                reached = {name: pooler.set(database=url.database) for name, url in direct.items()}
            operator = kind.make(owners, migrations=environment.folder, grant_to=roles.application)
            opened.enter_context(closing(operator))
            operator.repair()  # the roles of tenants are not copied
            engines = {name: create_engine(url) for name, url in {**urls, **own}.items()}
            for engine in engines.values():
                opened.callback(engine.dispose)

            def reach(driver: str) -> Any:
                arguments = driver_arguments(driver.removeprefix("asyncio-")) if way == "pgbouncer" else {}
                own_options = {"engine_options": {**POOL, "connect_args": arguments}, **options}
                if driver == "sync":
                    return opened.enter_context(closing(kind.make(reached, **own_options)))
                named = {
                    name: url.set(drivername=driver.replace("asyncio-", "postgresql+")) for name, url in reached.items()
                }
                made = kind.make_async(named, direct, **own_options)
                return opened.enter_context(blocking(made, request.getfixturevalue("portal")))

            return {
                driver: Deployment(
                    kind=kind,
                    urls=owners,
                    role=roles.application,
                    environment=environment,
                    operator=operator,
                    application=reach(driver),
                    engines=engines,
                )
                for driver in drivers
            }

        yield deploy_each


@pytest.fixture
def deploy(deploy_each: Callable[..., dict[str, Deployment]]) -> Callable[..., Deployment]:
    """Deploy the application in an isolation."""

    def deploy(kind: Kind, *, driver: str = "sync", **options: Any) -> Deployment:
        return deploy_each(kind, [driver], **options)[driver]

    return deploy


@pytest.fixture
def examine(deploy: Callable[..., Deployment]) -> Callable[..., dict[str, bool | str]]:
    """Return what was found of cases in which an isolation is not as it is declared, in new deployments."""

    def examine(kind: Kind, cases: Iterable[Case], **options: Any) -> dict[str, bool | str]:
        alone = [[case] for case in cases if case.is_alone]
        together = [case for case in cases if not case.is_alone]
        found: dict[str, bool | str] = {}
        for each in (*alone, together):
            if each:
                found |= violations(deploy(kind, **options), each)
        return found

    return examine
