"""Guard ``login``: connections of a tenant's sessions log in as the tenant's own role."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tenantkit.isolation.roles import role_of
from tests.isolation.contract.application import KEYS
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import DATABASE_LOGIN, LOGIN, Kind

Deploy = Callable[..., Deployment]

WHO = text("SELECT session_user || ' as ' || current_user")

for_each_driver = pytest.mark.parametrize("driver", ["sync", "asyncio-psycopg", "asyncio-asyncpg"])


@for_each_driver
@pytest.mark.parametrize("kind", [LOGIN, DATABASE_LOGIN], ids=lambda kind: kind.name)
def test_connections_of_a_session_log_in_as_the_role_of_its_tenant(deploy: Deploy, kind: Kind, driver: str) -> None:
    deployment = deploy(kind, driver=driver)

    def work(session: Session) -> set[str]:
        found = {session.scalar(WHO)}
        session.execute(text("RESET ROLE"))
        found.add(session.scalar(WHO))
        session.commit()
        return {*found, session.scalar(WHO)}

    for key in KEYS:
        role = role_of(deployment.operator.get(key))
        assert deployment.work(key, work) == {f"{role} as {role}"}
