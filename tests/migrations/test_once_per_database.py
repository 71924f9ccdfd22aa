"""Tenant revisions with objects that exist once in a database are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import MigrationError, ProvisioningError, Tenancy
from tenantkit.migrations import downgrade, migrate, preview, upgrade_shared
from tenantkit.postgres.sql_text import read_sql
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

ONCE = {
    "CREATE EXTENSION citext": "extension",
    "create extension if not exists citext schema public": "extension",
    "/* for mail */ CREATE\n EXTENSION citext": "extension",
    "SELECT 1; CREATE EXTENSION citext;": "extension",
    "DROP EXTENSION IF EXISTS citext": "extension",
    "ALTER EXTENSION citext UPDATE": "extension",
    "CREATE ROLE reader": "role",
    "CREATE USER reader": "user",
    "CREATE GROUP readers": "group",
    "ALTER ROLE reader SET work_mem = '1MB'": "role",
    "CREATE USER MAPPING FOR public SERVER s": "user mapping",
    "CREATE DATABASE d": "database",
    "ALTER DATABASE d SET work_mem = '1MB'": "database",
    "CREATE TABLESPACE t LOCATION '/x'": "tablespace",
    "CREATE SCHEMA audit": "schema",
    "CREATE SCHEMA IF NOT EXISTS audit": "schema",
    "DROP SCHEMA audit CASCADE": "schema",
    "CREATE PUBLICATION p FOR TABLE a": "publication",
    "DROP PUBLICATION p": "publication",
    "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p": "subscription",
    "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f()": "event trigger",
    "CREATE SERVER s FOREIGN DATA WRAPPER w": "server",
    "CREATE FOREIGN DATA WRAPPER w": "foreign data wrapper",
    "CREATE LANGUAGE plx": "language",
    "CREATE OR REPLACE TRUSTED PROCEDURAL LANGUAGE plx": "procedural language",
    "CREATE CAST (text AS int) WITH INOUT": "cast",
    "CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION f(internal))": "transform",
    "CREATE ACCESS METHOD m TYPE INDEX HANDLER f": "access method",
    "DROP OWNED BY reader": "owned",
    "REASSIGN OWNED BY a TO b": "owned",
    "ALTER SYSTEM SET work_mem = '1MB'": "system",
    "DO $$ BEGIN CREATE EXTENSION IF NOT EXISTS citext; END $$": "extension",
    "DO $$ BEGIN EXECUTE 'CREATE ROLE reader'; EXCEPTION WHEN duplicate_object THEN NULL; END $$": "role",
}

EACH = [
    "CREATE TABLE role (x int)",
    "CREATE TABLE extension (user_mapping int)",
    "INSERT INTO a VALUES ('CREATE EXTENSION citext')",
    "COMMENT ON TABLE a IS 'create role'",
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE SCHEMA x; END $$",
    "CREATE FOREIGN TABLE f (x int) SERVER s",
    "ALTER PUBLICATION p ADD TABLE a",
    "ALTER SCHEMA t_acme OWNER TO reader",
    "CREATE TYPE language AS ENUM ('de')",
    "CREATE INDEX server ON a (x)",
    "CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()",
    "GRANT SELECT ON a TO reader",
    "DO $$ BEGIN UPDATE a SET x = 1; END $$",
    "CREATE VIEW schema AS SELECT 1",
    "-- CREATE EXTENSION citext\nSELECT 1",
]


@pytest.mark.parametrize("statement", ONCE)
def test_statements_about_objects_outside_of_schemas_are_detected(statement: str) -> None:
    assert read_sql(statement).once_per_database == ONCE[statement]


@pytest.mark.parametrize("statement", EACH)
def test_statements_about_objects_in_a_schema_are_accepted(statement: str) -> None:
    assert read_sql(statement).once_per_database is None


ONE = 'op.create_table("a", sa.Column("x", sa.Integer, primary_key=True), schema="tenant")'


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(ONE, ("k0", "k1", "k2"))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Tenancy:
    environment.add("one", ONE)
    return migrated_tenancy()


REFUSED = {
    "text": "op.execute('CREATE EXTENSION IF NOT EXISTS citext')",
    "bind": "op.get_bind().exec_driver_sql('CREATE EXTENSION IF NOT EXISTS citext')",
    "block": "op.execute('DO $$ BEGIN CREATE EXTENSION citext; END $$')",
    "construct": "from sqlalchemy.schema import CreateSchema\nop.execute(CreateSchema('audit'))",
    "autocommit": "with op.get_context().autocommit_block():\n    op.execute('CREATE EXTENSION citext')",
}


@pytest.mark.parametrize("options", [{}, {"engine": "alembic"}, {"jobs": 0}], ids=str)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_tenant_revision_that_creates_a_database_object_is_refused(
    kind: str,
    options: dict[str, Any],
    fleet: Tenancy,
    migrated_tenancy: Make,
    environment: Environment,
    engine: Engine,
) -> None:
    environment.add("two", REFUSED[kind])
    with pytest.raises(MigrationError) as raised:
        migrate(fleet, **options)
    failures = raised.value.report.failures
    assert [outcome.key for outcome in failures] == ["k0", "k1", "k2"]
    assert all("tenantkit revision --shared" in (outcome.error or "") for outcome in failures)
    assert [outcome.revision for outcome in failures] == ["two"] * 3
    with pytest.raises(ProvisioningError, match="revision --shared"):
        migrated_tenancy().create("new")
    with engine.connect() as connection:
        assert not connection.execute(text("SELECT FROM pg_extension WHERE extname = 'citext'")).all()
        assert not connection.execute(text("SELECT FROM pg_namespace WHERE nspname = 'audit'")).all()


def test_a_downgrade_that_drops_a_database_object_is_refused(
    fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    environment.add("two", "pass", downgrade="op.execute('DROP EXTENSION plpgsql CASCADE')")
    migrate(fleet)
    with pytest.raises(MigrationError, match="a shared revision"):
        downgrade(fleet, "one")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT FROM pg_extension WHERE extname = 'plpgsql'")).all()


def test_a_shared_revision_may_create_a_database_object(
    fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    environment.add("s1", "op.execute('CREATE SCHEMA audit')", line="shared")
    assert preview(fleet, scripts=True).shared is not None
    upgrade_shared(fleet)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT FROM pg_namespace WHERE nspname = 'audit'")).all()


@pytest.mark.parametrize("literal", ["'geheim'", "$$geheim$$", "E'geheim'"])
def test_the_refusal_shows_no_password(literal: str, fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", f'op.execute("CREATE ROLE reader PASSWORD {literal}")')
    with pytest.raises(MigrationError) as raised:
        migrate(fleet)
    for outcome in raised.value.report.failures:
        assert "CREATE ROLE reader PASSWORD" in (outcome.error or "")
        assert "geheim" not in (outcome.error or "")
