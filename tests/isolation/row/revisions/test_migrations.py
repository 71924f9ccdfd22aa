"""The same revisions, written into common tables in their physical form."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from tenantkit import MigrationError, ProvisioningError, Tenancy, drift, migrations
from tests.isolation.row.conftest import APP, make_owner
from tests.isolation.row.models import APPLICATION
from tests.isolation.row.revisions.conftest import fill
from tests.migrations.environments import Environment

R2 = """
op.add_column("invoice", sa.Column("number", sa.String), schema="tenant")
op.create_unique_constraint("uq_number", "invoice", ["number"], schema="tenant")
op.add_column("invoice", sa.Column("payer_id", sa.Integer), schema="tenant")
op.create_foreign_key("fk_payer", "invoice", "account", ["payer_id"], ["id"],
    source_schema="tenant", referent_schema="tenant")
op.create_index("ix_number", "invoice", ["number", "amount"], unique=True, schema="tenant")
op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), schema="tenant")
"""
R2_BACK = """
op.drop_table("note", schema="tenant")
op.drop_index("ix_number", "invoice", schema="tenant")
op.drop_constraint("fk_payer", "invoice", schema="tenant")
op.drop_constraint("uq_number", "invoice", schema="tenant")
op.drop_column("invoice", "payer_id", schema="tenant")
op.drop_column("invoice", "number", schema="tenant")
"""


@pytest.fixture
def fleet(url: URL, environment: Environment) -> Generator[Tenancy]:
    """Three tenants in common tables, each with an account and an invoice of the same ids, and three schemas."""
    with closing(make_owner(url, migrations=environment.folder)) as tenancy:
        migrations.migrate(tenancy)
        for number in range(3):
            for kind in ("row", "schema"):
                tenancy.create(f"{kind}{number}", isolation=kind, seed=fill)
        yield tenancy


def _keys(engine: Engine) -> dict[str, str]:
    found = """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'rows'::regnamespace AND conname <> 'alembic_version_pkc' AND contype IN ('p', 'u', 'f')"""
    with engine.connect() as connection:
        return {row.conname: row[1] for row in connection.exec_driver_sql(found)}


def _read(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_one_run_migrates_common_tables_and_schemas(fleet: Tenancy, environment: Environment, engine: Engine) -> None:
    environment.add("r2", R2, R2_BACK)
    before = _keys(engine)
    assert before == {
        "account_pkey": "PRIMARY KEY (tenant_id, id)",
        "account_name_key": "UNIQUE (tenant_id, name)",
        "invoice_pkey": "PRIMARY KEY (tenant_id, id)",
        "invoice_account_id_fkey": "FOREIGN KEY (tenant_id, account_id) REFERENCES rows.account(tenant_id, id) "
        "ON DELETE SET NULL (account_id)",
    }
    report = migrations.migrate(fleet)
    assert report.failures == ()
    assert sorted(outcome.schema for outcome in report.migrated) == ["rows", "t_schema0", "t_schema1", "t_schema2"]
    assert report.engines == {"alembic": 3, "replay": 1}
    after = _keys(engine)
    assert after["uq_number"] == "UNIQUE (tenant_id, number)"
    assert after["fk_payer"].startswith("FOREIGN KEY (tenant_id, payer_id)")
    assert fleet.diagnose() == []
    assert {placement.state for placement in migrations.status(fleet).placements} == {"current"}
    assert migrations.migrate(fleet).unchanged == 4
    assert not drift.check(fleet).has_drift
    migrations.downgrade_run(fleet, report.run_id)
    assert _keys(engine) == before


def test_a_preview_names_the_common_schema(fleet: Tenancy, environment: Environment, engine: Engine) -> None:
    environment.add("r2", R2, R2_BACK)
    preview = migrations.preview(fleet, scripts=True)
    assert sorted(sorted({each.schema for each in group.placements}) for group in preview.groups) == [
        ["rows"],
        ["t_schema0", "t_schema1", "t_schema2"],
    ]
    assert {group.rehearsal and group.rehearsal.failures for group in preview.groups} == {()}
    assert "number" not in str(
        _read(engine, "SELECT attname FROM pg_attribute WHERE attrelid = 'rows.invoice'::regclass")
    )


@pytest.mark.parametrize(
    "step",
    [
        "op.execute('UPDATE invoice SET amount = a.id + length(a.name) FROM account a WHERE a.id = account_id')",
        "op.execute('-- of each\\n WITH a AS (SELECT * FROM account) UPDATE invoice SET amount = 1 + length(a.name) FROM a')",
        """
        account = sa.table("account", sa.column("id"), sa.column("name"), schema="tenant")
        invoice = sa.table("invoice", sa.column("account_id"), sa.column("amount"), schema="tenant")
        op.execute(invoice.update().values(amount=account.c.id + sa.func.length(account.c.name))
            .where(account.c.id == invoice.c.account_id))
        """,
    ],
)
def test_a_data_step_is_executed_for_each_tenant(
    fleet: Tenancy, environment: Environment, engine: Engine, step: str
) -> None:
    """Over all tenants at once, each invoice would be joined with the accounts of all."""
    fleet.create("longer-key", isolation="row", seed=fill)
    environment.add("r2", step)
    migrations.migrate(fleet)
    sums = "SELECT tenants.key, amount FROM rows.invoice JOIN tenantkit.tenants ON tenants.id = tenant_id ORDER BY 1"
    assert _read(engine, sums) == [("longer-key", 11), ("row0", 5), ("row1", 5), ("row2", 5)]
    assert _read(engine, "SELECT amount FROM t_schema0.invoice") == [(8,)]


def test_rows_are_moved_between_tables_for_each_tenant(
    fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    environment.add("r2", 'op.execute("INSERT INTO account (id, name) SELECT id + 1, id::text FROM invoice")')
    migrations.migrate(fleet)
    assert _read(engine, "SELECT count(*), count(DISTINCT tenant_id) FROM rows.account") == [(6, 3)]
    fleet.create("late", isolation="row")
    assert _read(engine, "SELECT count(*) FROM rows.account") == [(6,)]


@pytest.mark.some_values(step=8)
@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("op.execute('CREATE TABLE mine (id int)')", "lacks the tenant column"),
        ("op.execute('ALTER TABLE account NO FORCE ROW LEVEL SECURITY')", "row security enabled and forced"),
        ("op.execute('CREATE POLICY more ON account USING (true)')", "2 policies"),
        ("op.execute('CREATE UNIQUE INDEX mine ON account (kind)')", "over all tenants"),
        ("op.execute('ALTER TABLE invoice ADD twin int UNIQUE')", "over all tenants"),
        ("op.execute('CREATE UNIQUE INDEX mine ON account (kind) INCLUDE (tenant_id)')", "over all tenants"),
        ("op.execute('ALTER TABLE account ADD EXCLUDE (name WITH =)')", "over all tenants"),
        ("op.execute('CREATE MATERIALIZED VIEW names AS SELECT 1 AS name')", "'names' .* is a materialized view"),
        (
            (
                "op.create_table('lease', sa.Column('id', sa.Uuid, primary_key=True),"
                " sa.Column('tenant_id', sa.BigInteger), schema='tenant')"
            ),
            "declares a column 'tenant_id'",
        ),
        (
            "op.add_column('invoice', sa.Column('tenant_id', sa.BigInteger), schema='tenant', if_not_exists=True)",
            "declares a column 'tenant_id'",
        ),
        ("op.execute('ALTER TABLE account ALTER tenant_id DROP NOT NULL')", "NULL|primary key"),
        ("op.backfill('account', {'kind': 'a'}, where='kind IS NULL', schema='tenant')", "does not support a backfill"),
        (
            "op.create_foreign_key_concurrently('fk', 'invoice', 'account', ['amount'], ['id'], source_schema='tenant', referent_schema='tenant')",
            "a foreign key of common tables is validated",
        ),
    ],
)
def test_what_is_not_supported_is_refused_and_nothing_is_done(
    fleet: Tenancy, environment: Environment, engine: Engine, step: str, problem: str
) -> None:
    environment.add("r2", step)
    tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'rows'::regnamespace"
    before = _read(engine, tables), _read(engine, "SELECT * FROM rows.account")
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(fleet, tenants=["row0"])
    (failure,) = failed.value.report.failures
    assert re.search(problem, failure.error or ""), failure.error
    assert (_read(engine, tables), _read(engine, "SELECT * FROM rows.account")) == before
    assert fleet.diagnose() == []


def test_common_tables_are_not_migrated_by_a_login_without_row_security(
    fleet: Tenancy, environment: Environment, url: URL, engine: Engine
) -> None:
    """Each tenant's step would change the rows of all tenants."""
    environment.add("r2", "op.execute('UPDATE invoice SET amount = amount + 1')")
    superuser = closing(Tenancy(url, **APPLICATION, listen=False, grant_to=APP, migrations=environment.folder))
    with superuser as tenancy, pytest.raises(MigrationError) as failed:
        migrations.migrate(tenancy, tenants=["row0"])
    assert "as an ordinary role that owns the tables" in (failed.value.report.failures[0].error or "")
    assert _read(engine, "SELECT DISTINCT amount FROM rows.invoice") == [(0,)]


def test_maintenance_is_refused_for_common_tables(fleet: Tenancy, environment: Environment) -> None:
    environment.add("r2", R2)
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(fleet, maintenance=True)
    assert [failure.schema for failure in failed.value.report.failures] == ["rows"]
    assert "Migrate it without maintenance" in (failed.value.report.failures[0].error or "")
    assert {tenant.status for tenant in fleet.list()} == {"active"}


def test_a_tenant_is_not_created_in_tables_that_wait_for_a_migration(fleet: Tenancy, environment: Environment) -> None:
    environment.add("r2", R2, R2_BACK)
    with closing(make_owner(fleet.engine.url, migrations=environment.folder)) as newer:
        with pytest.raises(ProvisioningError, match="Run 'tenantkit migrate' first"):
            newer.create("late", isolation="row")
        migrations.migrate(newer)
        assert newer.create("late", isolation="row").status == "active"


def test_a_first_tenant_is_created_with_all_revisions(url: URL, environment: Environment, engine: Engine) -> None:
    environment.add("r2", R2, R2_BACK)
    environment.add("r3", "op.execute('UPDATE account SET kind = NULL')")
    environment.add("r4", "op.backfill('account', {'kind': 'a'}, where='kind IS NULL', schema='tenant')")
    environment.add("r5", ONLINE["foreign key"][0].replace("foreign_key(", "foreign_key_concurrently("))
    with closing(make_owner(url, migrations=environment.folder)) as tenancy:
        migrations.migrate(tenancy)
        tenancy.create("first", isolation="row")
        assert tenancy.at_revision("first", "r5")
        assert _keys(engine)["fk"].endswith("REFERENCES rows.account(tenant_id, id)")
        assert tenancy.diagnose() == []


ONLINE: dict[str, tuple[str, str]] = {
    "index": (
        'op.create_index_concurrently("ix", "invoice", ["amount"], schema="tenant")',
        "SELECT pg_get_indexdef('rows.ix'::regclass) LIKE '%%(tenant_id, amount)'",
    ),
    "unique index": (
        'op.create_index_concurrently("ix", "invoice", ["account_id"], unique=True, schema="tenant")',
        "SELECT pg_get_indexdef('rows.ix'::regclass) LIKE '%%(tenant_id, account_id)'",
    ),
    "foreign key": (
        'op.create_foreign_key("fk", "invoice", "account", ["amount"], ["id"], source_schema="tenant", referent_schema="tenant")',
        "SELECT convalidated AND cardinality(conkey) = 2 FROM pg_constraint WHERE conname = 'fk' AND connamespace = 'rows'::regnamespace",
    ),
    "check": (
        'op.create_check_constraint_concurrently("positive", "invoice", "amount >= 0", schema="tenant")',
        "SELECT convalidated FROM pg_constraint WHERE conname = 'positive' AND connamespace = 'rows'::regnamespace",
    ),
}


@pytest.mark.parametrize("way", ONLINE)
def test_operations_in_steps_work_on_common_tables(
    fleet: Tenancy, environment: Environment, engine: Engine, way: str
) -> None:
    step, check = ONLINE[way]
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rows.invoice SET amount = account_id")
        for schema in ("t_schema0", "t_schema1", "t_schema2"):
            connection.exec_driver_sql(f"UPDATE {schema}.invoice SET amount = account_id")
    environment.add("r2", step)
    migrations.migrate(fleet)
    assert _read(engine, check) == [(True,)]
    assert fleet.diagnose() == []
    assert _read(
        engine,
        "SELECT bool_and(relforcerowsecurity) FROM pg_class WHERE relname IN ('account', 'invoice') AND relnamespace = 'rows'::regnamespace",
    ) == [(True,)]


@pytest.mark.parametrize("way", ["foreign key", "check"])
def test_what_rows_violate_is_not_validated(fleet: Tenancy, environment: Environment, engine: Engine, way: str) -> None:
    """Row security would hide the rows from a check of the owner."""
    step, check = ONLINE[way]
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rows.invoice SET amount = -1")
    environment.add("r2", step)
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(fleet, tenants=["row0"])
    assert failed.value.report.failures[0].sqlstate in {"23503", "23514"}
    assert _read(engine, check) in ([], [(False,)])
    assert fleet.diagnose() == []
