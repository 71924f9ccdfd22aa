"""A database that is down fails its own tenants, by an error that names it, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import ExitStack, closing, suppress
from itertools import count
from typing import Any

import pytest
from sqlalchemy import URL, Engine, select
from sqlalchemy.exc import OperationalError

from tenantkit import ConfigurationError, MigrationError, ProvisioningError, Tenancy, drift, migrations
from tenantkit.lifecycle import rename, swap
from tests.isolation.two_databases import APPLICATION, EU, Note, dying, make_async, make_sync

DOWN = "the database 'eu' cannot be reached"


@pytest.fixture
def down(fleet: Tenancy, urls: tuple[URL, URL]) -> Generator[Tenancy]:
    """The same deployment, while nobody answers for the second database."""
    with closing(make_sync(urls[0], urls[1].set(port=1), migrations=fleet.migrations)) as tenancy:
        yield tenancy


def test_sessions_of_other_tenants_work(down: Tenancy) -> None:
    with down.session("m1") as session:
        assert session.scalars(select(Note)).all() == []
    with down.session("e1") as session, pytest.raises(OperationalError):
        session.scalars(select(Note)).all()


def test_installing_says_so_after_the_main_database_is_done(urls: tuple[URL, URL]) -> None:
    with closing(make_sync(urls[0], urls[1].set(port=1))) as tenancy:
        with pytest.raises(ConfigurationError, match=f"^T{DOWN[1:]}.*Repeat this"):
            tenancy.install()
        assert tenancy.list() == []


@pytest.mark.parametrize("options", [{}, {"jobs": 0}, {"engine": "alembic", "jobs": 1}, {"maintenance": True}])
def test_a_migration_goes_on_for_the_others(down: Tenancy, fleet: Tenancy, options: dict[str, Any]) -> None:
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(down, **options)
    report = failed.value.report
    assert sorted(outcome.key for outcome in report.migrated) == ["m0", "m1", "m2", "m3"]
    assert sorted(outcome.key for outcome in report.failures) == ["e0", "e1", "e2", "e3"]
    assert all(DOWN in (outcome.error or "") for outcome in report.failures)
    assert {tenant.status for tenant in fleet.list()} == {"active"}
    assert len(migrations.migrate(fleet).migrated) == 4
    (first, *_) = migrations.list_runs(fleet)
    assert (first.done, first.failed) == (4, 0)


def test_a_tenant_is_not_swapped_with_its_copy_there(down: Tenancy, fleet: Tenancy) -> None:
    fleet.suspend("e1")
    for dry_run in (True, False):
        with pytest.raises(ProvisioningError, match=f"'m1': swapping .*{DOWN}"):
            swap(down, "m1", "e1", any_tenant=True, dry_run=dry_run)
    assert [finding.subject for finding in fleet.diagnose()] == []


@pytest.mark.all_cases
def test_a_swap_that_was_killed_is_given_up_while_the_copy_cannot_be_reached(down: Tenancy, fleet: Tenancy) -> None:
    fleet.suspend("e1")
    for number in count(1):
        commits = count(1)
        with ExitStack() as dead, suppress(SystemExit):
            for name in ("main", "eu"):
                dead.enter_context(
                    dying(fleet.databases.engine(name), "commit", lambda *_, n=number, c=commits: next(c) == n)
                )
            swap(fleet, "m1", "e1", any_tenant=True)
        fleet.cache.clear()
        down.cache.clear()
        if fleet.get("m1").placement.database == "eu":
            break
        with suppress(ProvisioningError):
            down.repair()
        with down.session("m1") as session:
            session.add(Note(id=number, text="written"))
            session.commit()
        assert "m1" not in {finding.subject for finding in fleet.diagnose()}
    assert number > 5
    assert [finding.subject for finding in fleet.diagnose()] == ["e1"]


def test_a_tenant_there_gets_another_key_and_its_schema_no_other_name(down: Tenancy, fleet: Tenancy) -> None:
    with pytest.raises(ProvisioningError, match=DOWN):
        rename(down, "e1", "renamed", schema=True)
    assert rename(down, "e1", "renamed").tenant.schema == "t_e1"
    with fleet.session("renamed") as session:
        assert session.scalars(select(Note)).all() == []


def test_a_plan_and_the_status_name_it(down: Tenancy) -> None:
    refused = {outcome.key: outcome.error or "" for outcome in migrations.preview(down).refused}
    assert sorted(refused) == ["e0", "e1", "e2", "e3"]
    assert all(DOWN in error for error in refused.values())
    states = {each.key: (each.state, each.error) for each in migrations.status(down).placements}
    assert {state for key, (state, _) in states.items() if key.startswith("m")} == {"behind"}
    assert {state for key, (state, _) in states.items() if key.startswith("e")} == {"unreachable"}
    assert DOWN in (states["e0"][1] or "")


@pytest.mark.parametrize("models", [False, True])
def test_a_check_compares_the_others(down: Tenancy, models: bool) -> None:
    if models:
        migrations.upgrade_shared(down)
    report = drift.check(down, models=models)
    assert [(group.tenants, group.alike) for group in report.groups] == [(4, 4)]
    assert (report.missing, sorted(report.unreachable), report.has_drift) == ((), ["e0", "e1", "e2", "e3"], True)
    assert all(DOWN in problem for problem in report.unreachable.values())


def test_the_doctor_looks_into_the_others(down: Tenancy, main: Engine) -> None:
    with main.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA t_m1 CASCADE")
    found = [(finding.subject, finding.repair) for finding in down.diagnose()]
    assert found == [("database eu", None), ("m1", None)]
    assert DOWN in down.repair()[0].problem


def test_repairs_in_other_databases_are_made(down: Tenancy, main: Engine) -> None:
    with main.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'failed' WHERE key IN ('e0', 'm0')")
    with pytest.raises(ProvisioningError, match=DOWN):
        down.repair()
    assert sorted(tenant.key for tenant in down.list(status="failed")) == ["e0"]


def test_tenants_stay_in_maintenance_until_it_is_known_that_nobody_works_on_them(
    down: Tenancy, fleet: Tenancy, main: Engine
) -> None:
    with main.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'maintenance', claim = 'run 77'")
    down.repair()
    assert sorted(tenant.key for tenant in down.list(status="maintenance")) == ["e0", "e1", "e2", "e3"]
    fleet.repair()
    assert fleet.list(status="maintenance") == []


def test_a_tenant_is_neither_created_nor_dropped_there(down: Tenancy, fleet: Tenancy) -> None:
    before = fleet.list()
    with pytest.raises(ProvisioningError, match=DOWN):
        down.create("e9", attributes=EU)
    with pytest.raises(ProvisioningError, match=DOWN) as refused:
        down.drop("e1")
    assert refused.value.step == "dropping"
    assert fleet.list() == before
    down.drop("m1")
    assert down.create("m1").status == "active"


def test_a_removal_that_had_begun_is_finished_when_it_is_back(down: Tenancy, fleet: Tenancy, main: Engine) -> None:
    with main.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'dropping' WHERE key = 'e1'")
    for act in (down.drop, down.create):
        with pytest.raises(ProvisioningError, match=DOWN):
            act("e1")
    assert fleet.drop("e1").status == "dropping"


def test_a_rollback_takes_the_others_back(down: Tenancy, fleet: Tenancy) -> None:
    run = migrations.migrate(fleet).run_id
    with pytest.raises(MigrationError) as failed:
        migrations.downgrade_run(down, run)
    assert sorted(outcome.key for outcome in failed.value.report.migrated) == ["m0", "m1", "m2", "m3"]
    assert all(DOWN in (outcome.error or "") for outcome in failed.value.report.failures)


def test_urls_that_were_exchanged_are_refused(fleet: Tenancy, urls: tuple[URL, URL], make_database: Any) -> None:
    third = make_database()
    with closing(make_sync(urls[0], third)) as other:
        other.install()
    engines = {"main": urls[0], "eu": third, "us": urls[1]}
    with closing(Tenancy(engines, **APPLICATION)) as exchanged:
        with exchanged.session("m0") as session:
            assert session.scalars(select(Note)).all() == []
        with pytest.raises(ConfigurationError, match=r"'us' is marked as 'database eu of registry .*exchanged"):
            exchanged.install()
    alias = urls[0].set(drivername="postgresql+psycopg", port=None, query={"host": f"{urls[0].query['host']}/"})
    with (
        closing(Tenancy({"main": urls[0], "eu": alias}, **APPLICATION)) as twice,
        pytest.raises(ConfigurationError, match="'eu' has a registry of its own"),
    ):
        twice.install()


def test_the_database_of_another_deployment_is_refused(
    fleet: Tenancy, urls: tuple[URL, URL], make_database: Any
) -> None:
    with closing(make_sync(make_database(), urls[1])) as other:
        with pytest.raises(ConfigurationError, match=r"is marked as 'database eu of registry .* run in it: COMMENT ON"):
            other.install()
        with pytest.raises(ConfigurationError, match="is marked as 'database eu of registry"):
            other.create("e0", database="eu")


@pytest.mark.parametrize("is_main", [False, True], ids=["its second database", "its registry"])
@pytest.mark.parametrize("driver", [None, "psycopg", "asyncpg"], ids=str)
def test_a_session_does_not_reach_the_database_of_another_deployment(
    fleet: Tenancy,
    urls: tuple[URL, URL],
    make_database: Any,
    driver: str | None,
    is_main: bool,
) -> None:
    """Theirs has a tenant of the same key, in a schema of the same name."""
    main, theirs = urls[0], (make_database(), make_database())
    with closing(make_sync(*theirs)) as other:
        other.install()
        other.create("e0", database="main" if is_main else "eu")
    wrong = theirs[0] if is_main else theirs[1]
    said = "'eu' has a registry of its own" if is_main else r"'eu' is marked as .* of registry .* of another deployment"

    async def read() -> None:
        tenancy = make_async(
            *(url.set(drivername=f"postgresql+{driver}") for url in (main, wrong)), direct=(main, wrong)
        )
        try:
            async with tenancy.session("e0") as session:
                await session.scalars(select(Note))
        finally:
            await tenancy.close()

    with pytest.raises(ConfigurationError, match=said):
        if driver is not None:
            asyncio.run(read())
        with closing(make_sync(main, wrong)) as tenancy, tenancy.session("e0") as session:
            session.scalars(select(Note)).all()
    with closing(make_sync(main, wrong)) as tenancy:
        with tenancy.session("m0") as session:
            assert session.scalars(select(Note)).all() == []
        for act in (tenancy.repair, lambda: tenancy.create("e9", database="eu"), lambda: tenancy.drop("e0")):
            with pytest.raises(ConfigurationError, match=said):
                act()
    with closing(make_sync(*theirs)) as other:
        assert [tenant.key for tenant in other.list()] == ["e0"]
        assert other.diagnose() == []


def test_a_database_that_has_lost_its_mark_gets_it_again(fleet: Tenancy, urls: tuple[URL, URL], eu: Engine) -> None:
    """A dump without comments was restored."""
    read = "SELECT obj_description('tenantkit'::regnamespace)"
    with eu.begin() as connection:
        before = connection.exec_driver_sql(read).scalar_one()
        connection.exec_driver_sql("COMMENT ON SCHEMA tenantkit IS NULL")
    with closing(make_sync(*urls)) as restored:
        restored.install()
    with eu.connect() as connection:
        assert connection.exec_driver_sql(read).scalar_one() == before


def test_a_database_of_an_earlier_version_or_a_copy_is_completed(fleet: Tenancy, eu: Engine) -> None:
    """It has no mark and no ledger."""
    with eu.begin() as connection:
        connection.exec_driver_sql("DROP TABLE tenantkit.outcomes; COMMENT ON SCHEMA tenantkit IS NULL")
    assert len(migrations.migrate(fleet).migrated) == 8
    assert {(run.done, run.planned) for run in migrations.list_runs(fleet)} == {(8, 0)}
