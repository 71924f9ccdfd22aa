"""Limits of tenants: settings that each of their transactions begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, Tenant
from tenantkit.isolation.tenant_limits import LIMITS
from tests.isolation.contract.application import KEYS
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import DATABASE, LOGIN, ROLE, ROW, SCHEMA, Kind
from tests.support.blocking import in_sync

Deploy = Callable[..., Deployment]
Examples = Mapping[str, tuple[str | int, str]]

EXAMPLES: Examples = {
    "statement_timeout": ("1.5 s", "1500ms"),
    "lock_timeout": (700, "700ms"),
    "transaction_timeout": ("2min", "2min"),
    "idle_in_transaction_session_timeout": ("1h", "1h"),
    "work_mem": ("64 MB", "64MB"),
    "hash_mem_multiplier": ("1.5", "1.5"),
    "max_parallel_workers_per_gather": (1, "1"),
}
"""Each limit with a value, and what PostgreSQL makes of it."""


def shown(session: Session, name: str) -> Any:
    return session.scalar(text(f"SHOW {name}"))


def known(deployment: Deployment) -> Examples:
    """Return the limits that the server has."""
    with deployment.engines["main"].connect() as connection:
        version: Any = connection.dialect.server_version_info
    return {name: each for name, each in EXAMPLES.items() if name != "transaction_timeout" or version >= (17,)}


@pytest.mark.parametrize("driver", ["sync", "asyncio-psycopg", "asyncio-asyncpg"])
@pytest.mark.parametrize("kind", [SCHEMA, ROLE, LOGIN, DATABASE, ROW], ids=lambda kind: kind.name)
def test_each_transaction_of_a_tenant_begins_with_its_limits(deploy: Deploy, kind: Kind, driver: str) -> None:
    examples: dict[str, str | int] = {}

    def limits(tenant: Tenant) -> Mapping[str, str | int]:
        return examples if tenant.key == KEYS[0] else {}

    deployment = deploy(kind, driver=driver, limits=limits)
    expected = {name: found for name, (_, found) in known(deployment).items()}
    examples |= {name: EXAMPLES[name][0] for name in expected}

    def read(session: Session) -> list[dict[str, Any]]:
        found = []
        for _ in range(2):
            found.append({name: shown(session, name) for name in expected})
            for name in expected:
                session.execute(text(f"SET {name} TO DEFAULT"))
            session.commit()
        return found

    assert deployment.work(KEYS[0], read) == [expected] * 2
    [others, again] = deployment.work(KEYS[1], read)
    assert others == again
    assert not any(others[name] == found for name, found in expected.items())
    for plain in deployment.plain_sessions():
        with plain as session:
            assert in_sync(session, lambda session: {name: shown(session, name) for name in expected}) == others


def test_a_statement_that_takes_too_long_is_ended(deploy: Deploy) -> None:
    deployment = deploy(LOGIN, limits={"statement_timeout": "50ms"})
    with pytest.raises(DBAPIError, match="statement timeout"):
        deployment.work(KEYS[0], lambda session: session.execute(text("SELECT pg_sleep(10)")))


def test_sql_of_the_tenant_can_change_its_limits(deploy: Deploy) -> None:
    deployment = deploy(LOGIN, limits={"statement_timeout": "50ms"})

    def work(session: Session) -> None:
        session.execute(text("SET LOCAL statement_timeout TO 0"))
        session.execute(text("SELECT pg_sleep(0.1)"))

    deployment.work(KEYS[0], work)


def test_a_callers_connection_has_its_own_limits_again(deploy: Deploy) -> None:
    deployment = deploy(ROLE, limits=lambda tenant: {"work_mem": "64MB" if tenant.key == KEYS[0] else "65MB"})
    application = deployment.application
    with application.engine.connect() as connection:
        connection.execute(text("SET LOCAL work_mem TO '66MB'"))
        with (
            application.session(KEYS[0], bind=connection) as first,
            application.session(KEYS[1], bind=connection) as second,
        ):
            for _ in range(2):
                assert [shown(session, "work_mem") for session in (first, second)] == ["64MB", "65MB"]
        assert connection.scalar(text("SHOW work_mem")) == "66MB"


def test_limits_without_sense_are_refused(deploy: Deploy) -> None:
    deployment = deploy(SCHEMA)
    assert EXAMPLES.keys() == {*LIMITS}
    for limits in ({"role": "postgres"}, {"search_path": "t_globex"}, {"STATEMENT_TIMEOUT": "1s"}, {3: "1s"}):
        with pytest.raises(ConfigurationError, match="which is none"):
            SCHEMA.make(deployment.urls, limits=limits)
    for value in ("", "1s'; RESET ROLE", "-1", "1 year", "s", True, 1.5, None, "1s\n", "١"):
        with pytest.raises(ConfigurationError, match="Give a number"):
            SCHEMA.make(deployment.urls, limits={"work_mem": value})
    for wrong in ("1s", 3, [("work_mem", "1MB")]):
        with pytest.raises(TypeError, match="limits="):
            SCHEMA.make(deployment.urls, limits=wrong)


def test_a_function_whose_limits_make_no_sense_serves_nobody(deploy: Deploy) -> None:
    deployment = deploy(SCHEMA)
    for limits, error in (({"role": "postgres"}, ConfigurationError), (None, TypeError)):
        with (
            closing(SCHEMA.make(deployment.urls, limits=lambda _, limits=limits: limits)) as tenancy,
            pytest.raises(error, match="limits="),
            tenancy.session(KEYS[0]),
        ):
            pass
