"""For each rule, what breaks it, what does not, and that a comment silences it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.lint.conftest import Lint
from tests.lint.snippets import revision


@dataclass(frozen=True)
class Case:
    """A piece of a revision, and what is found in its first line."""

    code: str
    upgrade: str
    says: str
    line: str = "tenant"
    head: str = ""


LONG = "x" * 64
EXPAND = "phase = 'expand'"
IN_BLOCK = "with op.get_context().autocommit_block():"

BAD = [
    # TK000: it cannot be run without a database.
    Case("TK000", "op.execute(f'DROP TABLE {op.get_context().script.nothing}')", "has no attribute 'nothing'"),
    Case("TK000", "raise NotImplementedError('write me')", "NotImplementedError: write me"),
    Case("TK000", "while True: op.execute('SELECT 1')", "more than 10,000 statements"),
    # TK001: what goes to all tenants names a schema.
    Case("TK001", "op.execute('UPDATE tenant.project SET name = NULL')", "not translated in text"),
    Case("TK001", "op.execute('UPDATE t_acme.project SET name = NULL')", "'t_acme', the schema of one tenant"),
    Case("TK001", "op.execute('DELETE FROM public.project')", "names the schema 'public'"),
    Case("TK001", "op.execute('SELECT p.id FROM project p, \"Old\".project o WHERE p.id = o.id')", "'Old'"),
    Case("TK001", "op.execute(sa.text('SELECT t_acme.next_number()'))", "'t_acme'"),
    Case("TK001", "op.get_bind().exec_driver_sql('TRUNCATE t_acme.project')", "'t_acme'"),
    Case("TK001", "op.add_column('project', sa.Column('x', sa.Integer), schema='public')", "'public'"),
    Case("TK001", "op.create_table('x', sa.Column('id', sa.Integer), schema='t_acme')", "'t_acme'"),
    Case("TK001", "op.create_check_constraint('ck', 'project', 'tenant.is_good(name)', schema='tenant')", "'tenant'"),
    Case("TK001", "op.execute(\"SELECT setval('tenant.project_id_seq', 7)\")", "'tenant'"),
    Case("TK001", "op.execute(\"SELECT 'public.project'::regclass\")", "'public'"),
    Case("TK001", "op.execute('SET LOCAL search_path TO public, pg_temp')", "'public'"),
    Case("TK001", "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = t_acme AS $$ SELECT 1 $$')", "'t_acme'"),
    Case("TK001", "op.execute('DO $x$ DECLARE r record; BEGIN r.id := 1; DELETE FROM public.task; END $x$')", "'public'"),
    Case("TK001", "op.execute('CREATE SCHEMA IF NOT EXISTS extra')", "'extra'"),
    Case("TK001", "op.execute('ALTER TABLE task SET SCHEMA old')", "'old'"),
    Case("TK001", "op.execute('CREATE INDEX ix ON task USING gin (title public.gin_trgm_ops)')", "'public'"),
    Case("TK001", "op.execute('GRANT SELECT ON ALL TABLES IN SCHEMA t_acme TO reader')", "'t_acme'"),
    # TK002: the other line's tables.
    Case("TK002", "op.add_column('country', sa.Column('x', sa.Integer), schema='shared')", "changes shared.country"),
    Case("TK002", "op.create_index('ix', 'country', ['name'], schema='shared')", "changes shared.country"),
    Case("TK002", "op.execute('INSERT INTO shared.country SELECT id, name FROM project')", "changes shared.country"),
    Case("TK002", "op.execute('WITH x AS (UPDATE shared.country SET name = NULL RETURNING *) SELECT 1')", "shared.country"),
    Case("TK002", "op.execute('DROP TABLE IF EXISTS task, shared.country')", "changes shared.country"),
    Case("TK002", "op.execute('COMMENT ON COLUMN shared.country.name IS NULL')", "changes shared.country"),
    Case("TK002", "op.bulk_insert(sa.table('country', sa.column('code'), schema='shared'), [{'code': 'x'}])", "shared.country"),
    Case("TK002", "op.drop_column('project', 'name', schema='tenant')", "names tenant.project", line="shared"),
    Case("TK002", "op.execute('DELETE FROM t_acme.project')", "names t_acme.project", line="shared"),
    Case("TK002", "op.execute('CREATE VIEW shared.all_tasks AS SELECT * FROM t_acme.task')", "names t_acme", line="shared"),
    Case("TK002", "op.execute('ALTER TABLE task ADD x int')", "names task", line="shared"),
    # TK003: keys to shared tables that are checked while the shared table is locked.
    Case("TK003", "op.create_foreign_key('fk', 'task', 'country', ['c'], ['code'], source_schema='tenant', referent_schema='shared')", "Writes to shared.country wait"),
    Case("TK003", "op.add_column('task', sa.Column('c', sa.Text, sa.ForeignKey('shared.country.code')), schema='tenant')", "every row of task"),
    Case("TK003", "op.execute('ALTER TABLE task ADD COLUMN c text DEFAULT 1 REFERENCES shared.country')", "shared.country"),
    Case("TK003", "op.execute('ALTER TABLE task ADD FOREIGN KEY (a, b) REFERENCES shared.country, ADD x int')", "shared.country"),
    # TK004: names that PostgreSQL cuts.
    Case("TK004", f"op.execute('CREATE INDEX {LONG} ON task (title)')", "has 64 bytes"),
    Case("TK004", f"op.add_column('task', sa.Column('{LONG}', sa.Integer), schema='tenant')", "has 64 bytes"),
    Case("TK004", "op.create_check_constraint('ck_" + "ä" * 31 + "', 'task', 'true', schema='tenant')", "has 65 bytes"),
    Case("TK004", f"op.create_index('{LONG}', 'task', ['title'], schema='tenant')", "exceeds maximum length"),
    # TK005: what cannot be taken back, mixed with what can.
    Case("TK005", "op.execute('CREATE INDEX CONCURRENTLY ix ON task (title)')", "cannot run in a transaction"),
    Case("TK005", "op.create_index('ix', 'task', ['title'], schema='tenant', postgresql_concurrently=True)", "cannot run"),
    Case("TK005", "op.execute('VACUUM task')", "cannot run in a transaction"),
    Case("TK005", "op.execute('UPDATE task SET title = 1; COMMIT')", "ends the transaction"),
    # TK006: what takes something away from the code that still runs.
    Case("TK006", "op.drop_column('task', 'title', schema='tenant')", "drops a column", head=EXPAND),
    Case("TK006", "op.drop_table('task', schema='tenant')", "drops what code uses", head=EXPAND),
    Case("TK006", "op.rename_table('task', 'job', schema='tenant')", "renames", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', new_column_name='name', schema='tenant')", "renames", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', nullable=False, schema='tenant')", "forbids NULL", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', type_=sa.Integer, schema='tenant')", "column's type", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', server_default=None, schema='tenant')", "a default", head=EXPAND),
    Case("TK006", "op.add_column('task', sa.Column('x', sa.Integer, nullable=False), schema='tenant')", "must be given", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x int, DROP title')", "drops a column", head=EXPAND),
    Case("TK006", "op.execute(\"ALTER TYPE state RENAME VALUE 'OPEN' TO 'NEW'\")", "renames", head=EXPAND),
    Case("TK006", "op.execute('DROP FUNCTION f')", "drops what code uses", head=EXPAND),
    Case("TK006", "op.execute('TRUNCATE task')", "empties a table", head=EXPAND),
    # TK007: what decides is not in the revision.
    Case("TK007", "op.get_bind().execute(sa.text('SELECT 1')).all()", "op.get_bind() gives a connection"),
    Case("TK007", "sa.inspect(None)", "an inspector reads the database"),
    Case("TK007", "op.get_context().bind.execute(sa.text('SELECT 1'))", "op.get_context().bind gives a connection"),
    Case("TK007", "context.get_bind().execute(sa.text('SELECT 1'))", "context.get_bind()", head="from alembic import context"),
    Case("TK007", "Session(bind=None)", "a Session reads", head="from sqlalchemy.orm import Session"),
    Case("TK007", "op.execute(f\"UPDATE task SET title = '{uuid4()}'\")", "chance decides", head="from uuid import uuid4"),
    Case("TK007", "op.execute(f'SELECT {random.randint(1, 9)}')", "chance decides", head="import random"),
    Case("TK007", "op.execute(f\"SELECT '{dt.datetime.now(dt.UTC)}'\")", "the clock decides", head="import datetime as dt"),
    Case("TK007", "op.execute(f\"SELECT '{os.environ.get('HOME')}'\")", "the environment of the process", head="import os"),
    Case("TK007", "op.execute(f\"SELECT '{getenv('HOME')}'\")", "the environment of the process", head="from os import getenv"),
    # TK008: functions that do not find their tables.
    Case("TK008", "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT count(*) FROM task $$')", "looks up task"),
    Case("TK008", "op.execute('CREATE OR REPLACE PROCEDURE f() LANGUAGE plpgsql AS $x$ BEGIN UPDATE task SET a = 1; END $x$')", "looks up task"),
]  # fmt: skip

GOOD = [
    # TK001
    "op.execute('UPDATE project SET name = NULL')",
    "op.execute('UPDATE task SET title = p.name FROM project p WHERE p.id = task.project_id')",
    "op.execute('SELECT shared.country.name FROM shared.country')",
    "op.execute('SELECT pg_catalog.now(), 1.5, t.* FROM task AS t')",
    "op.execute(\"INSERT INTO project (name) VALUES ('acme.com'), ('tenant.x')\")",
    "op.execute(\"UPDATE project SET name = 'tenant.x' -- public.project\")",
    "op.execute('/* public.project */ DELETE FROM project')",
    "op.execute('INSERT INTO task (id) SELECT 1 ON CONFLICT (id) DO UPDATE SET id = excluded.id')",
    "op.execute('COMMENT ON COLUMN task.title IS NULL; ALTER SEQUENCE task_id_seq OWNED BY task.id')",
    "op.execute('SET LOCAL search_path TO DEFAULT')",
    "op.execute('MERGE INTO task t USING project p ON t.id = p.id WHEN MATCHED THEN DELETE')",
    "op.execute('DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM task LOOP PERFORM r.id; END LOOP; END $$')",
    "op.create_check_constraint('ck', 'project', 'length(project.name) > 1', schema='tenant')",
    "op.execute(sa.table('task', sa.column('title'), schema='tenant').update().values(title='x'))",
    "op.add_column('task', sa.Column('s', sa.ARRAY(sa.Enum('a', name='s', schema='tenant'))), schema='tenant')",
    "op.alter_column('task', 'title', type_=sa.Enum('a', name='s', schema='tenant'), schema='tenant')",
    "op.execute(\"SET LOCAL app.user_id = 1; RESET app.user_id; SELECT set_config('app.user', 'x', true)\")",
    "op.execute('UPDATE task SET place.x = 1')",
    "op.execute('WITH RECURSIVE tree AS (SELECT id FROM task) SELECT tree.id, (tree).id FROM tree')",
    "op.execute('SELECT l.x, u.n FROM task, LATERAL (SELECT task.id AS x) l, unnest(ARRAY[1]) WITH ORDINALITY AS u(v, n)')",
    "op.execute('SELECT extract(epoch FROM t.at), t.a IS DISTINCT FROM t.b FROM task t WINDOW w AS (ORDER BY t.id)')",
    "op.execute('DELETE FROM task USING project AS p WHERE p.id = task.project_id')",
    "op.execute('CREATE TRIGGER x AFTER UPDATE OF title ON task WHEN (OLD.title IS DISTINCT FROM NEW.title) EXECUTE FUNCTION f()')",
    "op.execute('CREATE POLICY x ON task USING (task.id = 1) WITH CHECK (id > 0)')",
    "op.execute('SELECT schema FROM task; SELECT current_schema FROM task; UPDATE task SET schema = 1')",
    "op.execute('DO $$ <<o>> DECLARE n int; BEGIN o.n := 1; RAISE NOTICE $x$ public.task $x$; END $$')",
    "op.execute('SELECT title COLLATE \"de-x-icu\", 1.5e3, data -> 1 ->> 2, \"T\".\"Id\" FROM task AS \"T\"')",
    "op.execute(sa.schema.CreateSequence(sa.Sequence('numbers', schema='tenant')))",
    "op.create_exclude_constraint('ex', 'task', ('id', '='), schema='tenant', using='gist', postgresql_not_valid=True)",
    "op.create_table_comment('task', 'public.task', schema='tenant')",
    "op.alter_column('task', 'title', comment='t_acme.task', schema='tenant')",
    # TK002
    "op.execute('UPDATE project SET name = c.name FROM shared.country c WHERE c.code = country_code')",
    "op.execute('SELECT 1 FROM shared.country FOR UPDATE')",
    # TK003
    "op.create_foreign_key('fk', 'task', 'country', ['c'], ['code'], source_schema='tenant', referent_schema='shared', postgresql_not_valid=True)",
    "op.create_foreign_key('fk', 'task', 'project', ['c'], ['id'], source_schema='tenant', referent_schema='tenant')",
    "op.create_table('x', sa.Column('c', sa.Text, sa.ForeignKey('shared.country.code')), schema='tenant')",
    "op.execute('ALTER TABLE task ADD COLUMN c text REFERENCES shared.country')",
    "op.execute('ALTER TABLE task ADD COLUMN c text DEFAULT NULL REFERENCES shared.country')",
    "op.execute('ALTER TABLE task VALIDATE CONSTRAINT fk')",
    """
    op.create_table('x', sa.Column('c', sa.Text), schema='tenant')
    op.create_foreign_key('fk', 'x', 'country', ['c'], ['code'], source_schema='tenant', referent_schema='shared')
    """,
    # TK004
    f"op.execute('CREATE INDEX {LONG[1:]} ON task (title)')",
    f"op.execute(\"UPDATE task SET title = '{LONG}'\")",
    # TK005
    f"{IN_BLOCK}\n    op.execute('CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON task (title)')",
    f"{IN_BLOCK}\n    op.execute('VACUUM task')\n    op.execute('ANALYZE task')",
    "op.execute('ALTER TYPE state ADD VALUE $$NEW$$')",
    # TK006: without the phase
    "op.drop_column('task', 'title', schema='tenant')",
    # TK007
    "op.execute(sa.table('task', sa.column('at')).insert().values(at=sa.func.now()))",
    "op.add_column('task', sa.Column('at', sa.DateTime, server_default=sa.func.gen_random_uuid()), schema='tenant')",
    "op.create_table('x', sa.Column('s', sa.Enum('a', 'b', name='s', schema='tenant')), schema='tenant')",
    "with op.batch_alter_table('task', schema='tenant') as task:\n    task.add_column(sa.Column('x', sa.Integer))",
    # TK008
    "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path FROM CURRENT AS $$ SELECT 1 FROM task $$')",
    "op.execute('CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$ SELECT a + 1 $$')",
    "op.execute('CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql RETURN (SELECT count(*) FROM task)')",
    "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT count(*) FROM shared.country $$')",
]  # fmt: skip

GOOD_EXPANDING = [
    "op.add_column('task', sa.Column('x', sa.Integer), schema='tenant')",
    "op.add_column('task', sa.Column('x', sa.Integer, server_default='1', nullable=False), schema='tenant')",
    "op.execute('ALTER TABLE task ADD x int GENERATED ALWAYS AS IDENTITY NOT NULL')",
    "op.create_index('ix', 'task', ['title'], schema='tenant')",
    "op.drop_index('ix', 'task', schema='tenant')",
    "op.drop_constraint('ck', 'task', schema='tenant')",
    "op.alter_column('task', 'title', nullable=True, schema='tenant')",
    "op.alter_column('task', 'title', server_default='x', schema='tenant')",
    "op.create_check_constraint('ck', 'task', 'title IS NOT NULL', schema='tenant', postgresql_not_valid=True)",
    "op.execute('ALTER TABLE task RENAME CONSTRAINT a TO b')",
    "op.execute('CREATE TABLE x (a int); ALTER TABLE x ADD b int NOT NULL, DROP a; DROP TABLE x')",
]  # fmt: skip


def lint_case(case: Case, lint_file: Lint, comment: str = "") -> list[str]:
    text = revision(f"{case.upgrade}{comment}", head=case.head)
    first = text.splitlines().index("def upgrade():") + 2
    return [each.message for each in lint_file(text, line=case.line) if (each.code, each.line) == (case.code, first)]


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case.code} {case.upgrade[:60]}")
def test_what_breaks_a_rule_is_found_in_its_line(case: Case, lint_file: Lint) -> None:
    [message] = lint_case(case, lint_file)
    assert case.says in message


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case.code} {case.upgrade[:60]}")
def test_a_comment_silences_the_rule_in_its_line(case: Case, lint_file: Lint) -> None:
    assert lint_case(case, lint_file, f"  # tenantkit: noqa: {case.code} - there is a reason") == []


@pytest.mark.parametrize("upgrade", GOOD)
def test_what_breaks_no_rule_is_not_found(upgrade: str, lint_file: Lint) -> None:
    assert lint_file(revision(upgrade)) == []


@pytest.mark.parametrize("upgrade", GOOD_EXPANDING)
def test_what_only_adds_may_expand(upgrade: str, lint_file: Lint) -> None:
    assert lint_file(revision(upgrade, head=EXPAND)) == []


@pytest.mark.parametrize("case", [case for case in BAD if case.code == "TK006"], ids=lambda case: case.upgrade)
def test_only_an_expanding_revision_must_not_contract(case: Case, lint_file: Lint) -> None:
    assert lint_file(revision(case.upgrade, head="phase = 'contract'")) == []
