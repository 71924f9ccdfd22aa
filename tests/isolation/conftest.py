"""Deployments of the contract's application."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, insert, text

from tenantkit import Tenancy, migrations
from tests.isolation.contract.application import KEYS, Plan, environment_in, seed
from tests.isolation.contract.case import Case, violations
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import Kind, Urls
from tests.support.blocking import blocking
from tests.support.copies import Databases
from tests.support.pgbouncer import driver_arguments, pgbouncer

POOL = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 60}


@pytest.fixture(scope="session")
def application_role(databases: Databases) -> str:
    """The role that the application connects as: it owns nothing."""
    return databases.make_role()


@pytest.fixture(scope="session")
def contract_template(
    make_template: Callable[..., URL], application_role: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Kind], Urls]:
    """Return the databases of an isolation, with its tenants, to be copied."""
    made: dict[str, Urls] = {}

    def template(kind: Kind) -> Urls:
        if kind.name not in made:
            urls = {name: make_template() for name in kind.databases}
            environment = environment_in(tmp_path_factory.mktemp("contract") / "migrations")
            with closing(kind.make(urls, migrations=environment.folder, grant_to=application_role)) as operator:
                fill(kind, operator, application_role)
            made[kind.name] = urls
        return made[kind.name]

    return template


def fill(kind: Kind, operator: Tenancy, role: str) -> None:
    """Create the shared tables and the tenants."""
    migrations.migrate(operator)
    with operator.engine.begin() as connection:
        connection.execute(insert(Plan).values(name="free"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA shared TO {role}"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA shared TO {role}"))
    for key in KEYS:
        operator.create(key, seed=seed, **kind.tenants[key])


def accept_copy(url: URL) -> None:
    """Let a copy of a database belong to the copy of its registry."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("COMMENT ON SCHEMA tenantkit IS NULL"))
    engine.dispose()


@pytest.fixture
def deploy(
    request: pytest.FixtureRequest,
    make_database: Callable[..., URL],
    contract_template: Callable[[Kind], Urls],
    application_role: str,
    tmp_path: Path,
) -> Generator[Callable[..., Deployment]]:
    """Deploy the application in an isolation."""
    numbers = count(1)
    with ExitStack() as opened:

        def deploy(kind: Kind, *, driver: str = "sync", way: str = "direct", **options: Any) -> Deployment:
            urls = {name: make_database(url.database or "") for name, url in contract_template(kind).items()}
            for name in kind.databases[1:]:
                accept_copy(urls[name])
            environment = environment_in(tmp_path / f"migrations{next(numbers)}")
            own = {name: url.set(username=application_role) for name, url in urls.items()}
            reached, arguments = own, {}
            if way == "pgbouncer":
                arguments = driver_arguments(driver.removeprefix("asyncio-"))
                pooler = opened.enter_context(pgbouncer(own["main"]))
                reached = {name: pooler.set(database=url.database) for name, url in own.items()}
            operator = kind.make(urls, migrations=environment.folder, grant_to=application_role)
            opened.enter_context(closing(operator))
            options = {"engine_options": {**POOL, "connect_args": arguments}, **options}
            if driver == "sync":
                application: Any = opened.enter_context(closing(kind.make(reached, **options)))
            else:
                named = {
                    name: url.set(drivername=driver.replace("asyncio-", "postgresql+")) for name, url in reached.items()
                }
                made = kind.make_async(named, own, **options)
                application = opened.enter_context(blocking(made, request.getfixturevalue("portal")))
            return Deployment(
                kind=kind,
                urls=urls,
                role=application_role,
                environment=environment,
                operator=operator,
                application=application,
            )

        yield deploy


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
