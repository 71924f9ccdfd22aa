"""Processes killed at each statement of provisioning: the next call recovers, and no other tenant changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from random import Random
from time import sleep

import pytest
from sqlalchemy import Engine, func, select

from tenantkit import Status, Tenancy, TenantNotFoundError
from tests.support import processes
from tests.support.catalog import fingerprint, registered, schemas, structure
from tests.support.models import Project, Task
from tests.support.processes import until_alone, worker


@pytest.fixture
def neighbour(tenancy: Tenancy) -> str:
    return tenancy.create("beta", domains=["beta.example.com"], seed=processes.seed).schema


def recover_by_create(tenancy: Tenancy, engine: Engine) -> None:
    if registered(engine).get("acme") != Status.ACTIVE:
        tenancy.create("acme", domains=["acme.example.com"], seed=processes.seed)
    assert_complete(tenancy, engine)


def recover_by_drop(tenancy: Tenancy, engine: Engine) -> None:
    with suppress(TenantNotFoundError):
        tenancy.drop("acme")
    assert_gone(tenancy, engine)


def recover_by_repair(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.repair()
    if registered(engine).get("acme") == Status.ACTIVE:
        assert_complete(tenancy, engine)
    else:
        assert_gone(tenancy, engine)


def assert_complete(tenancy: Tenancy, engine: Engine) -> None:
    assert registered(engine) == {"acme": "active", "beta": "active"}
    assert structure(engine, tenancy.get("acme").schema) == structure(engine, "t_beta")
    assert tenancy.get_by_domain("acme.example.com").key == "acme"
    with tenancy.session("acme") as session:
        assert session.scalars(select(Project.name)).all() == ["first"]
        assert session.scalar(select(func.count()).select_from(Task)) == 2
    assert tenancy.diagnose() == []


def assert_gone(tenancy: Tenancy, engine: Engine) -> None:
    assert registered(engine) == {"beta": "active"}
    assert schemas(engine) == {"public", "shared", "tenantkit", "t_beta"}
    assert tenancy.diagnose() == []
    with pytest.raises(TenantNotFoundError):
        tenancy.get_by_domain("acme.example.com")


RECOVERIES = [recover_by_create, recover_by_drop, recover_by_repair]


@pytest.mark.parametrize("recover", RECOVERIES)
@pytest.mark.parametrize("work", [processes.create, processes.drop])
def test_after_a_kill_at_any_statement_the_next_process_recovers(
    tenancy: Tenancy,
    engine: Engine,
    neighbour: str,
    work: processes.Work,
    recover: Callable[[Tenancy, Engine], None],
    dose: Callable[[int, int], int],
) -> None:
    before = fingerprint(engine, neighbour)
    for number in count(1 + RECOVERIES.index(recover), dose(9, 1)):
        if work is processes.drop and registered(engine).get("acme") is None:
            processes.create(tenancy, "acme")
        elif work is processes.create and registered(engine).get("acme") is not None:
            tenancy.drop("acme")
        with worker(engine.url, work, "acme", stop_at=number) as victim:
            answer = victim.wait()
            victim.kill()
        until_alone(engine)
        tenancy.cache.clear()
        recover(tenancy, engine)
        assert fingerprint(engine, neighbour) == before
        if answer != "stopped":
            assert number > 10, "the work ended before it had begun"
            break


@pytest.mark.parametrize("chance", [0, *(pytest.param(chance, marks=pytest.mark.all_cases) for chance in (1, 2, 3))])
def test_after_a_kill_at_any_moment_the_next_process_recovers(
    tenancy: Tenancy, engine: Engine, neighbour: str, chance: int
) -> None:
    random = Random(chance)
    before = fingerprint(engine, neighbour)
    for recover in RECOVERIES:
        if registered(engine).get("acme") is not None:
            tenancy.drop("acme")
        with worker(engine.url, processes.create, "acme") as victim:
            sleep(random.uniform(0.02, 0.4))
            victim.kill()
        until_alone(engine)
        tenancy.cache.clear()
        recover(tenancy, engine)
        assert fingerprint(engine, neighbour) == before


@pytest.mark.parametrize("number", [4, 9, 14, 21])
@pytest.mark.parametrize("work", [processes.create, processes.drop])
def test_after_a_server_process_is_terminated_the_next_call_recovers(
    tenancy: Tenancy, engine: Engine, neighbour: str, work: processes.Work, number: int, all_cases: bool
) -> None:
    before = fingerprint(engine, neighbour)
    for recover in RECOVERIES if all_cases else [RECOVERIES[number % len(RECOVERIES)]]:
        if work is processes.drop and registered(engine).get("acme") is None:
            processes.create(tenancy, "acme")
        elif work is processes.create and registered(engine).get("acme") is not None:
            tenancy.drop("acme")
        with worker(engine.url, work, "acme", stop_at=number) as victim:
            assert victim.wait() == "stopped"
            with engine.connect() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'tenantkit worker'"
                )
            victim.go_on()
            assert victim.wait() in {"OperationalError", "ProvisioningError"}
        until_alone(engine)
        tenancy.cache.clear()
        recover(tenancy, engine)
        assert fingerprint(engine, neighbour) == before
