"""A tenant whose drop is scheduled is not served, keeps all it has, and is dropped when its time has come, not before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, select

from tenantkit import (
    DomainExistsError,
    IllegalTransitionError,
    Status,
    Tenancy,
    TenantExistsError,
    TenantNotFoundError,
    TenantUnavailableError,
    drift,
    lifecycle,
    migrations,
    transfer,
)
from tenantkit.web.admission import refusal_of
from tests.migrations.environments import Environment
from tests.support import processes
from tests.support.catalog import fingerprint, registered, schemas
from tests.support.models import Project
from tests.support.processes import until_alone, worker

MONTH = timedelta(days=30)


def make_due(engine: Engine, key: str = "acme") -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET drop_at = now() WHERE key = %s", (key,))


def invoke(tenancy: Any, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function for operators with any kind of tenancy."""
    if hasattr(tenancy, "run"):
        return tenancy.run(function, *arguments, **options)
    return function(tenancy, *arguments, **options)


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.SUSPENDED, Status.MAINTENANCE])
def test_a_cancelled_drop_leaves_the_tenant_as_it_was(any_tenancy: Any, engine: Engine, status: Status) -> None:
    any_tenancy.create("acme", domains=["acme.test"], seed=processes.seed)
    {Status.ACTIVE: any_tenancy.resume, Status.SUSPENDED: any_tenancy.suspend}.get(
        status, any_tenancy.start_maintenance
    )("acme")
    shape = fingerprint(engine, "t_acme")[:-1]
    scheduled = any_tenancy.drop("acme", after=MONTH)
    assert scheduled.status is Status.DROP_SCHEDULED
    assert abs(scheduled.drop_at - datetime.now(UTC) - MONTH) < timedelta(minutes=10)
    with pytest.raises(TenantUnavailableError, match="drop_scheduled.*'tenantkit drop acme --cancel'") as refused:
        any_tenancy.session("acme").__enter__()
    assert refused.value.status is Status.DROP_SCHEDULED
    with any_tenancy.session("acme", any_status=True) as session:
        assert session.scalars(select(Project.name)).all() == ["first"]
    later = any_tenancy.drop("acme", after=2 * MONTH)
    assert later.drop_at - scheduled.drop_at >= MONTH
    assert invoke(any_tenancy, lifecycle.drop_due).dropped == ()
    for _ in range(2):
        kept = invoke(any_tenancy, lifecycle.cancel_drop, "acme")
        assert (kept.status, kept.drop_at, kept.domains) == (status, None, ("acme.test",))
    make_due(engine, "nobody")
    assert invoke(any_tenancy, lifecycle.drop_due).dropped == ()
    assert fingerprint(engine, "t_acme")[:-1] == shape


def test_a_session_that_is_kept_is_refused_in_its_next_transaction(tenancy: Tenancy) -> None:
    tenancy.create("acme", seed=processes.seed)
    with tenancy.session("acme") as session:
        assert session.scalars(select(Project.name)).all() == ["first"]
        tenancy.drop("acme", after=MONTH)
        session.commit()
        with pytest.raises(TenantUnavailableError, match="drop_scheduled"):
            session.scalars(select(Project.name)).all()


def test_what_visitors_were_told_before_is_not_said_of_a_scheduled_drop(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    said = any_tenancy.suspend("acme", message="Back soon", until=timedelta(hours=2))
    scheduled = any_tenancy.drop("acme", after=MONTH)
    assert (scheduled.message, scheduled.until) == (None, None)
    with pytest.raises(TenantUnavailableError) as refused:
        any_tenancy.session("acme").__enter__()
    assert "Back soon" not in str(refused.value)
    kept = invoke(any_tenancy, lifecycle.cancel_drop, "acme")
    assert (kept.message, kept.until) == (said.message, said.until)


def test_requests_are_refused_as_those_of_a_suspended_tenant(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    refusal = refusal_of(tenancy.isolations, tenancy.drop("acme", after=MONTH))
    assert refusal is not None
    assert (refusal.status, refusal.retry_after) == (503, 3600)


WORKS: dict[str, Callable[[Tenancy, Path], object]] = {
    "update": lambda t, _: t.update("acme", name="Other"),
    "add a domain": lambda t, _: t.add_domain("acme", "other.test"),
    "schedule again": lambda t, _: t.drop("acme", after=MONTH),
    "rename": lambda t, _: lifecycle.rename(t, "acme", "globex", schema=True),
    "back up": lambda t, path: transfer.backup(t, "acme", path),
    "repair": lambda t, _: t.repair(),
    "check": lambda t, _: drift.check(t),
    "drop at once": lambda t, _: t.drop("acme"),
}
REFUSED: dict[str, tuple[Callable[[Tenancy], object], type[Exception], str]] = {
    "suspend": (lambda t: t.suspend("acme"), IllegalTransitionError, "drop_scheduled and cannot become suspended. Cancel"),
    "resume": (lambda t: t.resume("acme"), IllegalTransitionError, "'tenantkit drop acme --cancel'"),
    "maintenance": (lambda t: t.start_maintenance("acme"), IllegalTransitionError, "--cancel"),
    "session": (lambda t: t.session("acme"), TenantUnavailableError, "--cancel"),
    "create": (lambda t: t.create("acme"), TenantExistsError, "acme"),
    "its domain for another": (lambda t: t.create("beta", domains=["acme.test"]), DomainExistsError, "acme.test"),
    "rename of another": (lambda t: lifecycle.rename(t, "gamma", "acme"), TenantExistsError, "acme"),
}  # fmt: skip


@pytest.fixture
def fleet(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Tenancy:
    environment.add("t1", 'op.create_table("note", sa.Column("id", sa.Integer), schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    for key in ("acme", "gamma"):
        tenancy.create(key, domains=[f"{key}.test"])
    tenancy.drop("acme", after=MONTH)
    return tenancy


def test_each_operation_works_or_is_refused_with_the_reason(
    fleet: Tenancy, engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    for name, (act, error, text) in REFUSED.items():
        with pytest.raises(error) as refused:
            act(fleet)
        assert text in str(refused.value), name
        assert registered(engine)["acme"] == "drop_scheduled", name
    environment.add("t2", 'op.add_column("note", sa.Column("extra", sa.Text), schema="tenant")')
    report = migrations.migrate(fleet, maintenance=True, jobs=0)
    assert {outcome.key for outcome in report.migrated} == {"acme", "gamma"}
    assert migrations.status(fleet).is_current
    for name, work in WORKS.items():
        work(fleet, tmp_path / "acme.tenant")
        if name == "rename":
            assert registered(engine)["globex"] == "drop_scheduled"
            lifecycle.rename(fleet, "globex", "acme")
        assert registered(engine).get("acme") == (None if name == "drop at once" else "drop_scheduled"), name
        assert fleet.diagnose() == []
    restored = transfer.restore(fleet, tmp_path / "acme.tenant")
    assert (restored.tenant.key, restored.tenant.status) == ("acme", Status.SUSPENDED)


def test_unfinished_tenants_are_not_scheduled_and_not_kept(tenancy: Tenancy, engine: Engine) -> None:
    with pytest.raises(TenantNotFoundError):
        tenancy.drop("acme", after=MONTH)
    tenancy.create("acme")
    for status in (Status.PROVISIONING, Status.FAILED, Status.DROPPING):
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = %s", (status,))
        for act in (lambda: tenancy.drop("acme", after=MONTH), lambda: lifecycle.cancel_drop(tenancy, "acme")):
            with pytest.raises(IllegalTransitionError):
                act()
        assert registered(engine) == {"acme": status}


def test_due_tenants_are_dropped_and_a_failure_keeps_its_tenant_only(tenancy: Tenancy, engine: Engine) -> None:
    for key in ("acme", "beta", "gamma", "delta"):
        tenancy.create(key)
        tenancy.drop(key, after=MONTH)
    for key in ("acme", "beta", "delta"):
        make_due(engine, key)
    seen: list[tuple[str, str]] = []

    def before(tenant: Any) -> None:
        seen.append((tenant.key, tenant.status))
        if tenant.key == "acme":
            raise OSError("the disk is full")
        if tenant.key == "delta":  # meanwhile, somebody wants it back
            lifecycle.cancel_drop(tenancy, "delta")

    result = lifecycle.drop_due(tenancy, before=before)
    assert sorted(seen) == [(key, "drop_scheduled") for key in ("acme", "beta", "delta")]
    assert ([tenant.key for tenant in result.dropped], [*result.failures]) == (["beta"], ["acme"])
    assert "the disk is full" in result.failures["acme"]
    assert registered(engine) == {"acme": "drop_scheduled", "gamma": "drop_scheduled", "delta": "active"}
    assert [tenant.key for tenant in lifecycle.drop_due(tenancy).dropped] == ["acme"]


def test_what_is_backed_up_first_is_what_is_dropped(tenancy: Tenancy, engine: Engine) -> None:
    for key in ("acme", "beta"):
        tenancy.create(key)
        tenancy.drop(key, after=MONTH)
        make_due(engine, key)
    backed_up: list[tuple[str, int]] = []

    def before(tenant: Any) -> None:
        if not backed_up:  # while it takes its time, others get the keys of both
            for key in ("acme", "beta"):
                lifecycle.rename(tenancy, key, f"old-{key}")
                tenancy.create(key)
        backed_up.append((tenant.key, tenancy.get(tenant.key).id))

    result = lifecycle.drop_due(tenancy, before=before)
    assert [(tenant.key, tenant.id) for tenant in result.dropped] == backed_up[1:] == [("old-beta", 2)]
    assert "renamed" in result.failures["acme"]
    assert registered(engine) == {"old-acme": "drop_scheduled", "acme": "active", "beta": "active"}
    assert [tenant.key for tenant in lifecycle.drop_due(tenancy).dropped] == ["old-acme"]


def test_of_two_processes_that_drop_due_tenants_none_fails(tenancy: Tenancy, engine: Engine) -> None:
    for key in ("acme", "beta", "gamma"):
        tenancy.create(key)
        tenancy.drop(key, after=MONTH)
        make_due(engine, key)
    both = Barrier(2)

    def work(_: int) -> lifecycle.DueDrops:
        return lifecycle.drop_due(tenancy, before=lambda tenant: both.wait() if tenant.key == "acme" else None)

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(work, range(2)))
    assert [dict(each.failures) for each in results] == [{}, {}]
    assert {tenant.key for each in results for tenant in each.dropped} == {"acme", "beta", "gamma"}
    assert schemas(engine) == {"public", "shared", "tenantkit"}
    assert tenancy.diagnose() == []


def test_an_unfinished_result_of_before_keeps_the_tenant(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    tenancy.drop("acme", after=MONTH)
    make_due(engine)

    async def later() -> None: ...

    assert "awaitable" in lifecycle.drop_due(tenancy, before=lambda _: later()).failures["acme"]
    assert registered(engine) == {"acme": "drop_scheduled"}


def test_a_run_that_died_with_the_tenant_in_maintenance_does_not_keep_it_there(
    tenancy: Tenancy, engine: Engine
) -> None:
    tenancy.create("acme")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'maintenance', claim = 'run 1'")
    tenancy.drop("acme", after=MONTH)
    assert lifecycle.cancel_drop(tenancy, "acme").status is Status.ACTIVE


@pytest.mark.all_cases
@pytest.mark.parametrize("recover", ["drop_due", "drop", "repair"])
def test_after_a_kill_at_any_statement_the_drop_is_done_or_not_begun(
    tenancy: Tenancy, engine: Engine, recover: str, dose: Callable[[int, int], int]
) -> None:
    tenancy.create("beta", seed=processes.seed)
    before = fingerprint(engine, "t_beta")
    number, step = 1, dose(7, 1)
    while True:
        if "acme" not in registered(engine):
            tenancy.create("acme", seed=processes.seed)
            tenancy.drop("acme", after=MONTH)
            make_due(engine)
        with worker(engine.url, processes.drop_due, "acme", stop_at=number) as victim:
            answer = victim.wait()
            victim.kill()
        until_alone(engine)
        tenancy.cache.clear()
        if recover == "repair":
            tenancy.repair()
            assert registered(engine).get("acme", "drop_scheduled") == "drop_scheduled"
        elif "acme" in registered(engine):
            tenancy.drop("acme") if recover == "drop" else lifecycle.drop_due(tenancy)
            assert "acme" not in registered(engine)
        if "acme" not in registered(engine):
            assert schemas(engine) == {"public", "shared", "tenantkit", "t_beta"}
        assert fingerprint(engine, "t_beta") == before
        if answer != "stopped":
            assert number > 10, "the work ended before it had begun"
            break
        number += step
