"""The rule of lint for common tables agrees with their migration."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import pytest
from sqlalchemy import URL

from tenantkit import MigrationError, Tenancy, migrations
from tenantkit.lint import lint, squawk
from tests.isolation.row.conftest import make_owner
from tests.isolation.row.revisions.conftest import fill
from tests.migrations.environments import Environment

STEPS = [
    "op.bulk_insert(sa.table('account', sa.column('name'), schema='tenant'), [{'name': 'x'}])",
    "op.execute(\"INSERT INTO account (name) VALUES ('x')\")",
    "op.execute(\"INSERT INTO account (name) SELECT 'x'\")",
    "op.execute(\"INSERT INTO account (name) SELECT 'x' WHERE EXISTS (SELECT FROM account WHERE id < 0)\")",
    "op.execute('INSERT INTO account (id, name) SELECT id + 5, name || 5 FROM account')",
    "op.execute('INSERT INTO account (name) SELECT name FROM shared.plan')",
    "op.execute('DELETE FROM invoice RETURNING id')",
    "op.execute('WITH gone AS (DELETE FROM invoice RETURNING id) INSERT INTO account (id) SELECT id + 7 FROM gone')",
    "op.execute('DELETE FROM invoice')",
    "op.execute('UPDATE invoice SET amount = 1')",
    "op.get_bind().exec_driver_sql('UPDATE invoice SET amount = 1')",
    "op.get_bind().execute(sa.text('UPDATE invoice SET amount = 1'))",
    "op.execute('MERGE INTO invoice USING account a ON a.id = account_id WHEN MATCHED THEN UPDATE SET amount = 4')",
    "op.execute('DO $$ BEGIN UPDATE invoice SET amount = 1; END $$')",
    "op.execute('DO $$ BEGIN PERFORM FROM invoice; END $$')",
    "op.execute('DO $$ BEGIN PERFORM 1; END $$')",
    "op.get_bind().execute(sa.select(sa.table('account', sa.column('id'), schema='tenant')))",
    "op.get_bind().execute(sa.text('SELECT * FROM account')).all()",
    "op.get_bind().execute(sa.text('SELECT * FROM shared.plan')).all()",
    "op.execute(\"SELECT setval('account_id_seq', (SELECT max(id) FROM account))\")",
    "op.execute(\"SELECT setval('account_id_seq', 99)\")",
    "op.execute('ALTER TABLE account DISABLE ROW LEVEL SECURITY')",
    "op.execute('ALTER TABLE account NO FORCE ROW LEVEL SECURITY')",
    "op.execute('DROP POLICY tenantkit ON account')",
    "op.execute('DROP POLICY IF EXISTS other ON account')",
    "op.execute('ALTER POLICY tenantkit ON account USING (true)')",
    "op.execute('CREATE POLICY more ON account USING (true)')",
    "op.execute('ALTER TABLE account DISABLE TRIGGER ALL')",
    "op.execute('ALTER TABLE account DISABLE TRIGGER USER')",
    "op.execute('ALTER TABLE account DISABLE TRIGGER tenantkit')",
    "op.execute('DROP TRIGGER tenantkit ON account')",
    "op.execute('CREATE FUNCTION f() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM account $$')",
    "op.execute('CREATE VIEW v AS SELECT id FROM account')",
    "op.execute('CREATE MATERIALIZED VIEW v AS SELECT id FROM account')",
    "op.execute('CREATE MATERIALIZED VIEW v AS SELECT 1 AS id')",
    "op.execute('CREATE TABLE mine (id int)')",
    "op.execute('CREATE TABLE mine AS SELECT id FROM account')",
    "op.execute('CREATE TABLE mine AS SELECT 1 AS id')",
    "op.execute('CREATE TEMP TABLE mine (id int)')",
    "op.execute('CREATE TEMP TABLE mine AS SELECT id FROM account')",
    "op.execute('SELECT id INTO mine FROM account')",
    "op.execute('CREATE UNIQUE INDEX u ON account (kind)')",
    "op.execute('CREATE UNIQUE INDEX u ON account (tenant_id, name)')",
    "op.execute('CREATE UNIQUE INDEX u ON account (name, tenant_id)')",
    "op.execute('CREATE UNIQUE INDEX u ON account (name) INCLUDE (tenant_id)')",
    "op.execute('CREATE INDEX u ON account (kind)')",
    "op.execute('ALTER TABLE account ADD UNIQUE (name, kind)')",
    "op.execute('ALTER TABLE account ADD UNIQUE (tenant_id, name, kind)')",
    "op.execute('ALTER TABLE invoice ADD twin int UNIQUE')",
    "op.execute('ALTER TABLE account ADD EXCLUDE (name WITH =)')",
    "op.execute('ALTER TABLE account ADD EXCLUDE (tenant_id WITH =, name WITH =)')",
    "op.execute('ALTER TABLE account DROP CONSTRAINT account_pkey CASCADE, ADD PRIMARY KEY (id)')",
    "op.execute('ALTER TABLE invoice ADD twin int REFERENCES account (id)')",
    "op.execute('ALTER TABLE invoice ADD FOREIGN KEY (amount) REFERENCES account (id)')",
    "op.execute('ALTER TABLE invoice ADD twin int, ADD FOREIGN KEY (tenant_id, twin) REFERENCES account (tenant_id, id)')",
    "op.execute('ALTER TABLE invoice ADD FOREIGN KEY (tenant_id, amount) REFERENCES account (tenant_id, id)')",
    "op.execute('ALTER TABLE invoice ADD FOREIGN KEY (tenant_id, amount) REFERENCES account (tenant_id, id) NOT VALID')",
    "op.execute('ALTER TABLE invoice ADD p text REFERENCES shared.plan')",
    "op.execute('ALTER TABLE invoice ADD p text; UPDATE invoice SET amount = 1')",
    "op.execute('UPDATE invoice SET amount = 1; ALTER TABLE invoice ADD p text')",
    "op.execute('UPDATE invoice SET amount = 1; UPDATE account SET kind = NULL')",
    "op.execute('ALTER TABLE invoice ADD p int CHECK (p > 0)')",
    "op.execute('ALTER TABLE invoice ALTER amount TYPE bigint USING amount + 1')",
    "op.execute('TRUNCATE invoice')",
    "op.execute('LOCK TABLE invoice')",
    "op.execute('ALTER TABLE account ALTER tenant_id DROP NOT NULL')",
    "op.execute('ALTER TABLE account ALTER tenant_id DROP DEFAULT')",
    "op.execute('ALTER TABLE account DROP tenant_id CASCADE')",
    "op.execute('ALTER TABLE account RENAME TO accounts')",
    "op.create_unique_constraint('u', 'account', ['kind', 'name'], schema='tenant')",
    "op.create_exclude_constraint('u', 'account', ('name', '='), schema='tenant')",
    "op.add_column('invoice', sa.Column('t', sa.Integer, unique=True), schema='tenant')",
    "op.add_column('invoice', sa.Column('t', sa.Integer, sa.ForeignKey('tenant.account.id')), schema='tenant')",
    "op.create_table('mine', sa.Column('id', sa.Integer, primary_key=True), schema='tenant')",
    "op.execute(sa.schema.CreateTable(sa.Table('mine', sa.MetaData(), sa.Column('id', sa.Integer, primary_key=True), schema='tenant')))",
    "op.create_index_concurrently('ix', 'invoice', ['amount'], schema='tenant')",
    "op.execute('ALTER TABLE account NO FORCE ROW LEVEL SECURITY')\nop.execute('ALTER TABLE account FORCE ROW LEVEL SECURITY')",
    "op.execute('ALTER TABLE account FORCE ROW LEVEL SECURITY')\nop.execute('ALTER TABLE account NO FORCE ROW LEVEL SECURITY')",
    *(
        f"op.execute('ALTER TABLE account {opens}')\n{uses}\nop.execute('ALTER TABLE account {closes}')"
        for opens, closes in (
            ("NO FORCE ROW LEVEL SECURITY", "FORCE ROW LEVEL SECURITY"),
            ("DISABLE ROW LEVEL SECURITY", "ENABLE ROW LEVEL SECURITY"),
            ("DISABLE TRIGGER tenantkit", "ENABLE TRIGGER tenantkit"),
        )
        for uses in (
            "op.execute('UPDATE account SET kind = NULL')",
            "op.execute('DELETE FROM invoice')",
            "op.execute('SELECT 1')",
            "op.execute('DO $$ BEGIN END $$')",
            "op.execute('COMMENT ON TABLE account IS NULL')",
        )
    ),
    (
        "op.execute('DO $$ BEGIN ALTER TABLE account NO FORCE ROW LEVEL SECURITY; END $$')\n"
        "op.execute('UPDATE account SET kind = NULL')\nop.execute('ALTER TABLE account FORCE ROW LEVEL SECURITY')"
    ),
    (
        "op.execute('ALTER TABLE account NO FORCE ROW LEVEL SECURITY')\nop.execute('ALTER TABLE account FORCE ROW LEVEL SECURITY')\n"
        "op.execute('UPDATE account SET kind = NULL')"
    ),
    (
        "op.execute('UPDATE account SET kind = NULL')\nop.execute('ALTER TABLE account NO FORCE ROW LEVEL SECURITY')\n"
        "op.execute('ALTER TABLE account FORCE ROW LEVEL SECURITY')"
    ),
    'op.execute("INSERT INTO account DEFAULT VALUES")',
    'op.execute("INSERT INTO account (id) SELECT generate_series(7, 9)")',
    'op.execute("INSERT INTO account (id) SELECT n FROM generate_series(7, 9) AS n")',
    'op.execute("WITH a AS (SELECT id FROM account) INSERT INTO account (id) SELECT id + 3 FROM a")',
    'op.execute("WITH a AS (SELECT 9 AS id) INSERT INTO account (id) SELECT id FROM a")',
    "op.execute('WITH x AS (UPDATE invoice SET amount = 3) SELECT 1')",
    "op.execute('CREATE TEMP TABLE mine (id int)')\nop.execute('INSERT INTO mine VALUES (1)')",
    "op.execute('CREATE TEMP TABLE mine (id int)')\nop.get_bind().execute(sa.text('SELECT * FROM mine'))",
    "op.get_bind().exec_driver_sql('SELECT 1')",
    "op.get_bind().exec_driver_sql('ALTER TABLE account ADD p int')",
    "op.get_bind().exec_driver_sql('CREATE UNIQUE INDEX u ON account (kind)')",
    "op.execute(sa.table('invoice', sa.column('amount'), schema='tenant').update().values(amount=2))",
    "op.execute(sa.table('account', sa.column('id'), schema='tenant').insert().values(id=9))",
    "op.execute(sa.table('invoice', sa.column('amount'), schema='tenant').delete())",
    "op.execute(sa.table('invoice', sa.column('id'), schema='tenant').update().values(id=2).returning(sa.column('id')))",
    "op.create_index('u', 'account', ['kind', 'name'], unique=True, schema='tenant')",
    "op.create_check_constraint('c', 'account', 'id > 0', schema='tenant')",
    "op.drop_table('invoice', schema='tenant')",
    "op.drop_column('invoice', 'amount', schema='tenant')",
    "op.execute('CREATE UNIQUE INDEX u ON account (lower(name))')",
    "op.execute('CREATE UNIQUE INDEX u ON account (tenant_id, lower(name))')",
    "op.execute('CREATE TABLE mine (LIKE account INCLUDING ALL)')",
    "op.execute('CREATE VIEW v AS SELECT 1 AS id')",
    "op.execute('CREATE SEQUENCE mine')",
    "op.execute(\"COMMENT ON TABLE account IS 'x'\")",
    "op.execute('CREATE TRIGGER mine BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()')",
    "op.execute('ANALYZE account')",
]


@pytest.fixture
def fleet(url: URL, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Generator[Tenancy]:
    """Two tenants in common tables, with accounts and invoices of the same ids, and a shared table with a row."""
    monkeypatch.setattr(squawk, "find", lambda: None)
    with closing(make_owner(url, migrations=environment.folder, isolation="row")) as tenancy:
        migrations.migrate(tenancy)
        for number in range(2):
            tenancy.create(f"row{number}", seed=fill)
        with tenancy.shared_session() as session:
            session.connection().exec_driver_sql("INSERT INTO shared.plan VALUES ('free')")
            session.commit()
        yield tenancy


def test_lint_finds_what_a_migration_of_common_tables_refuses(
    fleet: Tenancy, environment: Environment, all_cases: bool
) -> None:
    wrong: dict[str, list[str]] = {}
    for step in STEPS if all_cases else STEPS[::5]:
        environment.add("r2", step, after="r1")
        preview = migrations.preview(fleet, scripts=True)
        [rehearsal] = [group.rehearsal for group in preview.groups]
        assert rehearsal is not None, step
        found = [each.message for each in lint(fleet, ["r2"]).findings if each.code == "TK012"]
        if bool(found) != bool(rehearsal.failures):
            wrong[step] = found or [str(each.error) for each in rehearsal.failures]
    assert wrong == {}


LONG_CHANGES = {
    "op.backfill('account', {'kind': 'a'}, where='kind IS NULL', schema='tenant')": True,
    "op.add_required_column('account', sa.Column('n', sa.Integer), value='id', schema='tenant')": True,
    "op.create_foreign_key_concurrently('fk', 'invoice', 'account', ['amount'], ['id'], source_schema='tenant', referent_schema='tenant')": True,
    "op.create_index_concurrently('ix', 'invoice', ['amount'], schema='tenant')": False,
    "op.create_check_constraint_concurrently('ck', 'invoice', 'amount > -1', schema='tenant')": False,
}  # fmt: skip


@pytest.mark.some_values(step=3)
@pytest.mark.parametrize("step", LONG_CHANGES)
def test_lint_finds_long_changes_that_are_refused(fleet: Tenancy, environment: Environment, step: str) -> None:
    """They are not rehearsed."""
    environment.add("r2", step)
    found = [each.message for each in lint(fleet, ["r2"]).findings if each.code == "TK012"]
    try:
        migrations.migrate(fleet)
        failed = False
    except MigrationError:
        failed = True
    assert bool(found) is failed is LONG_CHANGES[step], found


def test_the_rule_is_for_deployments_with_common_tables(fleet: Tenancy, environment: Environment) -> None:
    environment.add("r2", "op.execute('DROP POLICY tenantkit ON account')")
    with closing(make_owner(fleet.engine.url, migrations=environment.folder)) as by_default:
        assert not [each for each in lint(by_default, ["r2"]).findings if each.code == "TK012"]
        [found] = [each for each in lint(by_default, ["r2"], enable=["tk012"]).findings if each.code == "TK012"]
    assert "it opens the table to all tenants" in found.message
