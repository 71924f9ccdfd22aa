"""Spares are made, checked and removed, in any number of processes, also where one is killed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ConfigurationError, MigrationError, ProvisioningError, Status, Tenancy, TenantNotFoundError
from tenantkit.adoption import adopt
from tenantkit.lifecycle.drop import drop
from tenantkit.migrations import migrate
from tenantkit.spares import SpareKeeper, keep_spares
from tenantkit.spares.keep import Spares as Keeper
from tests.migrations.environments import Environment
from tests.support import processes
from tests.support.catalog import fingerprint, registered, schemas, structure
from tests.support.copies import Databases
from tests.support.processes import until, until_alone, worker

Make = Callable[..., Tenancy]
Spares = Callable[[], dict[str, str]]

CHANGES = {
    "column": "ALTER TABLE a ADD z int",
    "default": "ALTER TABLE a ALTER t SET DEFAULT 'x'",
    "dropped": "DROP VIEW v",
    "body": "CREATE OR REPLACE FUNCTION count_a() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    "comment": "COMMENT ON VIEW v IS 'mine'",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_spare_that_was_changed_by_hand_is_replaced(change: str, fleet: Make, engine: Engine, spares: Spares) -> None:
    tenancy = fleet()
    keep_spares(tenancy, 2)
    changed, other = spares()
    with engine.begin() as connection:
        connection.exec_driver_sql(f'SET LOCAL search_path = "{changed}"')
        connection.exec_driver_sql(CHANGES[change])
    report = keep_spares(tenancy, 2)
    assert (report.removed, report.made, report.ready) == ((changed,), 1, 2)
    assert changed not in spares().keys() | schemas(engine)
    assert other in spares()


def test_a_spare_is_no_schema_to_adopt(fleet: Make, spares: Spares) -> None:
    tenancy = fleet()
    keep_spares(tenancy, 2)
    plan = adopt(tenancy, "%spare-%", key_from="[0-9a-f]+$", dry_run=True)
    assert (set(plan.before), plan.schemas) == ({*spares()}, ())


NAMED = {
    "body": "op.execute(\"DO $d$ BEGIN EXECUTE format('CREATE FUNCTION f() RETURNS text LANGUAGE sql AS %L', 'SELECT ''' || current_schema() || '''::text'); END $d$\")",
    "default": "op.execute(\"DO $d$ BEGIN EXECUTE format('ALTER TABLE a ALTER t SET DEFAULT %L', current_schema()); END $d$\")",
    "comment": "op.execute(\"DO $d$ BEGIN EXECUTE format('COMMENT ON TABLE a IS %L', current_schema()); END $d$\")",
}


@pytest.mark.parametrize("case", NAMED)
def test_a_schema_that_cannot_be_renamed_is_no_spare(
    case: str, fleet: Make, environment: Environment, engine: Engine, spares: Spares
) -> None:
    environment.add("two", NAMED[case])
    tenancy = fleet()
    with pytest.raises(ProvisioningError, match="cannot be renamed"):
        keep_spares(tenancy, 1)
    assert spares() == {}
    assert schemas(engine) == {"public", "shared", "tenantkit"}
    assert tenancy.create("acme").status == "active"


def test_what_revisions_do_not_determine_is_no_spare(fleet: Make, environment: Environment) -> None:
    environment.add("two", "import uuid\nop.execute(f\"INSERT INTO a (t) VALUES ('{uuid.uuid4()}')\")")
    with pytest.raises(ConfigurationError, match="always build the same"):
        keep_spares(fleet(), 1)


def test_fewer_spares_are_kept_on_request(fleet: Make, engine: Engine, spares: Spares) -> None:
    tenancy = fleet()
    keep_spares(tenancy, 3)
    assert len(keep_spares(tenancy, 1).removed) == 2
    assert len(spares()) == 1
    assert keep_spares(tenancy, 0).ready == 0
    assert schemas(engine) == {"public", "shared", "tenantkit"}
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM tenantkit.former_tenants").scalar() == 0


def test_processes_at_once_keep_one_number(fleet: Make, spares: Spares) -> None:
    tenancies = [fleet() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda tenancy: keep_spares(tenancy, 3), tenancies))
    assert sum(report.made for report in reports) == len(spares()) == 3


def test_a_keeper_refills_in_the_background(fleet: Make, spares: Spares) -> None:
    tenancy = fleet()
    with SpareKeeper(tenancy, 2, interval=0.05):
        until(lambda: [*spares().values()] == ["spare"] * 2)
        for number in range(3):
            tenancy.create(f"k{number}")
        until(lambda: [*spares().values()] == ["spare"] * 2)
    tenancy.create("last")
    assert len(spares()) == 1


def test_a_keeper_goes_on_after_an_error(
    fleet: Make, environment: Environment, caplog: pytest.LogCaptureFixture, engine: Engine, spares: Spares
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE tenantkit.spares RENAME TO away")
    with SpareKeeper(fleet(), 1, interval=0.05):
        until(lambda: "could not be kept" in caplog.text)
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE tenantkit.away RENAME TO spares")
        until(lambda: [*spares().values()] == ["spare"])


@pytest.mark.parametrize("guard", ["role", "login"])
def test_a_claimed_spare_has_its_tenants_role(guard: str, fleet: Make, engine: Engine) -> None:
    options = {"guard_secret": "s" * 32} if guard == "login" else {}
    tenancy = fleet(guard=guard, **options)
    keep_spares(tenancy, 2)
    for key in ("acme", "beta"):
        tenancy.create(key)
    with tenancy.session("acme") as session:
        assert session.execute(text("SELECT count_a()")).scalar() == 1
        assert str(session.execute(text("SELECT current_user")).scalar()).startswith("tenantkit_")
        with pytest.raises(Exception, match="permission denied"):
            session.execute(text("SELECT * FROM t_beta.a"))
    assert [finding for finding in tenancy.diagnose() if "acme" in finding.subject] == []
    for key in ("acme", "beta"):
        tenancy.drop(key)


def test_roles_of_the_application_can_use_a_claimed_spare(fleet: Make, engine: Engine) -> None:
    role = "app_of_spares"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
    tenancy = fleet(grant_to=role)
    keep_spares(tenancy, 1)
    tenancy.create("acme")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        assert connection.exec_driver_sql("SELECT t FROM t_acme.a").scalar() == "one"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


OTHERS: dict[str, Callable[[Databases], dict[str, Any]]] = {
    "grant_to": lambda databases: {"grant_to": databases.make_role()},
    "guard": lambda _: {"guard": "role"},
    "login": lambda _: {"guard": "login", "guard_secret": "s" * 32},
    "guard_group": lambda databases: {"guard": "role", "guard_group": databases.make_role()},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_spare_with_other_privileges_is_not_claimed_and_replaced(
    other: str, fleet: Make, spares: Spares, databases: Databases
) -> None:
    options = OTHERS[other](databases)
    keep_spares(fleet(**({"guard": "role"} if other == "guard_group" else {})), 2)
    before = spares()
    tenancy = fleet(**options)
    tenancy.install()
    tenancy.create("acme")
    assert spares() == before
    report = keep_spares(tenancy, 2)
    assert (report.ready, report.made, {*report.removed}) == (2, 2, {*before})
    tenancy.create("beta")
    assert len(spares()) == 1
    assert tenancy.diagnose() == []
    for tenant in [*tenancy.list(), *tenancy.list(status=Status.SPARE)]:
        drop(tenancy, tenancy.engine.connect(), tenant.key)


# Pieces of work for other processes.


def run(tenancy: Tenancy) -> int:
    return migrate(tenancy).run_id


def keep(tenancy: Tenancy, number: int) -> int:
    return keep_spares(tenancy, number).made


def seed(session: Any) -> None:
    session.execute(text("INSERT INTO a (t) VALUES ('seeded')"))


def create(tenancy: Tenancy, key: str) -> str:
    return tenancy.create(key, domains=[f"{key}.test"]).status


def create_seeded(tenancy: Tenancy, key: str) -> str:
    return tenancy.create(key, domains=[f"{key}.test"], seed=seed).status


def assert_sound(tenancy: Tenancy, engine: Engine, number: int) -> None:
    """Assert that there are *number* spares, equal to the tenant "beta", and nothing else."""
    found = tenancy.list(status=Status.SPARE)
    assert len(found) == number
    for each in found:
        assert structure(engine, each.schema) == structure(engine, "t_beta")
    tenants = {tenant.schema for tenant in tenancy.list()}
    assert schemas(engine) == {"public", "shared", "tenantkit", *tenants, *(each.schema for each in found)}
    assert tenancy.diagnose() == []


@pytest.mark.all_cases
@pytest.mark.parametrize("repairs", [False, True], ids=["keep", "doctor"])
def test_after_a_kill_at_any_statement_of_keeping_the_next_keeper_or_doctor_recovers(
    repairs: bool, fleet: Make, environment: Environment, engine: Engine, dose: Callable[[int, int], int]
) -> None:
    tenancy = fleet()
    for key in ("beta", "gamma"):  # so that there is a script, and statements are few
        tenancy.create(key)
    before = fingerprint(engine, "t_beta")
    for number in count(1 + repairs, dose(225, 1)):
        # One is removed, and two are made.
        keep_spares(tenancy, 2)
        spoilt = tenancy.list(status=Status.SPARE)[0].schema
        with engine.begin() as connection:
            connection.exec_driver_sql(f'ALTER TABLE "{spoilt}".a ADD z int')
        with worker(engine.url, keep, 3, stop_at=number, migrations=str(environment.folder)) as victim:
            answer = victim.wait()
            victim.kill()
        until_alone(engine)
        if repairs:
            tenancy.repair()
            assert tenancy.diagnose() == []
        keep_spares(tenancy, 3)
        assert_sound(tenancy, engine, 3)
        assert fingerprint(engine, "t_beta") == before
        if answer != "stopped":
            assert number > 20, "the work ended before it had begun"
            break


@pytest.mark.all_cases
@pytest.mark.parametrize("work", [create, create_seeded])
def test_after_a_kill_at_any_statement_of_a_claim_the_next_creation_or_doctor_recovers(
    work: Callable[[Tenancy, str], str],
    fleet: Make,
    environment: Environment,
    engine: Engine,
    dose: Callable[[int, int], int],
) -> None:
    tenancy = fleet()
    for key in ("beta", "gamma"):
        tenancy.create(key)
    before = fingerprint(engine, "t_beta")
    for number in count(1, dose(9, 1)):
        keep_spares(tenancy, 2)
        with worker(engine.url, work, "acme", stop_at=number, migrations=str(environment.folder)) as victim:
            answer = victim.wait()
            victim.kill()
        until_alone(engine)
        tenancy.cache.clear()
        if number % 2:
            tenancy.repair()
        elif registered(engine).get("acme") != Status.ACTIVE:
            work(tenancy, "acme")
        if registered(engine).get("acme") is not None:
            assert tenancy.get_by_domain("acme.test").status == "active"
            assert structure(engine, tenancy.get("acme").schema) == structure(engine, "t_beta")
            with tenancy.session("acme") as session:
                rows = session.execute(text("SELECT t FROM a ORDER BY x")).scalars().all()
            assert rows == (["one", "seeded"] if work is create_seeded else ["one"])
            tenancy.drop("acme")
        with pytest.raises(TenantNotFoundError):
            tenancy.get("acme")
        with engine.begin() as connection:  # so that the key is as new
            connection.exec_driver_sql("DELETE FROM tenantkit.former_tenants")
        assert_sound(tenancy, engine, len(tenancy.list(status=Status.SPARE)))
        assert fingerprint(engine, "t_beta") == before
        if answer != "stopped":
            assert number > 4, "the work ended before it had begun"
            break


def test_a_claim_during_a_migration_leaves_no_failure(
    fleet: Make, environment: Environment, engine: Engine, spares: Spares
) -> None:
    """A spare that a run has planned to migrate is not claimed."""
    old = fleet()
    for key in ("beta", "gamma"):
        old.create(key)
    keeper = Keeper(old)
    assert keeper.keep(2).ready == 2
    environment.add("two", processes.waiting(7))
    new = fleet()
    with processes.closed_gate(engine, 7) as open_gate, ThreadPoolExecutor(1) as pool:
        running = pool.submit(migrate, new)
        processes.until_asleep(engine)
        old.create("acme")
        assert len(spares()) == 2
        report = keeper.keep(2)
        assert (report.ready, report.waiting) == (0, 2)
        open_gate()
        assert running.result().failures == ()
    assert [*spares().values()] == ["spare"] * 2


@pytest.mark.all_cases
@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_run_that_is_over_leaves_spares_to_claim(
    end: str, fleet: Make, environment: Environment, engine: Engine, spares: Spares
) -> None:
    tenancy = fleet()
    tenancy.create("beta")
    keep_spares(tenancy, 2)
    if end == "killed":
        environment.add("two", processes.waiting(7))
        with (
            processes.closed_gate(engine, 7),
            worker(engine.url, run, migrations=str(environment.folder)) as victim,
        ):
            processes.until_asleep(engine)
            victim.kill()
            with engine.connect() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = 'tenantkit worker'"
                )
            until_alone(engine)
    else:
        environment.add("two", 'op.execute("SELECT 1 / 0")')
        with pytest.raises(MigrationError):
            migrate(fleet(), max_failures=0, jobs=1)
    with engine.connect() as connection:
        query = "SELECT count(*) FROM tenantkit.outcomes WHERE status = 'planned'"
        assert connection.exec_driver_sql(query).scalar_one() > 0
    (environment.folder / "tenant" / "two.py").unlink()
    tenancy = fleet()
    report = keep_spares(tenancy, 2)
    assert (report.ready, report.waiting) == (2, 0)
    tenancy.create("acme")
    assert len(spares()) == 1
