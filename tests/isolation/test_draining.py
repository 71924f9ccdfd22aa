"""Transactions in flight of one tenant, in every isolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tenantkit import DrainError, Status
from tenantkit.lifecycle import Drained, drain
from tests.isolation.contract.application import KEYS
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import DATABASE, LOGIN, ROW, SECOND_DATABASE, Kind
from tests.isolation.contract.visibility import ADD

ACME, GLOBEX = KEYS


def write(session: Any) -> int:
    ADD(session, "in flight")
    return session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()


@pytest.mark.parametrize("kind", [DATABASE, ROW, SECOND_DATABASE, LOGIN], ids=lambda kind: kind.name)
def test_a_tenants_own_transactions_are_cut_off_and_others_named(deploy: Callable[..., Deployment], kind: Kind) -> None:
    """The operator's login may end connections of the application, and not of a superuser."""
    deployment = deploy(kind)
    operator, application = deployment.operator, deployment.application
    place, in_common = operator.get(ACME).placement, kind is ROW
    with (
        application.session(ACME) as ours,
        application.session(GLOBEX) as neighbours,
        deployment.engines[place.database].connect() as superuser,
    ):
        pid, neighbour = write(ours), write(neighbours)
        superuser.exec_driver_sql(f'SELECT FROM "{place.schema}".task')
        admin = superuser.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        operator.suspend(ACME)
        reason = "common tables" if in_common else "GRANT pg_signal_backend"
        with pytest.raises(DrainError, match=reason) as still:
            drain(operator, ACME, 0)
        running = [admin, *([pid, neighbour] if in_common else [])]
        assert (still.value.running, still.value.ended) == (tuple(sorted(running)), () if in_common else (pid,))
        assert operator.get(ACME).status is Status.SUSPENDED
        neighbours.commit()
        superuser.rollback()
        if in_common:
            ours.commit()
        else:
            with pytest.raises(DBAPIError):
                ours.execute(text("SELECT FROM task"))
    assert drain(operator, ACME, 0) == Drained(operator.get(ACME), 0, ())
