"""Guard ``role``: each transaction works as its tenant's own role."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from tests.isolation.contract.application import KEYS
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import ROLE

Deploy = Callable[..., Deployment]
DRIVERS = ["sync", "asyncio-psycopg", "asyncio-asyncpg"]
WHO = text("SELECT current_user")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_session_works_as_the_role_of_its_tenant(deploy: Deploy, driver: str) -> None:
    deployment = deploy(ROLE, driver=driver)
    found = {key: deployment.work(key, lambda session: session.scalar(WHO)) for key in KEYS}
    print(found)
    assert len({*found.values()}) == 2
