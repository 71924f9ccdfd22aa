"""For each rule, code that breaks it, code that does not, and comments that silence it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tenantkit.lint.rendering import render
from tests.lint.conftest import Lint
from tests.lint.snippets import revision

pytestmark = pytest.mark.each_value


@dataclass(frozen=True)
class Case:
    """Code of a revision, and the findings in its first line."""

    code: str
    upgrade: str
    says: str
    line: str = "tenant"
    head: str = ""


LONG = "x" * 64
EXPAND = "phase = 'expand'"
IN_BLOCK = "with op.get_context().autocommit_block():"

OWN_BLOCK = "op.get_context().autocommit_block()"
NOT_NULL = "op.alter_column('task', 'title', nullable=False, schema='tenant')"
CHECKED = "op.execute('ALTER TABLE task ADD CONSTRAINT c CHECK (title IS NOT NULL) NOT VALID')"

BAD = [
    # TK000: it cannot be run without a database.
    Case("TK000", "op.execute(f'DROP TABLE {op.get_context().script.nothing}')", "has no attribute 'nothing'"),
    Case("TK000", "raise NotImplementedError('write me')", "NotImplementedError: write me"),
    Case("TK000", "while True: op.execute('SELECT 1')", "more than 200 statements"),
    Case("TK000", "op.execute(\"DO $$ DECLARE t text; BEGIN EXECUTE format('DROP TABLE %I', t); END $$\")", "as a DO executes a text that is built at run time"),
    Case("TK000", 'op.execute("DO $$ DECLARE t text; BEGIN FOR t IN EXECUTE t LOOP END LOOP; END $$")', "as a DO executes a text"),
    Case("TK000", "op.execute(\"DO LANGUAGE plperl 'x'\")", "as a DO in plperl is not read"),
    Case("TK000", "op.execute(\"CREATE FUNCTION f(t text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE t; END'; SELECT f('DROP TABLE task')\")", "as the function f() executes a text"),
    Case("TK000", "op.execute(\"CREATE FUNCTION f() RETURNS void LANGUAGE c AS 'f'; SELECT f()\")", "as the function f() in c is not read"),
    # TK001: a statement for all tenants names a schema.
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
    Case("TK001", "op.execute('ALTER TABLE task SET SCHEMA old')", "'old'"),
    Case("TK001", "op.execute('CREATE INDEX ix ON task USING gin (title public.gin_trgm_ops)')", "'public'"),
    Case("TK001", "op.execute('GRANT SELECT ON ALL TABLES IN SCHEMA t_acme TO reader')", "'t_acme'"),
    Case("TK001", "op.execute('CREATE FUNCTION in_body() RETURNS int LANGUAGE sql SET search_path FROM CURRENT AS $$ SELECT id FROM t_acme.task $$')", "'t_acme'"),
    Case("TK001", "op.execute('CREATE FUNCTION in_program() RETURNS int LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN RETURN (SELECT max(id) FROM t_acme.task); END $$')", "'t_acme'"),
    Case("TK001", "op.execute(\"CREATE FUNCTION in_setting() RETURNS int LANGUAGE sql SET default_text_search_config = 't_acme.cfg' AS $$ SELECT 1 $$\")", "'t_acme'"),
    Case("TK001", "op.execute(\"ALTER TABLE task ALTER number SET DEFAULT nextval('t_acme.numbers'::text::regclass)\")", "'t_acme'"),
    Case("TK001", "op.execute(\"CREATE TRIGGER t BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger(words, 't_acme.cfg', title)\")", "'t_acme'"),
    Case("TK001", "op.execute(\"CREATE FOREIGN TABLE other (id int) SERVER s OPTIONS (schema_name 't_acme')\")", "'t_acme'"),
    # TK002: tables of the other side.
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
    # TK004: names that PostgreSQL truncates.
    Case("TK004", f"op.execute('CREATE INDEX {LONG} ON task (title)')", "has 64 bytes"),
    Case("TK004", f"op.add_column('task', sa.Column('{LONG}', sa.Integer), schema='tenant')", "has 64 bytes"),
    Case("TK004", "op.create_check_constraint('ck_" + "ä" * 31 + "', 'task', 'true', schema='tenant')", "has 65 bytes"),
    Case("TK004", f"op.create_index('{LONG}', 'task', ['title'], schema='tenant')", "exceeds maximum length"),
    # TK005: steps that commit separately, mixed with others.
    Case("TK005", "op.execute('CREATE INDEX CONCURRENTLY ix ON task (title)')", "cannot run in a transaction"),
    Case("TK005", "op.create_index('ix', 'task', ['title'], schema='tenant', postgresql_concurrently=True)", "cannot run"),
    Case("TK005", "op.execute('VACUUM task')", "cannot run in a transaction"),
    Case("TK005", "op.execute('UPDATE task SET title = 1; COMMIT')", "ends the transaction"),
    # TK006: steps that remove or forbid what running code uses.
    Case("TK006", "op.drop_column('task', 'title', schema='tenant')", "drops a column", head=EXPAND),
    Case("TK006", "op.drop_table('task', schema='tenant')", "drops an object that code uses", head=EXPAND),
    Case("TK006", "op.rename_table('task', 'job', schema='tenant')", "renames", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', new_column_name='name', schema='tenant')", "renames", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', nullable=False, schema='tenant')", "forbids NULL", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', type_=sa.Integer, schema='tenant')", "column's type", head=EXPAND),
    Case("TK006", "op.alter_column('task', 'title', server_default=None, schema='tenant')", "a default", head=EXPAND),
    Case("TK006", "op.add_column('task', sa.Column('x', sa.Integer, nullable=False), schema='tenant')", "INSERT must set", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x int, DROP title')", "drops a column", head=EXPAND),
    Case("TK006", "op.execute(\"ALTER TYPE state RENAME VALUE 'OPEN' TO 'NEW'\")", "renames", head=EXPAND),
    Case("TK006", "op.execute('DROP FUNCTION f')", "drops an object that code uses", head=EXPAND),
    Case("TK006", "op.execute('TRUNCATE task')", "empties a table", head=EXPAND),
    Case("TK006", "op.create_check_constraint('ck', 'task', 'title IS NOT NULL', schema='tenant', postgresql_not_valid=True)", "forbids NULL", head=EXPAND),
    Case("TK006", "op.create_unique_constraint('u', 'task', ['title'], schema='tenant')", "two rows with the same values", head=EXPAND),
    Case("TK006", "op.create_index('u', 'task', ['title'], unique=True, schema='tenant')", "two rows with the same values", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x int; CREATE UNIQUE INDEX u ON task (x) NULLS NOT DISTINCT')", "two rows with the same values", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x int; ALTER TABLE task ADD UNIQUE NULLS NOT DISTINCT (x)')", "two rows with the same values", head=EXPAND),
    Case("TK006", "op.create_foreign_key('f', 'task', 'project', ['a'], ['b'], source_schema='tenant', referent_schema='tenant')", "refer to nothing", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD p int; ALTER TABLE task ADD PRIMARY KEY (id, p)')", "forbids NULL", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x int DEFAULT 1 PRIMARY KEY')", "the same in all new rows", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x int DEFAULT abs(-1) UNIQUE')", "the same in all new rows", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x uuid DEFAULT gen_random_uuid()::varchar(1) UNIQUE')", "the same in all new rows", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x text; CREATE UNIQUE INDEX u ON task (my(x))')", "two rows with the same values", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD n int; ALTER TABLE task ADD y int GENERATED ALWAYS AS (coalesce(n, 0)) STORED UNIQUE')", "the same in all new rows", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x serial; ALTER TABLE task ADD EXCLUDE USING gist (title WITH =, x WITH <>)')", "forbids values", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x int DEFAULT 1; ALTER TABLE task DROP x; ALTER TABLE task ADD x int NOT NULL')", "INSERT must set", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x date NOT NULL GENERATED ALWAYS AS (lower(period)) STORED')", "forbids NULL", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD x bigint NOT NULL GENERATED ALWAYS AS (size * 2) STORED')", "forbids NULL", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ADD g int GENERATED ALWAYS AS (1) STORED, ALTER g SET EXPRESSION AS (id), ADD CHECK (g < 9)')", "forbids values", head=EXPAND),
    Case("TK006", f"op.execute('ALTER TABLE task ADD d text; CREATE UNIQUE INDEX u ON task ((d{' || d' * 300}))')", "two rows with the same values", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task ENABLE ROW LEVEL SECURITY')", "hides and forbids rows", head=EXPAND),
    Case("TK006", "op.execute('CREATE POLICY p ON task AS RESTRICTIVE USING (title IS NOT NULL)')", "forbids rows", head=EXPAND),
    Case("TK006", "op.execute('ALTER TABLE task DETACH PARTITION p')", "rows of a partition", head=EXPAND),
    # TK007: values that are not in the revision.
    Case("TK007", "op.get_bind().execute(sa.text('SELECT 1')).all()", "This uses a connection"),
    Case("TK007", "sa.inspect(op.get_bind()).has_table('task')", "This uses a connection"),
    Case("TK007", "op.get_context().bind.execute(sa.text('SELECT 1'))", "This uses a connection"),
    Case("TK007", "context.get_bind().execute(sa.text('SELECT 1'))", "This uses a connection", head="from alembic import context"),
    Case("TK007", "Session(op.get_bind()).scalar(sa.text('SELECT 1'))", "a Session", head="from sqlalchemy.orm import Session"),
    Case("TK007", "op.execute(f\"UPDATE task SET title = '{uuid4()}'\")", "depends on chance, so", head="from uuid import uuid4"),
    Case("TK007", "op.execute(f'SELECT {random.random()}')", "depends on chance, so", head="import random"),
    Case("TK007", "op.execute(f\"SELECT '{dt.datetime.now(dt.UTC)}'\")", "depends on the clock, so", head="import datetime as dt"),
    Case("TK007", "op.execute(f\"SELECT '{dt.date.today()}'\")", "depends on the clock: tenants that are created or migrated later", head="import datetime as dt"),
    Case("TK007", "op.execute(f\"SELECT '{os.environ.get('HOME')}'\")", "depends on the environment of the process: ", head="import os"),
    Case("TK007", "op.execute(f\"SELECT '{getenv('HOME')}'\")", "depends on the environment of the process: ", head="from os import getenv"),
    Case("TK007", "op.execute(f'SELECT {op.get_context().version_table_schema!r}')", "depends on the name of its schema"),
    Case("TK007", "op.execute('SET LOCAL client_encoding = latin1')", "changes how statements are parsed"),
    # TK008: functions that do not find their tables.
    Case("TK008", "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT count(*) FROM task $$')", "looks up task"),
    Case("TK008", "op.execute('CREATE OR REPLACE PROCEDURE f() LANGUAGE plpgsql AS $x$ BEGIN UPDATE task SET a = 1; END $x$')", "looks up task"),
    # TK009: rewrites and scans of tables while others wait.
    Case("TK009", "op.execute('ALTER TABLE task ADD FOREIGN KEY (a) REFERENCES shared.country, ALTER size TYPE bigint')", "rewrites the table"),
    Case("TK009", "op.add_column('task', sa.Column('x', sa.Uuid, server_default=sa.func.gen_random_uuid()), schema='tenant')", "default gen_random_uuid() is evaluated for every row while"),
    Case("TK009", "op.execute('ALTER TABLE task ADD x uuid DEFAULT b(gen_random_uuid())')", "default gen_random_uuid() is evaluated for every row while"),
    Case("TK009", "op.execute('ALTER TABLE task ADD x uuid DEFAULT new_id()')", "every row unless it is declared STABLE or IMMUTABLE"),
    Case("TK009", "op.add_column('task', sa.Column('x', sa.Integer, sa.Identity()), schema='tenant')", "a value in every row"),
    Case("TK009", "op.add_column('task', sa.Column('x', sa.Integer, sa.Computed('a + 1', persisted=True)), schema='tenant')", "rewrites the table"),
    Case("TK009", "op.alter_column('task', 'size', type_=sa.BigInteger, schema='tenant')", "rewrites the table"),
    Case("TK009", "op.execute('ALTER TABLE task ADD y int; WITH s AS (SELECT 1) UPDATE task SET x = 1 FROM s')", "scans the rows of task"),
    Case("TK009", "op.execute('ALTER TABLE task ADD y int; WITH s AS (UPDATE task SET x = 1 RETURNING 1) SELECT 1')", "scans the rows of task"),
    Case("TK009", "op.execute(\"DO $$ BEGIN EXECUTE 'ALTER TABLE task ADD z int'; UPDATE task SET x = 1; END $$\")", "scans the rows of task"),
    Case("TK009", "op.execute('ALTER TABLE task ADD y int; DO $$ BEGIN IF true THEN UPDATE task SET x = 1; END IF; END $$')", "scans the rows of task"),
    Case("TK009", "op.execute('ALTER TABLE task ADD y int; UPDATE task SET x = 1 FROM project p WHERE task.id = p.x')", "scans the rows of task"),
    Case("TK009", "op.execute('ALTER TABLE task ADD y int; DELETE FROM task WHERE title IS NULL')", "scans the rows of task"),
    Case("TK009", "op.execute(\"ALTER TABLE task ADD a int; UPDATE task SET x = 1 WHERE title = 'a'\")", "scans the rows of task"),
    Case("TK009", "op.execute(\"ALTER TABLE task ADD b int; UPDATE task SET x = 1 WHERE id = 7 OR title = 'a'\")", "scans the rows of task"),
    Case("TK009", "op.execute('ALTER TABLE task ADD c int; UPDATE task SET x = 1 WHERE id = project_id')", "scans the rows of task"),
    Case("TK009", "op.execute('ALTER TABLE task ADD d int; UPDATE task SET x = 1 WHERE id > 7')", "scans the rows of task"),
    Case("TK009", "op.execute('ALTER TABLE task ADD y int; INSERT INTO other SELECT * FROM task')", "scans the rows of"),
    Case("TK009", "op.execute('ALTER TABLE task ADD y int; UPDATE project SET name = 1')", "of project while reads and writes of task wait"),
    Case("TK009", "op.execute('ALTER TABLE task ADD CONSTRAINT c CHECK (true) NOT VALID; ALTER TABLE task VALIDATE CONSTRAINT c')", "c is checked for every row"),
    Case("TK009", "op.execute('ALTER TABLE task ALTER x TYPE varchar(200)')", "unless the column's type is stored alike"),
    Case("TK009", NOT_NULL, "checks every row for NULL while reads and writes of task wait"),
    Case("TK009", f"with {OWN_BLOCK}: {NOT_NULL}", "checks every row for NULL"),
    Case("TK009", "op.create_check_constraint('c', 'task', 'size > 0', schema='tenant')", "checks every row while reads and writes"),
    Case("TK009", "op.create_foreign_key('f', 'task', 'project', ['a'], ['b'], source_schema='tenant', referent_schema='tenant')", "checks every row while writes of task wait"),
    Case("TK009", "op.create_unique_constraint('u', 'task', ['title'], schema='tenant')", "builds an index while reads and writes"),
    Case("TK009", "op.create_primary_key('p', 'task', ['title'], schema='tenant')", "builds an index"),
    Case("TK009", "op.create_index('ix', 'task', ['title'], schema='tenant')", "builds an index while writes of task wait"),
    Case("TK009", "op.execute('REINDEX TABLE task')", "rebuilds its indexes"),
    Case("TK009", "op.execute('CLUSTER task USING ix')", "rewrites the table"),
    Case("TK009", "op.execute('REFRESH MATERIALIZED VIEW totals')", "recomputes the view"),
    Case("TK009", "op.create_table('x', sa.Column('p', sa.Integer, sa.ForeignKey('tenant.project.id')), schema='tenant'); op.execute('INSERT INTO x SELECT id FROM project')", "scans the rows of project while writes of project wait"),
    Case("TK009", "op.create_table('x', sa.Column('c', sa.Text, sa.ForeignKey('shared.country.code')), schema='tenant'); op.execute('UPDATE task SET x = 1')", "scans the rows of task while writes of country wait"),
    Case("TK009", "op.execute('CREATE TABLE x PARTITION OF task DEFAULT; UPDATE task SET x = 1')", "while reads and writes of task wait"),
    Case("TK009", "op.execute('ALTER TABLE task ATTACH PARTITION other FOR VALUES IN (1)')", "checks every row unless a validated CHECK says the same"),
    Case("TK009", "op.execute('LOCK TABLE task')", "waits for the rest of the revision while reads and writes"),
    Case("TK009", "op.execute('ALTER TABLE task SET UNLOGGED')", "rewrites the table"),
    Case("TK009", "op.execute('DO $$ BEGIN ALTER TABLE task ALTER size TYPE bigint; END $$')", "rewrites the table"),
    # TK010: objects that exist once in a database.
    *(Case("TK010", f"op.execute({sql!r})", says) for sql, says in {
        "CREATE EXTENSION IF NOT EXISTS citext": "CREATE EXTENSION concerns the whole database",
        "DROP EXTENSION citext": "DROP EXTENSION",
        "ALTER EXTENSION citext UPDATE": "ALTER EXTENSION",
        "CREATE ROLE reader": "CREATE ROLE",
        "CREATE USER reader": "CREATE USER",
        "DROP ROLE IF EXISTS reader": "DROP ROLE",
        "ALTER ROLE reader SET work_mem = '1GB'": "ALTER ROLE",
        "GRANT reader TO writer": "GRANT concerns",
        "REVOKE CONNECT ON DATABASE shop FROM PUBLIC": "REVOKE ON DATABASE",
        "CREATE PUBLICATION p FOR ALL TABLES": "CREATE PUBLICATION",
        "ALTER PUBLICATION p SET (publish = 'insert')": "ALTER PUBLICATION",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p": "CREATE SUBSCRIPTION",
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()": "CREATE EVENT TRIGGER",
        "CREATE SCHEMA IF NOT EXISTS extra": "CREATE SCHEMA",
        "DROP SCHEMA extra CASCADE": "DROP SCHEMA",
        "CREATE SERVER s FOREIGN DATA WRAPPER w": "CREATE SERVER",
        "CREATE FOREIGN DATA WRAPPER w": "CREATE FOREIGN DATA WRAPPER",
        "CREATE USER MAPPING FOR u SERVER s": "CREATE USER MAPPING",
        "IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b": "IMPORT FOREIGN SCHEMA",
        "ALTER DATABASE shop SET timezone = 'UTC'": "ALTER DATABASE",
        "ALTER SYSTEM SET work_mem = '1GB'": "ALTER SYSTEM",
        "CREATE TABLESPACE t LOCATION '/x'": "CREATE TABLESPACE",
        "CREATE LANGUAGE plpython3u": "CREATE EXTENSION",  # as PostgreSQL reads it
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader": "ALTER DEFAULT PRIVILEGES",
        "REASSIGN OWNED BY a TO b": "REASSIGN OWNED",
        "COMMENT ON EXTENSION citext IS 'x'": "COMMENT ON EXTENSION",
        "SELECT cron.schedule('nightly', '0 0 * * *', 'VACUUM')": "CRON.SCHEDULE",
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')": "PG_CREATE_LOGICAL_REPLICATION_SLOT",
        "ANALYZE": "ANALYZE concerns",
        "CREATE CAST (text AS int) WITH INOUT": "CREATE CAST",
        "CREATE OR REPLACE TRUSTED PROCEDURAL LANGUAGE plx HANDLER h": "CREATE LANGUAGE",
        "DO $$ BEGIN EXECUTE 'CREATE ROLE r'; END $$": "CREATE ROLE",
        "/* for mail */ CREATE EXTENSION citext": "CREATE EXTENSION",
        "SELECT 1; CREATE EXTENSION citext": "CREATE EXTENSION",
        "DO $$ BEGIN CREATE ROLE r; EXCEPTION WHEN duplicate_object THEN NULL; END $$": "CREATE ROLE",
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'r') THEN CREATE ROLE r; END IF; END $$": "CREATE ROLE",
    }.items()),
    # TK011: work outside of the connection.
    Case("TK011", "open('/tmp/x', 'a').write('x')", "writes to a file"),
    Case("TK011", "Path('/tmp/x').write_text('x')", "writes to a file", head="from pathlib import Path"),
    Case("TK011", "Path('/tmp/x').unlink()", "changes files", head="from pathlib import Path"),
    Case("TK011", "os.makedirs('/tmp/x/y')", "changes files", head="import os"),
    Case("TK011", "shutil.copy(__file__, '/tmp/x')", "changes files", head="import shutil"),
    Case("TK011", "subprocess.run(['true'])", "starts a process", head="import subprocess"),
    Case("TK011", "os.system('true')", "starts a process", head="import os"),
    Case("TK011", "urlopen('http://192.0.2.1/')", "uses the network", head="from urllib.request import urlopen"),
    Case("TK011", "socket.create_connection(('192.0.2.1', 1), timeout=0.1)", "uses the network", head="import socket"),
    Case("TK011", "smtplib.SMTP('192.0.2.1')", "uses the network", head="import smtplib"),
    Case("TK011", "sqlite3.connect('/tmp/x')", "opens another database", head="import sqlite3"),
    Case("TK011", "ENGINE.connect()", "opens a connection of its own", head="from tests.lint.snippets import ENGINE"),
    Case("TK011", "ENGINE.begin().__enter__()", "opens a connection of its own", head="from tests.lint.snippets import ENGINE"),
    Case("TK011", "Session(ENGINE).execute(sa.text('SELECT 1'))", "opens a connection", head="from sqlalchemy.orm import Session\nfrom tests.lint.snippets import ENGINE"),
    Case("TK011", "op.get_bind().connection.cursor().execute('SELECT 1')", "uses the driver's cursor"),
    Case("TK011", "op.get_bind().engine.connect()", "opens a connection of its own"),
    Case("TK011", "connect_to_postgresql()", "opens a connection of its own", head="from tests.lint.snippets import connect_to_postgresql"),
    Case("TK011", "sa.create_engine('postgresql://192.0.2.1/x')", "makes an engine of its own"),
    Case("TK011", "psycopg.connect('')", "opens a connection of its own", head="import psycopg"),
    Case("TK011", "asyncpg.connect('')", "opens a connection of its own", head="import asyncpg"),
    Case("TK011", "any(requests.post('x') for row in op.get_bind().execute(sa.text('SELECT 1 FROM a')))", "uses the network", head="if False: import requests"),
    Case("TK011", "[notify.delay(1) for row in ()]", "starts a task", head="notify = None"),
    Case("TK011", "open('/tmp/x', 'w')", "writes to a file", line="shared"),
]  # fmt: skip

GOOD = [
    # TK000
    "op.execute(\"CREATE FUNCTION f(t text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE t; END'\")",
    # TK001
    "op.execute('UPDATE project SET name = NULL')",
    "op.execute('UPDATE task SET title = p.name FROM project p WHERE p.id = task.project_id')",
    "op.execute('SELECT shared.country.name FROM shared.country')",
    "op.execute('SELECT pg_catalog.now(), 1.5, t.* FROM task AS t')",
    "op.execute(\"INSERT INTO project (name) VALUES ('acme.com'), ('tenant.x')\")",
    "op.execute(\"UPDATE project SET name = 'tenant.x' -- public.project\")",
    "op.execute('/* public.project */ DELETE FROM project')",
    "op.execute('INSERT INTO task (id) SELECT 1 ON CONFLICT (id) DO UPDATE SET id = excluded.id')",
    "op.execute(\"CREATE TRIGGER t BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', title)\")",
    "op.execute('COMMENT ON COLUMN task.title IS NULL; ALTER SEQUENCE task_id_seq OWNED BY task.id')",
    "op.execute('SET LOCAL search_path TO DEFAULT')",
    "op.execute('MERGE INTO task t USING project p ON t.id = p.id WHEN MATCHED THEN DELETE')",
    "op.execute('DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM task LOOP PERFORM r.id; END LOOP; END $$')",
    "op.create_check_constraint('ck', 'project', 'length(project.name) > 1', schema='tenant', postgresql_not_valid=True)",
    "op.execute(sa.table('task', sa.column('title'), schema='tenant').update().values(title='x'))",
    "op.add_column('task', sa.Column('s', sa.ARRAY(sa.Enum('a', name='s', schema='tenant'))), schema='tenant')",
    "op.alter_column('task', 'title', type_=sa.Enum('a', name='s', schema='tenant'), schema='tenant')  # tenantkit: noqa: TK009",
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
    "op.create_exclude_constraint('ex', 'task', ('id', '='), schema='tenant', using='gist')  # tenantkit: noqa: TK009",
    "op.create_table_comment('task', 'public.task', schema='tenant')",
    "op.alter_column('task', 'title', comment='t_acme.task', schema='tenant')",
    # TK002
    "op.execute('UPDATE project SET name = c.name FROM shared.country c WHERE c.code = country_code')",
    "op.execute('SELECT 1 FROM shared.country FOR UPDATE')",
    # TK003
    "op.create_foreign_key('fk', 'task', 'country', ['c'], ['code'], source_schema='tenant', referent_schema='shared', postgresql_not_valid=True)",
    "op.create_foreign_key('fk', 'task', 'project', ['c'], ['id'], source_schema='tenant', referent_schema='tenant')  # tenantkit: noqa: TK009",
    "op.create_table('x', sa.Column('c', sa.Text, sa.ForeignKey('shared.country.code')), schema='tenant')",
    "op.execute('ALTER TABLE task ADD COLUMN c text REFERENCES shared.country')",
    "op.execute('ALTER TABLE task ADD COLUMN c text DEFAULT NULL REFERENCES shared.country')",
    "op.execute('ALTER TABLE task VALIDATE CONSTRAINT fk')",
    """
    op.create_table('x', sa.Column('c', sa.Text), schema='tenant')
    op.create_foreign_key('fk', 'x', 'country', ['c'], ['code'], source_schema='tenant', referent_schema='shared')
    """,
    # TK004
    f"op.execute('CREATE VIEW {LONG[1:]} AS SELECT title FROM task')",
    f"op.execute(\"UPDATE task SET title = '{LONG}'\")",
    # TK005
    f"{IN_BLOCK}\n    op.execute('CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON task (title)')",
    f"{IN_BLOCK}\n    op.execute('VACUUM task')\n    op.execute('ANALYZE task')",
    "op.execute('ALTER TYPE state ADD VALUE $$NEW$$')",
    # TK006: without the phase
    "op.drop_column('task', 'title', schema='tenant')",
    # TK007
    "op.execute(sa.table('task', sa.column('at')).insert().values(at=sa.func.now()))",
    "op.create_table('x', sa.Column('id', sa.Uuid, server_default=sa.func.gen_random_uuid()), schema='tenant')",
    "op.create_table('x', sa.Column('s', sa.Enum('a', 'b', name='s', schema='tenant')), schema='tenant')",
    "with op.batch_alter_table('task', schema='tenant') as task:\n    task.add_column(sa.Column('x', sa.Integer))",
    "if op.get_bind().dialect.name == 'postgresql':\n    op.execute('SELECT 1')",
    "import random\nrandom.seed(1)\nop.execute(f'SELECT {random.randint(1, 9)}')  # tenantkit: noqa: TK007",
    "import time\nstart = time.time()\nop.execute('SELECT 1')\nprint(f'{time.time() - start:.1f} s')",
    "import datetime\nprint('begins at', datetime.datetime.now())",
    # TK009
    "op.execute('UPDATE task SET title = 1')",
    f"{CHECKED}\nop.execute('ALTER TABLE task ALTER title SET NOT NULL')  # tenantkit: noqa: TK009",
    f"with {OWN_BLOCK}:\n    {CHECKED}\n    op.validate_constraint('c', 'task', schema='tenant')\n    {NOT_NULL}",
    "op.add_column('task', sa.Column('x', sa.DateTime, server_default=sa.func.now()), schema='tenant')",
    "op.add_column('task', sa.Column('x', sa.Text, server_default='gen()'), schema='tenant')",
    "op.alter_column('task', 'title', existing_type=sa.String(10), type_=sa.String(20), schema='tenant')",
    "op.create_foreign_key('f', 'task', 'project', ['a'], ['b'], source_schema='tenant', referent_schema='tenant', postgresql_not_valid=True)",
    "op.add_column('task', sa.Column('x', sa.Integer), schema='tenant')\nop.execute('UPDATE task SET x = 1 WHERE id = 7')",
    "op.add_column('task', sa.Column('x', sa.Integer), schema='tenant')\nop.execute(\"INSERT INTO task (x) VALUES (1)\")",
    "op.execute('CREATE TABLE x (a int); ALTER TABLE x ALTER a SET NOT NULL; UPDATE x SET a = 1; CREATE INDEX i ON x (a)')",
    "op.execute('ALTER INDEX ix RENAME TO iy')",
    "op.execute('CREATE TABLE x (a int); ALTER TABLE task ATTACH PARTITION x FOR VALUES IN (1)')",
    "op.create_table('x', sa.Column('p', sa.Integer, sa.ForeignKey('tenant.project.id')), schema='tenant')\nop.execute('INSERT INTO x VALUES (1)')",
    # TK010
    "op.execute('GRANT SELECT ON task TO reader; REVOKE ALL ON task FROM PUBLIC')",
    "op.execute('ALTER PUBLICATION p ADD TABLE task')",
    "op.execute('CREATE TABLE role (server int); CREATE FOREIGN TABLE f (x int) SERVER s')",
    "op.execute('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE SCHEMA x; END $$')",
    "op.execute(\"CREATE TYPE language AS ENUM ('de'); CREATE VIEW schema AS SELECT 1\")",
    "op.execute('COMMENT ON TABLE task IS NULL')",
    "op.execute('ANALYZE task')",
    "op.execute(\"INSERT INTO task (title) VALUES ('CREATE EXTENSION citext')\")",
    # TK011
    "from pathlib import Path\nPath(__file__).read_text()",
    "from pathlib import Path\nPath(__file__).with_name('x.sql').exists()",
    "import json\njson.loads('{}')",
    "import xml.dom.minidom",
    # TK008
    "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path FROM CURRENT AS $$ SELECT 1 FROM task $$')",
    "op.execute('CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$ SELECT a + 1 $$')",
    "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ WITH a AS (SELECT 1 AS b) SELECT b FROM a -- FROM task\\n $$')",
    "op.execute('CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql RETURN (SELECT count(*) FROM task)')",
    "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT count(*) FROM shared.country $$')",
]  # fmt: skip

GOOD_EXPANDING = [
    "op.execute('ALTER TABLE task ADD x uuid DEFAULT uuid_generate_v4() UNIQUE')  # tenantkit: noqa: TK009",
    "op.execute(\"ALTER TABLE task ADD x text NOT NULL GENERATED ALWAYS AS (lower(coalesce(title, ''))) STORED\")  # tenantkit: noqa: TK009",
    "op.execute(\"ALTER TABLE task ADD x tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english', coalesce(title, ''))) STORED\")  # tenantkit: noqa: TK009",
    "op.add_column('task', sa.Column('x', sa.Integer), schema='tenant')",
    "op.add_column('task', sa.Column('x', sa.Integer, server_default='1', nullable=False), schema='tenant')",
    "op.execute('ALTER TABLE task ADD x int GENERATED ALWAYS AS IDENTITY NOT NULL')  # tenantkit: noqa: TK009",
    "op.create_index('ix', 'task', ['title'], schema='tenant')  # tenantkit: noqa: TK009",
    "op.drop_index('ix', 'task', schema='tenant')",
    "op.drop_constraint('ck', 'task', schema='tenant')",
    "op.alter_column('task', 'title', nullable=True, schema='tenant')",
    "op.alter_column('task', 'title', server_default='x', schema='tenant')",
    "op.execute('ALTER TABLE task RENAME CONSTRAINT a TO b')",
    "op.execute('CREATE TABLE x (a int); ALTER TABLE x ADD b int NOT NULL, DROP a; DROP TABLE x')",
]  # fmt: skip


@pytest.fixture(autouse=True)
def endless_loops_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_MAX_STATEMENTS", 200)


def lint_case(case: Case, lint_file: Lint, comment: str = "") -> list[str]:
    text = revision(f"{case.upgrade}{comment}", head=case.head)
    first = text.splitlines().index("def upgrade():") + 2
    return [each.message for each in lint_file(text, line=case.line) if (each.code, each.line) == (case.code, first)]


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case.code} {case.upgrade[:60]}")
def test_code_that_breaks_a_rule_is_found_in_its_line(case: Case, lint_file: Lint) -> None:
    [message] = lint_case(case, lint_file)
    assert case.says in message


@pytest.mark.some_values(case=89)
@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case.code} {case.upgrade[:60]}")
def test_a_comment_silences_the_rule_in_its_line(case: Case, lint_file: Lint) -> None:
    assert lint_case(case, lint_file, f"  # tenantkit: noqa: {case.code} - there is a reason") == []


@pytest.mark.parametrize("upgrade", GOOD)
def test_code_that_breaks_no_rule_has_no_findings(upgrade: str, lint_file: Lint) -> None:
    assert lint_file(revision(upgrade)) == []


@pytest.mark.parametrize("upgrade", GOOD_EXPANDING)
def test_additions_are_no_contraction(upgrade: str, lint_file: Lint) -> None:
    assert lint_file(revision(upgrade, head=EXPAND)) == []


@pytest.mark.parametrize("case", [case for case in BAD if case.code == "TK006"], ids=lambda case: case.upgrade)
def test_only_an_expanding_revision_must_not_contract(case: Case, lint_file: Lint) -> None:
    found = lint_file(revision(case.upgrade, head="phase = 'contract'"))
    assert {each.code for each in found} <= {"TK009"}


@pytest.mark.parametrize("case", [case for case in BAD if case.code == "TK011"], ids=lambda case: case.upgrade)
def test_a_revision_that_is_not_replayed_may_work_outside_of_its_connection(case: Case, lint_file: Lint) -> None:
    assert lint_file(revision(case.upgrade, head=f"{case.head}\nreplay = False"), line=case.line) == []


def test_lint_prevents_work_outside_of_the_connection(lint_file: Lint, tmp_path: Path) -> None:
    for upgrade in (
        "open({!r}, 'w')", "Path({!r}).touch()", "subprocess.run(['touch', {!r}])", "sqlite3.connect({!r})"
    ):  # fmt: skip
        file = tmp_path / "made"
        head = "import sqlite3, subprocess\nfrom pathlib import Path\nreplay = False"
        lint_file(revision(upgrade.format(str(file)), head=head))
        assert not file.exists()
        file.touch()
        file.unlink()
