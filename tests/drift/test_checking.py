"""The standard of each tenant, and the report."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import Tenancy
from tenantkit.drift import check, checking
from tenantkit.drift.catalog.reader import read_hashes
from tenantkit.exceptions import TenantNotFoundError
from tests.drift.conftest import EVERYTHING, Fleet, words_of
from tests.migrations.environments import Environment

ALIKE = """
op.create_table("project", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String), schema="tenant")
"""
NEXT = 'op.add_column("project", sa.Column("country_code", sa.String), schema="tenant")'


@pytest.fixture
def migrated(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Tenancy:
    """Two tenants at the first revision, and three at the second."""
    tenancy = make_tenancy(migrations=environment.folder)
    environment.add("r1", ALIKE)
    for key in ("old", "older"):
        tenancy.create(key)
    environment.add("r2", NEXT)
    tenancy = make_tenancy(migrations=environment.folder)
    for key in ("new", "newer", "newest"):
        tenancy.create(key)
    return tenancy


def run(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_tenants_are_compared_with_those_at_the_same_revision(migrated: Tenancy, engine: Engine) -> None:
    report = check(migrated)
    assert not report.has_drift
    assert [(group.revision, group.tenants, group.alike) for group in report.groups] == [("r2", 3, 3), ("r1", 2, 2)]
    run(engine, "ALTER TABLE t_old.project ADD COLUMN country_code varchar")
    report = check(migrated)
    assert words_of(report) == {"old": ["column project.country_code should not be there"]}


def test_a_tenant_alone_at_its_revision_is_compared_with_nothing(migrated: Tenancy, engine: Engine) -> None:
    migrated.drop("older")
    run(engine, "DROP TABLE t_old.project")
    report = check(migrated)
    assert report.alone == ("old",)
    assert [(group.revision, group.standard, group.tenants, group.alike) for group in report.groups] == [
        ("r2", "majority", 3, 3),
        ("r1", "nothing", 1, 0),
    ]
    assert check(migrated, tenants=["new"]).alone == ()


def test_a_tenant_alone_at_its_revision_is_compared_with_the_tables_of_the_revisions(
    migrated: Tenancy, engine: Engine
) -> None:
    migrated.drop("older")
    run(engine, "ALTER TABLE t_old.project ADD COLUMN country_code varchar")  # as half of r2 does
    report = check(migrated, models=True)
    assert words_of(report) == {"old": ["column project.country_code should not be there"]}
    assert report.alone == ()


def test_a_tenant_at_a_revision_that_the_code_does_not_have_is_compared_with_the_others(
    migrated: Tenancy, engine: Engine
) -> None:
    run(engine, "UPDATE t_old.alembic_version SET version_num = 'gone'")
    report = check(migrated, models=True)
    standards = {group.revision: group.standard for group in report.groups}
    assert standards == {"r2": "revisions", "r1": "revisions", "gone": "nothing"}
    assert report.alone == ("old",)


def test_each_tenants_script_names_the_losses_of_that_tenant(fleet: Fleet) -> None:
    fleet.tenancy.create("delta")
    fleet.run("delta", EVERYTHING.replace("$SCHEMA", '"t_delta"'))
    fleet.everywhere(
        "DROP INDEX ix_invoices_date; CREATE INDEX ix_invoices_date ON invoices (net)", keys=("acme", "beta")
    )
    fleet.tenancy.create("epsilon")
    fleet.run("epsilon", EVERYTHING.replace("$SCHEMA", '"t_epsilon"'))
    fleet.run("beta", "COMMENT ON INDEX ix_invoices_date IS 'mine'")
    (odd,) = fleet.check().odd
    assert list(odd.schemas) == ["acme", "beta"]
    lost = "-- Lost with index ix_invoices_date on invoices: its comment."
    assert [lost in odd.script(key) for key in odd.schemas] == [False, True]


def test_scripts_are_written_on_demand(fleet: Fleet) -> None:
    fleet.run("acme", "DROP INDEX ix_invoices_date")
    (odd,) = fleet.check(scripts=False).odd
    assert odd.scripts == {}


@pytest.mark.all_cases
def test_of_two_equally_frequent_shapes_the_newest_tenants_is_the_standard(fleet: Fleet) -> None:
    fleet.tenancy.drop("beta")
    fleet.run("gamma", "DROP INDEX ix_invoices_date")
    assert fleet.words() == {"acme": ["index ix_invoices_date on invoices should not be there"]}
    fleet.run("acme", "CREATE INDEX second ON invoices (net)")
    assert set(fleet.words()) == {"acme"}


def test_tenants_with_the_same_differences_are_grouped(fleet: Fleet) -> None:
    for key in ("delta", "epsilon"):
        fleet.tenancy.create(key)
    (odd,) = fleet.check().odd
    assert list(odd.schemas) == ["delta", "epsilon"]
    assert odd.script("epsilon") == odd.script("delta").replace("t_delta", "t_epsilon")


def test_a_report_on_some_tenants_compares_them_with_all(fleet: Fleet) -> None:
    fleet.everywhere("DROP INDEX ix_invoices_date", keys=("acme", "beta"))
    assert fleet.words(tenants=["gamma"]) == {"gamma": ["index ix_invoices_date on invoices should not be there"]}
    report = fleet.check(tenants=["acme"])
    assert not report.has_drift
    assert [(group.tenants, group.alike) for group in report.groups] == [(3, 2)]


def test_text_that_prevents_a_rename_of_the_schema_is_named_and_is_no_drift(migrated: Tenancy, engine: Engine) -> None:
    assert check(migrated).names_in_text == ()
    for key in ("new", "newer", "newest"):
        body = f"AS 'BEGIN RETURN (SELECT count(*) FROM t_{key}.project); END'"
        run(engine, f"CREATE FUNCTION t_{key}.counted() RETURNS bigint LANGUAGE plpgsql {body}")
    report = check(migrated)
    assert (report.has_drift, report.names_in_text) == (False, ("the body of counted()",))
    run(engine, "ALTER TABLE t_newer.project ALTER name SET DEFAULT 't_newer.x'")
    report = check(migrated)
    assert words_of(report).keys() == {"newer"}
    assert report.names_in_text == ("the body of counted()", "the default of project.name")
    assert check(migrated, tenants=["newest", "old"]).names_in_text == ("the body of counted()",)


def test_a_tenant_that_does_not_exist_is_refused(fleet: Fleet) -> None:
    with pytest.raises(TenantNotFoundError, match="nobody"):
        fleet.check(tenants=["acme", "nobody"])


def test_a_schema_that_is_missing_is_drift(fleet: Fleet) -> None:
    run(fleet.engine, "DROP SCHEMA t_beta CASCADE")
    report = fleet.check()
    assert report.has_drift
    assert report.missing == ("beta",)
    assert [(group.tenants, group.alike) for group in report.groups] == [(2, 2)]
    assert not fleet.check(tenants=["acme"]).has_drift


@pytest.mark.all_cases
def test_an_empty_schema_is_drift(fleet: Fleet) -> None:
    run(fleet.engine, "DROP SCHEMA t_beta CASCADE; CREATE SCHEMA t_beta")
    assert "table invoices is missing" in fleet.words()["beta"]
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    assert fleet.catalog("acme") == fleet.catalog("beta")


def test_suspended_tenants_are_compared_but_not_unfinished_ones(fleet: Fleet) -> None:
    fleet.tenancy.suspend("acme")
    fleet.run("acme", "DROP INDEX ix_invoices_date")
    assert set(fleet.words()) == {"acme"}
    run(fleet.engine, "UPDATE tenantkit.tenants SET status = 'provisioning' WHERE key = 'acme'")
    assert fleet.words() == {}


def test_a_fleet_without_tenants_has_no_drift(tenancy: Tenancy) -> None:
    report = check(tenancy)
    assert (report.groups, report.has_drift) == ((), False)


def test_a_tenant_that_is_migrated_meanwhile_is_left_out(
    migrated: Tenancy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def migrate_meanwhile(*arguments: Any) -> dict[str, int]:
        run(engine, "UPDATE t_old.alembic_version SET version_num = 'r2'")
        return read_hashes(*arguments)

    monkeypatch.setattr(checking, "read_hashes", migrate_meanwhile)
    report = check(migrated)
    assert report.moving == ("old",)
    assert not report.has_drift


def test_a_check_changes_nothing(migrated: Tenancy, engine: Engine) -> None:
    run(engine, "ALTER TABLE t_old.project ADD COLUMN country_code varchar")
    run(engine, f'ALTER DATABASE "{engine.url.database}" SET default_transaction_read_only = on')
    engine.dispose()
    migrated.engine.dispose()
    assert words_of(check(migrated)) == {"old": ["column project.country_code should not be there"]}


@pytest.mark.all_cases
def test_concurrent_ddl_does_not_disturb_a_check(fleet: Fleet) -> None:
    done = threading.Event()
    gone = [0]

    def come_and_go() -> None:
        while not done.is_set():
            fleet.run(
                "acme",
                "CREATE TABLE moment (id serial PRIMARY KEY, m mood DEFAULT 'ok' CHECK (m <> 'sad'), t text);"
                "CREATE VIEW glimpse AS SELECT * FROM moment; CREATE INDEX ON moment (lower(t)) WHERE m = 'ok'",
            )
            fleet.run("acme", "DROP TABLE moment CASCADE")
            gone[0] += 1

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(come_and_go)
        try:
            checks = 0
            while checks < 15 or gone[0] < 15:
                assert set(fleet.words()) <= {"acme"}
                checks += 1
        finally:
            done.set()
        going.result()
