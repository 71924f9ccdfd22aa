"""A tenant that is read-only is read by every way, and written by none, in every isolation and by every driver."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from asyncpg import PostgresError
from psycopg import Error as PsycopgError
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import TenantReadOnlyError
from tenantkit.postgres.errors import sqlstate
from tests.isolation.contract import driver
from tests.isolation.contract.application import KEYS, Task
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import KINDS, Kind
from tests.isolation.contract.line import COPY_IN, CURSOR, Line
from tests.isolation.contract.reads import READS, Read
from tests.isolation.contract.visibility import ADD
from tests.isolation.contract.writes import WRITES, Write
from tests.support.blocking import in_sync

DRIVERS = ("sync", "asyncio-psycopg", "asyncio-asyncpg")
UNCOVERING = (
    "SET TRANSACTION READ WRITE",
    "SET LOCAL transaction_read_only = off",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "BEGIN READ WRITE",
)
"""Statements that would let a transaction write, also as its first ones."""
DRIVERS_OWN = dict.fromkeys((CURSOR, COPY_IN), "25006")
"""The ways to write whose errors are the driver's own."""
MESSAGE = "Moving <soon>"
LOCKING = frozenset({"for update", "update returning"})
"""Ways to read that lock or change rows."""
ACME, GLOBEX = KEYS


def refused(deployment: Deployment, work: Callable[[Session], Any]) -> str:
    """Return what refuses *work* in a session of a tenant that is read-only: a message, or a SQLSTATE."""
    try:
        deployment.work(ACME, work)
    except TenantReadOnlyError as error:
        return str(error.message)
    except (DBAPIError, PsycopgError, PostgresError) as error:
        return str(sqlstate(error))
    return "nothing"


def uncovered(deployment: Deployment, statement: str, by: Callable[[Session, str], Any]) -> str:
    def work(session: Session) -> None:
        by(session, statement)
        ADD(session, "uncovered")

    return refused(deployment, work)


def find(session: Session) -> list[str]:
    return [*session.scalars(select(Task.title))]


def writes(kind: Kind) -> dict[str, tuple[Line, Write]]:
    return {way: (line, write) for way, (line, write) in WRITES.items() if line not in kind.lacks}


def reads(kind: Kind) -> dict[str, Read]:
    return {way: read for way, (line, read) in READS.items() if line not in kind.lacks and way not in LOCKING}


def by_text(session: Session, statement: str) -> None:
    session.execute(text(statement))


@pytest.mark.all_cases
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_read_only_tenant_is_read_and_not_written(
    deploy_each: Callable[..., dict[str, Deployment]], kind: Kind
) -> None:
    deployments = deploy_each(kind, DRIVERS, cache_ttl=0)
    operator = deployments["sync"].operator
    for deployment in deployments.values():
        deployment.clear()
        with deployment.application.session(ACME) as kept:
            in_sync(kept, find)
            operator.suspend(ACME, message=MESSAGE, read_only=True)
            kept.rollback()
            with pytest.raises(TenantReadOnlyError):
                in_sync(kept, lambda session: ADD(session, "kept"))
            kept.rollback()
            assert in_sync(kept, find) == []
        found = {
            way: refused(deployment, lambda session, write=write, way=way: write(session, way))
            for way, (_, write) in writes(kind).items()
        }
        assert found == {way: DRIVERS_OWN.get(line, MESSAGE) for way, (line, _) in writes(kind).items()}
        for statement, by in product(UNCOVERING, (by_text, driver.execute)):
            assert (statement, uncovered(deployment, statement, by)) != (statement, "nothing")
        deployment.work(ACME, lambda session: ADD(session, "operator"), any_status=True)
        seen = {
            way: deployment.work(ACME, lambda session, read=read: {*read(session)}) for way, read in reads(kind).items()
        }
        assert seen == {way: {"operator"} for way, _ in reads(kind).items()}
        deployment.work(GLOBEX, lambda session: ADD(session, "neighbour"))
        operator.resume(ACME)
        deployment.work(ACME, lambda session: session.execute(text("DELETE FROM task")))
    assert operator.get(ACME).message is None
