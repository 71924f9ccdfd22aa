"""Transactions in flight of a suspended tenant finish, or are cut off; nobody else's are touched."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import pytest
from sqlalchemy import URL, Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, DrainError, Status, Tenancy
from tenantkit.lifecycle import Drained, drain
from tenantkit.runs import claims
from tests.support.models import Country, Project
from tests.support.processes import until, until_alone, worker


@pytest.fixture
def operator(make_tenancy: Callable[..., Tenancy]) -> Tenancy:
    """Tenants acme and beta, of which other processes hear at once."""
    tenancy = make_tenancy(cache_ttl=0)
    tenancy.create("acme")
    tenancy.create("beta")
    return tenancy


@pytest.fixture
def opened(make_tenancy: Callable[..., Tenancy], operator: Tenancy) -> Generator[Callable[[str | None], Session]]:
    """Open sessions of another process, one that does not hear that a tenant is suspended."""
    deaf = make_tenancy(cache_ttl=3600, engine_options={"pool_size": 20})
    deaf.get("acme")
    with ExitStack() as sessions:
        yield lambda key: sessions.enter_context(deaf.shared_session() if key is None else deaf.session(key))


def add(session: Session, name: str) -> Session:
    session.add(Project(name=name))
    session.flush()
    return session


def pid_of(session: Session) -> int:
    return session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()


def names(tenancy: Tenancy, key: str) -> list[str]:
    with tenancy.session(key, any_status=True) as session:
        return [*session.scalars(select(Project.name))]


@pytest.mark.parametrize("read_only", [True, False])
def test_transactions_in_flight_may_finish(
    operator: Tenancy, opened: Callable[[str | None], Session], read_only: bool
) -> None:
    writing = add(opened("acme"), "in flight")
    operator.suspend("acme", read_only=read_only)
    with ThreadPoolExecutor(1) as pool:
        draining = pool.submit(drain, operator, "acme", 120)
        until(lambda: "pg_locks" in last_statements(operator))
        writing.commit()
        found = draining.result()
    assert (found.tenant.key, found.waited_for, found.ended) == ("acme", 1, ())
    assert names(operator, "acme") == ["in flight"]


def last_statements(tenancy: Tenancy) -> str:
    query = "SELECT string_agg(query, '') FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
    with tenancy.engine.connect() as connection:
        return str(connection.exec_driver_sql(query).scalar_one())


def test_what_lasts_longer_is_cut_off_and_nothing_else(
    operator: Tenancy, opened: Callable[[str | None], Session], engine: Engine
) -> None:
    ours = [add(opened("acme"), "lost"), opened("acme"), opened("acme")]
    ours[1].execute(select(Project))
    ours[2].execute(select(Country))  # it may use the tenant's tables later
    others = [add(opened("beta"), "neighbour"), opened(None)]
    others[1].add(Country(code="PT", name="Portugal"))
    others[1].flush()
    pids = sorted(map(pid_of, ours))
    operator.suspend("acme")
    with engine.connect() as backup, engine.connect() as fleet:
        claims.share(backup, "t_acme")
        backup.exec_driver_sql("LOCK t_acme.project IN ACCESS SHARE MODE")
        fleet.exec_driver_sql("SELECT FROM t_acme.project, t_beta.project")
        with pytest.raises(DrainError, match="tables of other tenants, too") as still:
            drain(operator, "acme", 0)
        mixed = fleet.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        assert (still.value.running, still.value.status) == ((mixed,), Status.SUSPENDED)
        assert sorted(still.value.ended) == pids
        fleet.rollback()
        late = add(opened("acme"), "from a process that has not heard")
        pid = pid_of(late)
        assert drain(operator, "acme", 0) == Drained(operator.get("acme"), 1, (pid,))
        backup.exec_driver_sql("SELECT FROM t_acme.project")
    for session in others:
        session.commit()
    for session in (*ours, late):
        with pytest.raises(DBAPIError):
            session.execute(select(Project))
    assert names(operator, "acme") == []
    assert names(operator, "beta") == ["neighbour"]
    assert drain(operator, "acme", 0) == Drained(operator.get("acme"), 0, ())


def test_readers_of_a_read_only_tenant_go_on(operator: Tenancy, opened: Callable[[str | None], Session]) -> None:
    before, deaf = opened("acme"), opened("acme")
    before.execute(select(Project))  # it may write later
    operator.suspend("acme", read_only=True)
    with operator.session("acme") as reader, ThreadPoolExecutor(1) as pool:
        draining = pool.submit(drain, operator, "acme", 120)
        until(lambda: "pg_locks" in last_statements(operator))
        reader.execute(select(Project))
        deaf.execute(select(Project))
        before.rollback()
        assert draining.result().waited_for == 1
        assert reader.execute(select(Project)).all() == []


def suspend_and_drain(tenancy: Tenancy, key: str) -> tuple[int, ...]:
    tenancy.suspend(key, message="Moving", read_only=False)
    return drain(tenancy, key, 0).ended


@pytest.mark.all_cases
def test_after_a_kill_between_the_phases_the_same_again_goes_on(
    operator: Tenancy,
    opened: Callable[[str | None], Session],
    engine: Engine,
    database: URL,
    dose: Callable[[int, int], int],
) -> None:
    for number in count(1, dose(4, 1)):
        session = add(opened("acme"), "lost")
        with worker(database, suspend_and_drain, "acme", stop_at=number, cache_ttl=0) as process:
            is_done = process.wait() != "stopped"
            process.kill()
        until_alone(engine)
        suspend_and_drain(operator, "acme")
        assert operator.get("acme").message == "Moving"
        with pytest.raises(DBAPIError):
            session.execute(select(Project))
        operator.resume("acme")
        if is_done:
            break
    assert number > 1


def test_a_tenant_is_suspended_before_it_is_drained(operator: Tenancy) -> None:
    with pytest.raises(ConfigurationError, match="Suspend it first"):
        drain(operator, "acme", 0)
    operator.start_maintenance("acme")
    assert drain(operator, "acme", 0).waited_for == 0
