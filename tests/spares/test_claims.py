"""A new tenant that takes a spare over is the same as one that was built from nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import (
    DomainExistsError,
    ProvisioningError,
    Status,
    Tenancy,
    Tenant,
    TenantExistsError,
    TenantNotFoundError,
)
from tenantkit.asyncio import AsyncTenancy
from tenantkit.drift import check
from tenantkit.lifecycle import create as creation
from tenantkit.migrations import migrate
from tenantkit.spares import keep_spares
from tenantkit.transfer import backup_all
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape
from tests.support.catalog import registered, schemas
from tests.support.models import APPLICATION
from tests.support.processes import until

Make = Callable[..., Tenancy]
Spares = Callable[[], dict[str, str]]


def look(engine: Engine, key: str) -> tuple[Any, Any]:
    with engine.connect() as connection:
        return shape(connection, f"t_{key}"), rows(connection, f"t_{key}")


def seed(session: Any) -> None:
    session.execute(text("INSERT INTO a (t) SELECT 'seeded' FROM count_a() AS n WHERE n = 1"))


def test_a_tenant_by_a_spare_equals_one_from_nothing(fleet: Make, engine: Engine, spares: Spares) -> None:
    tenancy = fleet()
    tenancy.create("nothing", seed=seed)
    assert keep_spares(tenancy, 2).made == 2
    ids = {row.id for row in engine.connect().exec_driver_sql("SELECT id FROM tenantkit.tenants")}
    acme = tenancy.create("acme", name="Acme", domains=["a.test", "b.test"], attributes={"x": "100%"})
    assert (acme.schema, acme.status, acme.name, acme.domains, dict(acme.attributes)) == (
        "t_acme", "active", "Acme", ("a.test", "b.test"), {"x": "100%"}
    )  # fmt: skip
    assert acme.id in ids
    beta = tenancy.create("beta", seed=seed)
    assert (beta.status, spares()) == (Status.ACTIVE, {})
    assert look(engine, "beta") == look(engine, "nothing")
    assert look(engine, "acme")[0] == look(engine, "nothing")[0]
    assert tenancy.diagnose() == []
    keep_spares(tenancy, 2)
    assert not check(tenancy).has_drift
    with tenancy.session("acme") as session:
        assert session.execute(text("SELECT count_a()")).scalar() == 1
    tenancy.drop("acme")
    assert "t_acme" not in schemas(engine)


def test_a_function_of_a_claimed_spare_never_reads_the_next_one(fleet: Make) -> None:
    tenancy = fleet()
    keep_spares(tenancy, 2)
    for key in ("acme", "beta"):
        tenancy.create(key)
    with tenancy.session("beta") as session:
        session.execute(text("DELETE FROM a"))
        session.commit()
        assert session.execute(text("SELECT count_a()")).scalar() == 0
    with tenancy.session("acme") as session:
        assert session.execute(text("SELECT count_a()")).scalar() == 1


def test_creations_at_once_get_different_spares_and_then_none(fleet: Make, engine: Engine, spares: Spares) -> None:
    tenancy = fleet()
    keep_spares(tenancy, 4)
    keys = [f"k{number}" for number in range(7)]
    with ThreadPoolExecutor(7) as pool:
        made = list(pool.map(tenancy.create, keys))
    assert len({tenant.id for tenant in made}) == 7
    assert {tenant.schema for tenant in made} == {f"t_{key}" for key in keys}
    assert spares() == {}
    first, *others = [look(engine, key) for key in keys]
    assert others == [first] * 6


def test_three_creations_of_one_key_claim_at_most_one_spare(fleet: Make, spares: Spares) -> None:
    tenancy = fleet()
    keep_spares(tenancy, 3)

    def create(_: int) -> str:
        try:
            return tenancy.create("acme").key
        except TenantExistsError:
            return "exists"

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(create, range(3))) == ["acme", "exists", "exists"]
    # One that meets another's claim is built from nothing, and may be the first to reserve the key.
    assert len(spares()) in {2, 3}


def test_what_prevents_a_tenant_leaves_the_spare(fleet: Make, engine: Engine, spares: Spares) -> None:
    tenancy = fleet()
    tenancy.create("acme", domains=["a.test"])
    keep_spares(tenancy, 1)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA t_taken")
    with pytest.raises(TenantExistsError):
        tenancy.create("acme")
    with pytest.raises(DomainExistsError):
        tenancy.create("beta", domains=["a.test"])
    with pytest.raises(ProvisioningError, match="t_taken"):
        tenancy.create("taken")
    assert [*spares().values()] == ["spare"]
    assert registered(engine).keys() - {"acme"} == {key for key in registered(engine) if key.startswith("~spare-")}


def test_a_key_that_a_tenant_had_gets_another_schema(fleet: Make, spares: Spares) -> None:
    tenancy = fleet()
    tenancy.create("acme")
    tenancy.drop("acme")
    keep_spares(tenancy, 1)
    assert tenancy.create("acme").schema == "t_acme~2"


def test_a_seed_that_fails_leaves_a_tenant_to_finish(fleet: Make, engine: Engine, spares: Spares) -> None:
    def fail(session: Any) -> None:
        session.execute(text("INSERT INTO a (t) VALUES ('half')"))
        raise ValueError

    tenancy = fleet()
    keep_spares(tenancy, 2)
    with pytest.raises(ProvisioningError, match="seeding"):
        tenancy.create("acme", seed=fail)
    assert registered(engine)["acme"] == "failed"
    assert tenancy.create("acme").status == "active"
    tenancy.create("beta")
    assert look(engine, "acme") == look(engine, "beta")


def test_spares_are_no_tenants(fleet: Make, engine: Engine, spares: Spares) -> None:
    tenancy = fleet()
    tenancy.create("acme")
    keep_spares(tenancy, 2)
    assert [tenant.key for tenant in tenancy.list()] == ["acme"]
    (key, _) = (tenant.key for tenant in tenancy.list(status="spare"))
    for find in (tenancy.get, tenancy.session):
        with pytest.raises(TenantNotFoundError):
            find(key)
    asynchronous = AsyncTenancy(engine.url, listen=False, **APPLICATION)

    async def get() -> None:
        try:
            await asynchronous.get(key)
        finally:
            await asynchronous.close()

    with pytest.raises(TenantNotFoundError):
        asyncio.run(get())
    chosen: list[Any] = []

    def place(_: Any, loads: Any) -> str:
        chosen.append(loads["main"].tenants)
        return "main"

    assert fleet(placement=place).create("beta").schema == "t_beta"
    assert chosen == [1]
    assert len(spares()) == 1


def test_spares_are_not_backed_up(fleet: Make, tmp_path: Path) -> None:
    tenancy = fleet()
    tenancy.create("acme")
    keep_spares(tenancy, 1)
    made = backup_all(tenancy, tmp_path / "backups")
    assert ([each.key for each in made.made], made.failures) == (["acme"], {})


def test_spares_are_migrated_with_the_fleet_and_claimed_at_their_revision_only(
    fleet: Make, environment: Environment, engine: Engine, spares: Spares
) -> None:
    old = fleet()
    old.create("acme")
    keep_spares(old, 3)
    environment.add("two", 'op.add_column("a", sa.Column("y", sa.Text), schema="tenant")')
    new = fleet()
    assert keep_spares(new, 3).waiting == 3
    new.create("early")
    assert len(spares()) == 3, "a spare at an older revision is not claimed"
    report = migrate(new)
    assert (len(report.outcomes), report.unchanged) == (4, 1)
    old.create("late")
    assert len(spares()) == 3, "nor one at a newer revision, by older code"
    assert keep_spares(new, 3) == keep_spares(new, 3)
    new.create("beta")
    assert len(spares()) == 2
    assert look(engine, "beta") == look(engine, "early")


@pytest.mark.all_cases
def test_a_changed_revision_makes_other_spares(fleet: Make, environment: Environment, spares: Spares) -> None:
    keep_spares(fleet(), 2)
    before = spares()
    file = environment.folder / "tenant" / "one.py"
    file.write_text(file.read_text().replace('"t", sa.Text', '"t", sa.String(9)'))
    changed = fleet()
    changed.create("acme")
    assert spares() == before
    assert keep_spares(changed, 2).made == 2
    assert not spares().keys() & before.keys()


def test_other_processes_see_the_new_tenant_at_once(fleet: Make) -> None:
    tenancy, other = fleet(), fleet(listen=True)
    keep_spares(tenancy, 1)
    with pytest.raises(TenantNotFoundError):
        other.get("acme")
    listener = other.lookups.listener
    assert listener is not None
    assert listener.listening.wait(10)
    for find, name in ((other.get, "acme"), (other.get_by_domain, "a.test")):
        with pytest.raises(TenantNotFoundError):
            find(name)
    tenancy.create("acme", domains=["a.test"])
    until(lambda: not other.cache.is_missing(("key", "acme")), seconds=3)
    assert other.get("acme").key == other.get_by_domain("a.test").key == "acme"


def test_the_new_tenant_has_what_was_changed_while_it_was_created(fleet: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    tenancy, other = fleet(), fleet()
    seen: list[Tenant] = []
    run = creation._Creation.run

    def change_first(self: Any, **options: Any) -> Tenant:
        other.update("acme", name="Acme", attributes={"plan": "pro"})
        other.add_domain("acme", "late.test")
        return run(self, **options)

    monkeypatch.setattr(creation._Creation, "run", change_first)
    made = tenancy.create("acme", seed=lambda session: seen.append(session.tenant))
    for tenant in (made, *seen):
        assert (tenant.name, dict(tenant.attributes), tenant.domains) == ("Acme", {"plan": "pro"}, ("late.test",))
    assert made == other.get("acme")
