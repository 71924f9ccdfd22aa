"""A process may be killed at any statement: the next creation, removal or repair completes what it has left."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ProvisioningError, Tenancy, TenantNotFoundError
from tenantkit.isolation.database import catalog
from tests.isolation.database.conftest import Make
from tests.isolation.two_databases import Note

KILLED = 77


def _killed(work: Callable[[], object], number: int, *, after: bool) -> bool:
    """Do *work* in a process that is killed at a statement about databases; return whether it was reached."""
    if (child := os.fork()) == 0:
        execute, left = catalog.execute, iter(range(number, -1, -1))

        def execute_or_die(connection: Any, statement: str) -> None:
            is_last = next(left) == 0
            if not (is_last and not after):
                execute(connection, statement)
            if is_last:
                os._exit(KILLED)

        catalog.execute = execute_or_die
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def _wait_for_finding(tenancy: Tenancy) -> None:
    """Wait until the server has noticed that the process has died, and the doctor finds what it left."""
    end = monotonic() + 10
    while [finding.subject for finding in tenancy.diagnose()] != ["acme"]:
        assert monotonic() < end


def _seed(session: Any) -> None:
    session.add(Note(text=session.tenant.key))


def _names(server: Engine, tenancy: Tenancy) -> list[str]:
    """Return the databases of tenants, finished or not."""
    query = text("SELECT datname FROM pg_database WHERE datname ^@ :begin OR datname ~ :unfinished ORDER BY 1")
    main = str(tenancy.engine.url.database)
    registry = tenancy.get("near").registry
    with server.connect() as connection:
        found = connection.scalars(query, {"begin": f"{main}_", "unfinished": f"^tenantkit_{registry}_[0-9]+$"})
        return [name.removeprefix(f"{main}_") for name in found]


@pytest.fixture
def plain(make: Make) -> Tenancy:
    """A tenancy whose tables are made from the models, with a tenant in a schema."""
    tenancy = make()
    tenancy.create("near", isolation="schema")
    return tenancy


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_creation_that_was_killed_is_completed_or_removed(plain: Tenancy, server: Engine, after: bool) -> None:
    number = 0
    endings = (
        lambda: plain.create("acme", seed=_seed),
        plain.repair,
        lambda: plain.drop("acme"),
    )
    while _killed(lambda: plain.create("acme", seed=_seed), number, after=after):
        _wait_for_finding(plain)
        endings[number % 3]()
        assert plain.diagnose() == []
        if number % 3 == 0:
            with plain.session("acme") as session:
                assert session.scalars(text("SELECT text FROM note")).all() == ["acme"]
            plain.drop("acme")
        assert _names(server, plain) == []
        number += 1
    assert number >= 5
    plain.drop("acme")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_removal_that_was_killed_is_completed(plain: Tenancy, server: Engine, after: bool) -> None:
    number = 0
    plain.create("acme")
    while _killed(lambda: plain.drop("acme"), number, after=after):
        _wait_for_finding(plain)
        (plain.repair if number % 2 else lambda: plain.drop("acme"))()
        assert (plain.diagnose(), _names(server, plain)) == ([], [])
        with pytest.raises(TenantNotFoundError):
            plain.get("acme")
        plain.create("acme")
        number += 1
    assert number == 2


def test_a_database_that_is_not_the_tenants_is_neither_taken_nor_dropped(plain: Tenancy, server: Engine) -> None:
    name = f"{plain.engine.url.database}_acme"
    with server.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    with pytest.raises(ProvisioningError, match=f"the database '{name}' exists, and is not tenantkit's"):
        plain.create("acme")
    assert [tenant.key for tenant in plain.list()] == ["near"]
    plain.create("berta")
    theirs = f"{plain.engine.url.database}_berta"
    with server.connect() as connection:
        connection.exec_driver_sql(f"COMMENT ON DATABASE \"{theirs}\" IS 'of another application'")
    with pytest.raises(ProvisioningError, match="does not carry the comment"):
        plain.drop("berta")
    assert _names(server, plain) == ["acme", "berta"]
    assert plain.get("berta").status == "active"
