"""A process may be killed at any statement: the next creation, removal or repair completes what it has left."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from tenantkit import ProvisioningError, Tenancy, TenantNotFoundError
from tenantkit.isolation.database import catalog
from tenantkit.isolation.roles import role_of
from tests.isolation.database.conftest import Make
from tests.isolation.two_databases import Note
from tests.migrations.environments import Environment

KILLED = 77
NAME = "tk_killed"


Work = Callable[[], object]
Killed = Callable[[Work, int], bool]
"""Does work in a process that is killed at the n-th of some events; returns whether it came to that."""


def _killed(work: Work, plant: Callable[[Callable[[], None]], None], number: int) -> bool:
    """Do *work* in a process that is killed when the function that *plant* receives is called for the n-th time."""
    if (child := os.fork()) == 0:
        os.environ["PGAPPNAME"] = NAME
        left = iter(range(number, -1, -1))

        def die_in_time() -> None:
            if next(left) == 0:
                os._exit(KILLED)

        plant(die_in_time)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def _before_statement(work: Work, number: int) -> bool:
    execute = catalog.execute

    def plant(die_in_time: Callable[[], None]) -> None:
        catalog.execute = lambda *arguments: (die_in_time(), execute(*arguments))

    return _killed(work, plant, number)


def _after_statement(work: Work, number: int) -> bool:
    execute = catalog.execute

    def plant(die_in_time: Callable[[], None]) -> None:
        catalog.execute = lambda *arguments: (execute(*arguments), die_in_time())

    return _killed(work, plant, number)


def _before_commit(work: Work, number: int) -> bool:
    def plant(die_in_time: Callable[[], None]) -> None:
        event.listen(Engine, "commit", lambda _: die_in_time())

    return _killed(work, plant, number)


for_each_kill = pytest.mark.parametrize("killed", [_after_statement, _before_statement, _before_commit])


def _left(tenancy: Tenancy) -> list[str]:
    """Return what the doctor finds once the server has noticed that the processes have died."""
    end = monotonic() + 10
    query = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
    with tenancy.engine.connect() as connection:
        while connection.scalar(query, {"name": NAME}):
            connection.rollback()
            assert monotonic() < end
    return [finding.subject for finding in tenancy.diagnose()]


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


def _roles(server: Engine, tenancy: Tenancy) -> list[str]:
    """Return the ids of the tenants that have roles, but for the one in a schema."""
    query = text("SELECT split_part(rolname, '_', 3) FROM pg_roles WHERE rolname ^@ :begin AND rolname <> :near")
    near = tenancy.get("near")
    with server.connect() as connection:
        return list(connection.scalars(query, {"begin": f"tenantkit_{near.registry[:8]}_", "near": role_of(near)}))


@pytest.fixture(
    params=[
        pytest.param({}, id="no guard"),
        pytest.param({"guard": "login", "guard_secret": "k" * 32}, marks=pytest.mark.all_cases, id="login"),
    ]
)
def plain(make: Make, request: pytest.FixtureRequest) -> Generator[Tenancy]:
    """A tenancy whose tables are made from the models, with a tenant in a schema."""
    tenancy = make(**request.param)
    tenancy.create("near", isolation="schema")
    yield tenancy
    tenancy.drop("near")


@for_each_kill
def test_a_creation_that_was_killed_is_completed_or_removed(plain: Tenancy, server: Engine, killed: Killed) -> None:
    number = 0
    endings = (
        lambda: plain.create("acme", seed=_seed),
        plain.repair,
        lambda: plain.drop("acme"),
    )
    while killed(lambda: plain.create("acme", seed=_seed), number):
        left = _left(plain)
        assert left == ["acme"] or (left == [] and killed is _before_commit)
        ending = number % 3 if left else 0
        if left or not plain.list(search="acme"):
            endings[ending]()
        assert plain.diagnose() == []
        if ending == 0:
            with plain.session("acme") as session:
                assert session.scalars(text("SELECT text FROM note")).all() == ["acme"]
            plain.drop("acme")
        assert (_names(server, plain), _roles(server, plain)) == ([], [])
        number += 1
    assert number >= 5
    plain.drop("acme")


@for_each_kill
def test_a_removal_that_was_killed_is_completed(plain: Tenancy, server: Engine, killed: Killed) -> None:
    number = 0
    plain.create("acme")
    while killed(lambda: plain.drop("acme"), number):
        left = _left(plain)
        assert left == ["acme"] or (left == [] and killed is _before_commit)
        (plain.repair if left and number % 2 else lambda: plain.drop("acme"))()
        assert (plain.diagnose(), _names(server, plain), _roles(server, plain)) == ([], [], [])
        with pytest.raises(TenantNotFoundError):
            plain.get("acme")
        plain.create("acme")
        number += 1
    assert number >= 2


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


def test_databases_whose_tenant_is_not_in_the_registry_are_found_and_kept(plain: Tenancy, server: Engine) -> None:
    plain.create("acme")
    lost, main = plain.create("berta"), str(plain.engine.url.database)
    unfinished = f"tenantkit_{lost.registry}_{lost.id + 100}"
    others = {f"{main}_other": f"tenantkit tenant {lost.id} of registry {'f' * 32}", f"{main}_none": ""}
    with server.connect() as connection:
        for name, comment in {unfinished: "", **others}.items():
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
            connection.exec_driver_sql(f"COMMENT ON DATABASE \"{name}\" IS '{comment}'")
    assert [finding.subject for finding in plain.diagnose()] == [f"database {unfinished}"]
    with plain.engine.begin() as connection:
        connection.execute(text("DELETE FROM tenantkit.tenants WHERE key = 'berta'"))
    found = plain.repair()
    databases = [finding.subject for finding in found if "DROP DATABASE" in finding.problem]
    assert databases == [f"database {unfinished}", f"database {main}_berta"]
    with server.connect() as connection:
        for finding in found:
            _, _, drop = finding.problem.partition("execute DROP DATABASE")
            connection.exec_driver_sql(f"DROP DATABASE {drop} WITH (FORCE)") if drop else None
        for name in others:
            connection.exec_driver_sql(f'DROP DATABASE "{name}"')
    assert _names(server, plain) == ["acme"]
    plain.drop("acme")


@pytest.mark.all_cases
def test_the_making_of_a_template_that_was_killed_is_begun_again(
    make: Make, environment: Environment, server: Engine, plain: Tenancy
) -> None:
    number = 0
    while True:
        [revision] = (environment.folder / "tenant").glob("*.py")
        revision.write_text(f"{revision.read_text()}# {number}\n")  # another template
        tenancy = make(migrations=environment.folder)
        if not _after_statement(lambda tenancy=tenancy: tenancy.create("acme"), number):
            break
        assert _left(tenancy) == ["acme"]
        assert tenancy.create("acme").status == "active"
        assert tenancy.diagnose() == []
        tenancy.drop("acme")
        number += 1
    assert number >= 10
    assert len([name for name in _names(server, plain) if name.startswith("~template")]) <= 2
