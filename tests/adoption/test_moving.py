"""The tables of an application with a single tenant become those of a tenant, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import URL, Connection, Engine, event, select

from tenantkit import AdoptionError, ProvisioningError, Tenancy, migrations
from tenantkit.adoption import adopt_tables, release
from tenantkit.drift import check
from tenantkit.runs.claims import claim
from tests.adoption.conftest import run
from tests.adoption.test_adoption import INITIAL, catalog, make_app_role
from tests.isolation.two_databases import dying
from tests.migrations.environments import Environment
from tests.support.catalog import registered, schemas
from tests.support.models import Project, SharedBase, TenantBase

EVERY_KIND = (
    "CREATE EXTENSION citext",
    "CREATE EXTENSION btree_gist",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a int, b positive)",
    "CREATE TYPE span AS RANGE (subtype = int)",
    "CREATE SEQUENCE numbers",
    "CREATE FUNCTION both_of(p pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT p.a + p.b'",
    "CREATE FUNCTION projects() RETURNS bigint LANGUAGE sql SET search_path = public AS 'SELECT count(*) FROM project'",
    "CREATE PROCEDURE nothing() LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
    "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)",
    "CREATE OPERATOR @+ (FUNCTION = both_of, RIGHTARG = pair)",
    "CREATE COLLATION plain (locale = 'C')",
    "CREATE TEXT SEARCH DICTIONARY words (template = simple)",
    "CREATE TEXT SEARCH CONFIGURATION texts (copy = simple)",
    "CREATE OPERATOR FAMILY numbers USING btree",
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
    "CREATE TRIGGER stamp BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION stamp()",
    "CREATE VIEW names AS SELECT name FROM project",
    "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM names",
    "CREATE STATISTICS both_columns ON id, name FROM project",
)


def make_tables(engine: Engine, *statements: str, shared: str = "shared") -> None:
    """Make the tables of the models in the schema public, with rows."""
    with engine.begin() as connection:
        connection.execution_options(schema_translate_map={"tenant": "public", "shared": shared})
        SharedBase.metadata.create_all(connection)
        TenantBase.metadata.create_all(connection)
    run(engine, f"INSERT INTO {shared}.country VALUES ('de', 'Germany') ON CONFLICT DO NOTHING")
    run(
        engine,
        "INSERT INTO project (name, country_code) VALUES ('one', 'de')",
        "INSERT INTO task (title, state, project_id) VALUES ('t', 'OPEN', 1)",
        *statements,
    )


def names_in(tenancy: Tenancy, key: str) -> list[str]:
    with tenancy.session(key) as session:
        return list(session.scalars(select(Project.name)))


def objects_in(engine: Engine, schema: str) -> set[str]:
    query = f"""
        SELECT DISTINCT object.type || ' ' || object.identity
        FROM (
            SELECT classid, objid FROM pg_depend
            WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace('{schema}')
        ) AS found, pg_identify_object(classid, objid, 0) AS object
        WHERE NOT EXISTS (SELECT FROM pg_depend AS member WHERE member.classid = found.classid AND member.objid = found.objid AND deptype = 'e')
    """
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(query).scalars())


def test_the_tables_move_with_every_kind_of_object(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(engine, *EVERY_KIND)
    before = objects_in(engine, "public")
    assert len(before) > 25
    everything = catalog(engine.url, "public", "shared")
    plan = adopt_tables(tenancy, "public", "acme", allow_differences=True, dry_run=True)
    assert plan.obstacles == ()
    assert (catalog(engine.url, "public", "shared"), registered(engine)) == (everything, {})
    assert adopt_tables(tenancy, "public", "acme", allow_differences=True) == plan
    left = {each for each in objects_in(engine, "public") if not each.startswith("extension")}
    assert left == set()
    assert {each.replace("t_acme.", "public.") for each in objects_in(engine, "t_acme")} == {
        each for each in before if not each.startswith("extension")
    }
    assert names_in(tenancy, "acme") == ["one"]
    with tenancy.session("acme") as session:
        session.add(Project(name="two"))
        session.commit()
        assert session.connection().exec_driver_sql("SELECT projects()").scalar_one() == 2
        assert session.connection().exec_driver_sql("SELECT total(id) FROM project").scalar_one() == 3
    assert tenancy.diagnose() == []
    assert tenancy.create("beta").schema == "t_beta"
    with tenancy.session("acme") as session:
        session.connection().exec_driver_sql("DELETE FROM project WHERE name = 'two'")
        session.connection().exec_driver_sql("SELECT setval('project_id_seq', 1)")
        session.commit()
    release(tenancy, "acme", to="public")
    assert catalog(engine.url, "public", "shared") == everything
    assert registered(engine) == {"beta": "active"}
    assert tenancy.diagnose() == []
    assert adopt_tables(tenancy, "public", "acme", allow_differences=True).schema == "t_acme~2"
    for schema, words in (("t_beta", "or a tenant's"), ("none", "does not exist")):
        with pytest.raises(ProvisioningError, match=words):
            release(tenancy, "acme", to=schema)
    run(engine, "CREATE TABLE task (id int)")
    with pytest.raises(ProvisioningError, match='relation "task" already exists'):
        release(tenancy, "acme", to="public")
    assert names_in(tenancy, "acme") == ["one"]
    tenancy.drop("acme")


def test_a_plan_needs_and_makes_no_registry(make_tenancy: Callable[..., Tenancy], empty_database: URL) -> None:
    tenancy = make_tenancy(database=empty_database)
    run(tenancy.engine, "CREATE SCHEMA shared")
    make_tables(tenancy.engine)
    plan = adopt_tables(tenancy, "public", "acme", dry_run=True)
    assert schemas(tenancy.engine) == {"public", "shared"}
    assert adopt_tables(tenancy, "public", "acme") == plan


@pytest.mark.parametrize("recorded", [None, "r1"])
def test_the_version_table_of_the_tenants_line_moves_or_is_made(
    make_tenancy: Callable[..., Tenancy], environment: Environment, engine: Engine, recorded: str | None
) -> None:
    environment.add("r1", INITIAL)
    environment.add("r2", 'op.create_index("ix_late", "project", ["name"], schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    make_tables(engine)
    if recorded is not None:
        run(
            engine,
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
            f"INSERT INTO alembic_version VALUES ('{recorded}')",
        )
    plan = adopt_tables(tenancy, "public", "acme", revision=None if recorded else "r1")
    assert (plan.revision, plan.is_stamped) == ("r1", recorded is None)
    assert objects_in(engine, "public") == set()
    migrations.migrate(tenancy)
    assert migrations.status(tenancy).is_current
    tenancy.create("beta")
    assert check(tenancy, models=False).odd == ()


def test_shared_tables_move_to_the_schema_that_the_models_say(tenancy: Tenancy, engine: Engine) -> None:
    run(engine, "DROP TABLE shared.country")
    make_tables(engine, shared="public")
    plan = adopt_tables(tenancy, "public", "acme")
    assert (plan.to_shared, plan.obstacles) == (("shared.country",), ())
    with tenancy.session("acme") as session:
        assert session.scalars(select(Project)).one().country is not None
    assert objects_in(engine, "public") == set()


@pytest.mark.all_cases
def test_what_cannot_move_is_refused_and_nothing_is_changed(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(engine)
    everything = catalog(engine.url, "public", "shared")

    def refused(words: str, *statements: str, undo: str, key: str = "acme", **options: Any) -> None:
        run(engine, *statements)
        before = objects_in(engine, "public")
        with pytest.raises(AdoptionError, match=words):
            adopt_tables(tenancy, options.pop("schema", "public"), key, **options)
        assert (objects_in(engine, "public"), registered(engine)) == (before, {})
        run(engine, undo)

    refused("the schema 'none' does not exist", undo="SELECT 1", schema="none")
    refused("the schema 'tenantkit' is tenantkit's", undo="SELECT 1", schema="tenantkit")
    refused(
        "not declared: theirs; declare them, or give leave_others=True",
        "CREATE TABLE theirs (id int)",
        undo="DROP TABLE theirs",
    )
    refused(
        "the table theirs stays, and needs the table project, which would move: drop that key",
        "CREATE TABLE theirs (project int REFERENCES project)", undo="DROP TABLE theirs", leave_others=True,
    )  # fmt: skip
    refused(
        "lacks tables: task", "ALTER TABLE task RENAME TO job", undo="ALTER TABLE job RENAME TO task", leave_others=True
    )
    refused(
        "column project.own should not be there", "ALTER TABLE project ADD own int", undo="ALTER TABLE project DROP own"
    )
    refused(
        r"the body of names\(\).* names what would move with 'public' before it",
        "CREATE FUNCTION names() RETURNS SETOF text LANGUAGE sql AS 'SELECT name FROM \"public\" . project'", undo="DROP FUNCTION names",
    )  # fmt: skip
    run(
        engine, "ALTER TABLE project ADD visibility text CHECK (visibility IN ('public', 'private'))"
    )  # a word, no schema
    assert adopt_tables(tenancy, "public", "acme", allow_differences=True, dry_run=True).obstacles == ()
    run(engine, "ALTER TABLE project DROP visibility")
    assert catalog(engine.url, "public", "shared") == everything
    adopt_tables(tenancy, "public", "acme")
    make_tables(engine)
    with pytest.raises(AdoptionError, match="the key 'acme' is another tenant's"):
        adopt_tables(tenancy, "public", "acme")


def test_a_schema_of_two_applications_keeps_what_is_the_others(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(
        engine,
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE TABLE theirs (id serial PRIMARY KEY, mood mood)",
        "CREATE FUNCTION theirs_too() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW of_theirs AS SELECT id FROM theirs",
        "CREATE VIEW of_both AS SELECT theirs.id FROM theirs",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
        "CREATE TRIGGER stamp BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION stamp()",
        "CREATE VIEW names AS SELECT name FROM project",
        "CREATE VIEW names_again AS SELECT name FROM names",
    )
    before = {each for each in objects_in(engine, "public") if "their" in each or "mood" in each or "of_both" in each}
    plan = adopt_tables(tenancy, "public", "acme", leave_others=True)
    assert objects_in(engine, "public") == before
    assert {"table project", "table task", "type state", "function stamp", "view names", "view names_again"} == set(
        plan.moved
    )
    assert {"table theirs", "type mood", "function theirs_too", "view of_theirs", "view of_both"} == set(plan.staying)
    assert names_in(tenancy, "acme") == ["one"]


def test_it_waits_without_a_lock_for_transactions_that_use_the_tables(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(engine)
    with engine.connect() as busy:
        busy.exec_driver_sql("UPDATE project SET name = 'two'")
        with pytest.raises(ProvisioningError, match="process .* used the tables all the time; end these"):
            adopt_tables(tenancy, "public", "acme", patience=0.1)
        assert registered(engine) == {}
        mover = threading.Thread(target=adopt_tables, args=(tenancy, "public", "acme"), kwargs={"patience": 300})
        tries = threading.Semaphore(0)

        def on_statement(_c: object, _cursor: object, sent: str, *_: object) -> None:
            if sent.startswith("LOCK TABLE"):
                tries.release()

        event.listen(tenancy.engine, "before_cursor_execute", on_statement)
        mover.start()
        for _ in range(5):  # others neither wait behind it, nor fail
            assert tries.acquire(timeout=300)
            for _ in range(10):
                with engine.begin() as other:
                    other.exec_driver_sql("SET LOCAL lock_timeout = '300ms'")
                    assert other.exec_driver_sql("SELECT count(*) FROM project").scalar_one() == 1
        busy.commit()
        mover.join(300)
    assert names_in(tenancy, "acme") == ["two"]


def test_a_sequence_or_a_materialized_view_in_use_hardly_delays_others(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(engine, "CREATE SEQUENCE numbers", "CREATE MATERIALIZED VIEW counts AS SELECT 1")
    limits: list[str] = []

    def see(connection: Connection, _cursor: object, sent: str, *_: object) -> None:
        if "SET SCHEMA" in sent:
            limits.append(connection.exec_driver_sql("SHOW lock_timeout").scalar_one())

    event.listen(tenancy.engine, "before_cursor_execute", see)
    for statement in ("SELECT nextval('numbers')", "SELECT * FROM counts"):
        with engine.connect() as busy:
            busy.exec_driver_sql(statement)
            with pytest.raises(ProvisioningError, match="process .* used the tables all the time; end these"):
                adopt_tables(tenancy, "public", "acme", allow_differences=True, patience=0.1)
    adopt_tables(tenancy, "public", "acme", allow_differences=True)
    release(tenancy, "acme", to="public")
    assert {*limits} == {"100ms"}


def test_a_release_to_another_schema_is_refused_before_anything_moves(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(engine)
    adopt_tables(tenancy, "public", "acme")
    tenancy.create("copy")
    before = objects_in(engine, "t_acme")
    body = "$$BEGIN RETURN (SELECT count(*) FROM t_acme.project); END$$"
    for do, undo, schema, words in (
        ("COMMENT ON SCHEMA t_acme IS 'tenantkit tenant 99'", "COMMENT ON SCHEMA t_acme IS 'tenantkit tenant 1'",
         "public", "has the comment 'tenantkit tenant 99'"),
        ("SELECT 1", "SELECT 1", "tenantkit", "'tenantkit' is tenantkit's or a tenant's"),
        (f"CREATE FUNCTION counted() RETURNS bigint LANGUAGE plpgsql AS {body}", "DROP FUNCTION counted()",
         "public", "'t_acme' is text in the body of public.counted"),
    ):  # fmt: skip
        run(engine, do)
        with pytest.raises(ProvisioningError, match=words):
            release(tenancy, "acme", to=schema)
        run(engine, undo)
    for tenant, copy in ((1, 2), (2, 1)):
        run(engine, "UPDATE tenantkit.tenants SET swapped_with = NULL")
        run(engine, f"UPDATE tenantkit.tenants SET swapped_with = {copy} WHERE id = {tenant}")
        with pytest.raises(ProvisioningError, match="its swap was interrupted"):
            release(tenancy, "acme")
    run(engine, "UPDATE tenantkit.tenants SET swapped_with = NULL")
    with engine.begin() as migration:
        assert claim(migration, "t_acme")
        with pytest.raises(ProvisioningError, match="a migration, or a backup, is at work"):
            release(tenancy, "acme", to="public")
    assert objects_in(engine, "t_acme") == before
    assert tenancy.diagnose() == []


@pytest.mark.all_cases
def test_a_process_that_dies_has_changed_nothing(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(engine)
    tenancy.install()
    before = objects_in(engine, "public")
    for statement in (
        "CREATE SCHEMA t_acme",
        "LOCK TABLE",
        "SET SCHEMA",
        "COMMENT ON SCHEMA",
        "UPDATE tenantkit.tenants",
    ):
        died: list[str] = []

        def dies(
            _c: object, _cursor: object, sent: str, *_: object, words: str = statement, died: list[str] = died
        ) -> bool:
            if words in sent.replace('"', ""):
                died.append(sent)
            return bool(died)

        with pytest.raises(SystemExit), dying(tenancy.engine, "after_cursor_execute", dies):
            adopt_tables(tenancy, "public", "acme")
        assert died
        assert (objects_in(engine, "public"), registered(engine)) == (before, {})
    adopt_tables(tenancy, "public", "acme")
    assert names_in(tenancy, "acme") == ["one"]


@pytest.mark.parametrize("guard", [None, "role"])
def test_roles_may_use_the_tables_as_those_of_every_tenant(
    make_tenancy: Callable[..., Tenancy], engine: Engine, guard: Any
) -> None:
    make_app_role(engine)
    tenancy = make_tenancy(**{"grant_to": ["tk_adopted_app"]} if guard is None else {"guard": guard})
    make_tables(engine, "CREATE SEQUENCE numbers")
    adopt_tables(tenancy, "public", "acme", allow_differences=True)
    assert names_in(tenancy, "acme") == ["one"]
    assert tenancy.diagnose() == []
    if guard is None:
        query = "SELECT has_schema_privilege(%(role)s, 't_acme', 'USAGE') AND has_table_privilege(%(role)s, 't_acme.project', 'UPDATE') AND has_sequence_privilege(%(role)s, 't_acme.numbers', 'USAGE')"
        with engine.connect() as connection:
            assert connection.exec_driver_sql(query, {"role": "tk_adopted_app"}).scalar_one()
    tenancy.drop("acme")


def test_a_key_from_another_schema_is_refused(tenancy: Tenancy, engine: Engine) -> None:
    make_tables(engine, "CREATE SCHEMA billing CREATE TABLE bill (project int REFERENCES public.project)")
    with pytest.raises(AdoptionError, match="other schemas depend on it: constraint bill_project_fkey"):
        adopt_tables(tenancy, "public", "acme")
    assert registered(engine) == {}
