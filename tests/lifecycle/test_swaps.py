"""A tenant gets the tables of its copy while it is served, and its former tables refuse writes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, BigInteger, Column, Connection, Engine, MetaData, Table, Text, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import (
    ConfigurationError,
    ProvisioningError,
    Status,
    Tenancy,
    TenantMovedError,
    TenantUnavailableError,
    drift,
    migrations,
    transfer,
)
from tenantkit.adoption import release
from tenantkit.lifecycle import Swap, cancel_drop, rename, swap
from tenantkit.postgres.errors import sqlstate
from tenantkit.runs.claims import claim
from tests.migrations.environments import Environment
from tests.support.catalog import mark_copy, structure
from tests.support.models import Project, State, Task

LISTED = ("copy", "it has the former tables of a tenant, which refuse writes; drop it if they are not needed any more")


def swapped(tenancy: Any, *arguments: Any, **options: Any) -> Swap:
    """Swap with any kind of tenancy."""
    return tenancy.run(swap, *arguments, **options) if hasattr(tenancy, "run") else swap(tenancy, *arguments, **options)


def make_pair(tenancy: Any) -> None:
    """Make the tenant ``acme`` with a project ``live``, and its suspended copy with a project ``restored``."""
    tenancy.create("acme", domains=["acme.example.com"], attributes={"plan": "pro"})
    tenancy.create("copy")
    add(tenancy, "acme", "live")
    add(tenancy, "copy", "restored")
    tenancy.suspend("copy")
    mark_copy(tenancy, "acme", "copy")


def add(tenancy: Any, key: str, name: str) -> None:
    with tenancy.session(key, any_status=True) as session:
        session.add(Project(name=name, tasks=[Task(title="of it")]))
        session.commit()


def names(tenancy: Any, key: str) -> list[str]:
    with tenancy.session(key, any_status=True) as session:
        return sorted(session.scalars(select(Project.name)))


def findings(tenancy: Any) -> list[tuple[str, str]]:
    return [(each.subject, each.problem) for each in tenancy.diagnose()]


def history(engine: Engine) -> list[tuple[str, ...]]:
    """Return what the last swaps have left: key, event, schemas before and after, partner."""
    query = """
        SELECT key, event, details->>'from_schema', details->>'schema', details->>'with' FROM tenantkit.history
        WHERE event IN ('swapped', 'moved', 'renamed') ORDER BY id
    """
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_tenant_gets_the_tables_of_its_copy_and_back(any_tenancy: Any, engine: Engine) -> None:
    make_pair(any_tenancy)
    before, copy = any_tenancy.get("acme"), any_tenancy.get("copy")
    shapes = {schema: structure(engine, schema) for schema in ("t_acme", "t_copy")}
    done = swapped(any_tenancy, "acme", "copy")
    assert (done.tenant.placement, done.copy.placement) == (copy.placement, before.placement)
    for old, new in ((before, done.tenant), (copy, done.copy)):
        kept = ("id", "key", "name", "status", "domains", "attributes", "created_at", "isolation")
        assert [getattr(new, name) for name in kept] == [getattr(old, name) for name in kept]
    assert any_tenancy.get_by_domain("acme.example.com") == done.tenant
    assert (names(any_tenancy, "acme"), names(any_tenancy, "copy")) == (["restored"], ["live"])
    add(any_tenancy, "acme", "later")
    assert findings(any_tenancy) == [LISTED]

    with pytest.raises(ProvisioningError, match="'copy' has former tables; to swap back to them, give back"):
        swapped(any_tenancy, "acme", "copy")
    back = swapped(any_tenancy, "acme", "copy", back=True)
    assert (back.tenant.schema, back.copy.schema) == ("t_acme", "t_copy")
    with pytest.raises(
        ProvisioningError, match="'copy' has no former tables of the tenant, or not any more; leave out"
    ):
        swapped(any_tenancy, "acme", "copy", back=True)  # whoever repeats it gets no other tables
    assert (names(any_tenancy, "acme"), names(any_tenancy, "copy")) == (["live"], ["later", "restored"])
    add(any_tenancy, "acme", "after")
    assert history(engine) == [
        ("acme", "swapped", "t_acme", "t_copy", "copy"),
        ("copy", "swapped", "t_copy", "t_acme", "acme"),
        ("acme", "swapped", "t_copy", "t_acme", "copy"),
        ("copy", "swapped", "t_acme", "t_copy", "acme"),
    ]
    any_tenancy.drop("copy")
    assert findings(any_tenancy) == []
    assert structure(engine, "t_acme") == shapes["t_acme"]


def test_a_tenant_never_gets_the_tables_of_another_one_by_mistake(tenancy: Tenancy) -> None:
    make_pair(tenancy)
    tenancy.create("globex")
    add(tenancy, "globex", "of globex")
    tenancy.suspend("globex")
    refused = "'globex' was not restored from a backup of 'acme', so its rows may be another customer's; .* any_tenant"
    [obstacle] = swap(tenancy, "acme", "globex", dry_run=True).obstacles
    with pytest.raises(ProvisioningError, match=refused) as error:
        swap(tenancy, "acme", "globex")
    assert obstacle in str(error.value)
    with pytest.raises(ProvisioningError, match="'globex' has no former tables of the tenant"):
        swap(tenancy, "acme", "globex", back=True, any_tenant=True)
    swap(tenancy, "acme", "copy")  # which has the former tables of acme now
    for options in ({"back": True}, {"back": True, "any_tenant": True}, {"any_tenant": True}):
        with pytest.raises(ProvisioningError, match="former tables"):
            swap(tenancy, "globex", "copy", **options)
    assert (names(tenancy, "acme"), names(tenancy, "copy"), names(tenancy, "globex")) == (
        ["restored"], ["live"], ["of globex"]
    )  # fmt: skip


def test_a_tenant_that_was_not_restored_is_a_copy_where_that_is_said(tenancy: Tenancy) -> None:
    for key in ("acme", "repaired"):
        tenancy.create(key)
        add(tenancy, key, key)
    tenancy.suspend("repaired")
    swap(tenancy, "acme", "repaired", any_tenant=True)
    assert (names(tenancy, "acme"), names(tenancy, "repaired")) == (["repaired"], ["acme"])
    swap(tenancy, "acme", "repaired", back=True)
    assert (names(tenancy, "acme"), names(tenancy, "repaired")) == (["acme"], ["repaired"])


def test_a_process_that_has_not_heard_reads_the_former_tables_and_its_write_is_refused_once(
    make_any_tenancy: Callable[..., Any], tenancy: Tenancy
) -> None:
    unaware = make_any_tenancy(cache_ttl=3600)
    make_pair(tenancy)
    assert names(unaware, "acme") == ["live"]
    with unaware.session("acme") as session, unaware.session("acme") as reading:
        reading.scalars(select(Project)).all()
        session.scalars(select(Project)).one().name = "changed"
        swap(tenancy, "acme", "copy")
        with pytest.raises(TenantMovedError) as refused:
            session.commit()
        session.rollback()
        assert reading.scalars(select(Project.name)).all() == ["live"]  # to the end of its transaction
        reading.rollback()
        with pytest.raises(TenantMovedError):
            reading.scalars(select(Project.name)).all()
    error = refused.value
    assert isinstance(error, TenantUnavailableError)
    assert sqlstate(error.__cause__ or error) == "TK010"
    restored = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(restored), restored.tenant, restored.status) == (str(error), "acme", Status.ACTIVE)
    add(unaware, "acme", "again")
    assert names(tenancy, "acme") == ["again", "restored"]
    assert names(tenancy, "copy") == ["live"]


def execute(connection: Connection, statement: str) -> None:
    if not statement.startswith("COPY"):
        connection.exec_driver_sql(statement)
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write("1\n")


WRITES = (
    "INSERT INTO project (name) VALUES ('x')",
    "UPDATE project SET name = 'x' WHERE false",
    "DELETE FROM project",
    "TRUNCATE project CASCADE",
    "COPY task FROM STDIN",
    "MERGE INTO project USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM task RETURNING 1) SELECT count(*) FROM gone",
)


def test_former_tables_refuse_every_write_of_a_superuser(tenancy: Tenancy, engine: Engine) -> None:
    make_pair(tenancy)
    swap(tenancy, "acme", "copy")
    for statement in WRITES:
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT usesuper FROM pg_user WHERE usename = current_user").scalar_one()
            connection.exec_driver_sql("SET search_path TO t_acme")
            with pytest.raises((DBAPIError, psycopg.Error)) as refused:
                execute(connection, statement)
            assert sqlstate(refused.value) == "TK010"
            connection.rollback()
            read = connection.exec_driver_sql("SELECT name FROM t_acme.project FOR KEY SHARE")
            assert read.scalars().all() == ["live"]


def test_a_transaction_with_one_snapshot_reads_the_former_tables_to_its_end(any_tenancy: Any, tenancy: Tenancy) -> None:
    make_pair(tenancy)
    with any_tenancy.session("acme") as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        assert session.scalars(select(Project.name)).all() == ["live"]
        swap(tenancy, "acme", "copy")
        assert session.scalars(select(Project.name)).all() == ["live"]
        session.add(Project(name="x"))
        with pytest.raises(TenantMovedError):
            session.flush()


def test_statements_that_are_prepared_find_the_types_of_the_new_tables(
    make_any_tenancy: Callable[..., Any], tenancy: Tenancy
) -> None:
    any_tenancy = make_any_tenancy(cache_ttl=0)
    make_pair(tenancy)
    textual = text("UPDATE task SET state = CAST(:state AS state) WHERE state = 'OPEN' RETURNING state")
    for swapping in (None, {}, {"back": True}, {}):
        if swapping is not None:
            swap(tenancy, "acme", "copy", **swapping)
        for _ in range(12):
            with any_tenancy.session("acme") as session:
                assert session.scalars(select(Task.state)).all() == [State.OPEN]
                assert session.execute(textual, {"state": "DONE"}).scalars().all() == ["DONE"]
                session.execute(text("SELECT * FROM task")).all()
                session.rollback()


def test_a_role_that_owns_nothing_is_refused_by_the_fence_too(
    make_tenancy: Callable[..., Tenancy], engine: Engine, role: str
) -> None:
    owner = make_tenancy(grant_to=role)
    owner.install()
    make_pair(owner)
    application = make_tenancy(database=engine.url.set(username=role), grant_to=role, cache_ttl=3600)
    assert names(application, "acme") == ["live"]
    swap(owner, "acme", "copy")
    with pytest.raises(TenantMovedError):
        add(application, "acme", "x")
    add(application, "acme", "x")
    assert names(owner, "acme") == ["restored", "x"]


def test_a_plan_changes_nothing_and_names_the_obstacles(tenancy: Tenancy) -> None:
    make_pair(tenancy)
    planned = swap(tenancy, "acme", "copy", dry_run=True)
    assert planned.steps == (
        "refuse writes to the tables in the schema 't_acme' in the database 'main'",
        "give 'acme' the tables in the schema 't_copy' in the database 'main'",
        "give 'copy' its former tables",
    )
    assert (planned.obstacles, names(tenancy, "acme"), findings(tenancy)) == ((), ["live"], [])
    with pytest.raises(
        ProvisioningError, match="'copy' has no former tables of the tenant, or not any more; leave out"
    ):
        swap(tenancy, "acme", "copy", back=True)
    tenancy.resume("copy")
    assert swap(tenancy, "acme", "copy", dry_run=True).obstacles == (
        "'copy' is active, and a copy may not be in use: 'tenantkit suspend copy'",
    )
    with pytest.raises(ProvisioningError, match="'copy' is active"):
        swap(tenancy, "acme", "copy")
    with pytest.raises(ConfigurationError, match="swapped with itself"):
        swap(tenancy, "acme", "acme")


def test_transactions_that_hold_the_tables_are_waited_for_and_then_named(tenancy: Tenancy, engine: Engine) -> None:
    make_pair(tenancy)
    with engine.connect() as other:
        other.exec_driver_sql("SET application_name TO 'report'")
        other.exec_driver_sql("UPDATE t_acme.project SET name = 'held'")
        with pytest.raises(
            ProvisioningError, match=r"in use for 0\.1 s by process \d+ \(report, user \w+, idle in"
        ) as busy:
            swap(tenancy, "acme", "copy", patience=0.1)
        assert "nothing was changed" in str(busy.value)
        add(tenancy, "acme", "meanwhile")
        other.commit()
        swap(tenancy, "acme", "copy")
        other.exec_driver_sql("SELECT count(*) FROM t_acme.task")  # a reader prevents only that the fence is taken down
        with pytest.raises(ProvisioningError, match="in use for 0 s"):
            swap(tenancy, "acme", "copy", back=True, patience=0)
        with pytest.raises(TenantMovedError):
            add(tenancy, "copy", "x")
    assert names(tenancy, "copy") == ["held", "meanwhile"]


def test_a_snapshot_that_is_older_than_the_copy_refuses_the_swap(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as older:
        older.exec_driver_sql("SELECT FROM shared.country")
        tenancy.create("copy")
        tenancy.suspend("copy")
        mark_copy(tenancy, "acme", "copy")
        with pytest.raises(ProvisioningError, match="would find its tables empty: process "):
            swap(tenancy, "acme", "copy")
        older.rollback()
        older.exec_driver_sql("SELECT FROM shared.country")
        assert swap(tenancy, "acme", "copy").tenant.schema == "t_copy"


def test_a_migration_of_either_refuses_the_swap(tenancy: Tenancy, engine: Engine) -> None:
    make_pair(tenancy)
    for schema in ("t_acme", "t_copy"):
        with engine.connect() as connection:
            assert claim(connection, schema)
            with pytest.raises(ProvisioningError, match=f"is at work on the schema '{schema}'"):
                swap(tenancy, "acme", "copy")
    assert names(tenancy, "acme") == ["live"]


def test_a_tenant_whose_rows_have_its_own_value_is_refused(make_tenancy: Callable[..., Tenancy]) -> None:
    class Base(DeclarativeBase):
        metadata = MetaData(schema="tenant")

    class Owned(Base):
        __tablename__ = "owned"

        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)

    tenancy = make_tenancy(tenant=Base.metadata, shared=None, row_column="tenant_id")
    for key in ("acme", "copy"):
        tenancy.create(key)
    tenancy.suspend("copy")
    mark_copy(tenancy, "acme", "copy")
    with pytest.raises(ProvisioningError, match="its rows have its own value in the column 'tenant_id'"):
        swap(tenancy, "acme", "copy")


@pytest.mark.all_cases
def test_a_fenced_schema_is_migrated_checked_and_backed_up_as_any_other(
    make_tenancy: Callable[..., Tenancy], environment: Environment, tmp_path: Path, engine: Engine
) -> None:
    environment.add("t1", 'op.execute("CREATE TABLE n (id serial PRIMARY KEY, a text); INSERT INTO n (a) VALUES (1)")')
    tenancy = make_tenancy(migrations=environment.folder)
    for key in ("acme", "beta", "copy"):
        tenancy.create(key)
    tenancy.suspend("copy")
    mark_copy(tenancy, "acme", "copy")
    swap(tenancy, "acme", "copy")
    assert not drift.check(tenancy).has_drift
    transfer.backup(tenancy, "copy", tmp_path / "copy.tenant")
    transfer.restore(tenancy, tmp_path / "copy.tenant", key="gamma")
    run(engine, "INSERT INTO t_gamma.n (a) VALUES ('2')")
    environment.add("t2", "op.execute(\"ALTER TABLE n ADD b text; UPDATE n SET b = a || '!'\")")
    environment.add("t3", "op.backfill('n', {'b': 'x'}, where=\"b <> 'x'\", schema='tenant')")
    for options in ({"jobs": 0, "target": "t2"}, {}):
        migrations.migrate(tenancy, **options)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT b FROM t_acme.n").scalars().all() == ["x"]
    with pytest.raises(TenantMovedError), tenancy.session("copy", any_status=True) as session:
        session.execute(text("DELETE FROM n"))


@pytest.mark.parametrize("schema", ["t_acme", "t_copy"])
def test_a_view_of_another_schema_would_go_on_with_the_former_tables(
    tenancy: Tenancy, engine: Engine, schema: str
) -> None:
    make_pair(tenancy)
    run(engine, f"CREATE VIEW public.report AS SELECT name FROM {schema}.project")
    with pytest.raises(ProvisioningError, match=f"depend on the schema '{schema}', .*: .*view report"):
        swap(tenancy, "acme", "copy")
    run(engine, "DROP VIEW public.report")
    assert swap(tenancy, "acme", "copy").tenant.schema == "t_copy"


def test_a_copy_at_an_older_revision_is_refused(make_tenancy: Callable[..., Tenancy], environment: Environment) -> None:
    environment.add("t1", 'op.execute("CREATE TABLE n (id serial PRIMARY KEY)")')
    tenancy = make_tenancy(migrations=environment.folder)
    for key in ("acme", "copy"):
        tenancy.create(key)
    tenancy.suspend("copy")
    mark_copy(tenancy, "acme", "copy")
    environment.add("t2", 'op.execute("ALTER TABLE n ADD b text")')
    migrations.migrate(tenancy, tenants=["acme"])
    with pytest.raises(ProvisioningError, match="'copy' lacks the revisions t2 of the tenant; migrate it first"):
        swap(tenancy, "acme", "copy")
    migrations.migrate(tenancy)
    migrations.downgrade(tenancy, "t1", tenants=["acme"])
    assert swap(tenancy, "acme", "copy").tenant.schema == "t_copy"
    with pytest.raises(ProvisioningError, match="lacks the revisions t2"):
        swap(tenancy, "acme", "copy", back=True)


def test_the_doctor_opens_the_tables_of_a_copy_that_is_served(tenancy: Tenancy) -> None:
    make_pair(tenancy)
    swap(tenancy, "acme", "copy")
    tenancy.resume("copy")
    assert [(each.subject, each.repair) for each in tenancy.repair()] == [("copy", "let it write again")]
    assert findings(tenancy) == []
    add(tenancy, "copy", "x")
    assert names(tenancy, "copy") == ["live", "x"]


def test_former_tables_that_are_released_can_be_written_to(tenancy: Tenancy, engine: Engine) -> None:
    make_pair(tenancy)
    shape = structure(engine, "t_acme")
    swap(tenancy, "acme", "copy")
    assert structure(engine, "t_acme") != shape
    release(tenancy, "copy")
    run(engine, "INSERT INTO t_acme.project (name) VALUES ('x')")
    assert structure(engine, "t_acme") == shape


@pytest.mark.all_cases
def test_a_prepared_transaction_refuses_the_swap(two_phase_server: URL) -> None:
    metadata = MetaData(schema="tenant")
    Table("note", metadata, Column("text", Text))
    with closing(Tenancy(two_phase_server, tenant=metadata, listen=False)) as tenancy, ExitStack() as stack:
        tenancy.install()
        for key in ("acme", "copy"):
            tenancy.create(key)
            stack.callback(tenancy.drop, key)
        tenancy.suspend("copy")
        mark_copy(tenancy, "acme", "copy")
        schema = tenancy.get("acme").schema
        with tenancy.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"BEGIN; INSERT INTO \"{schema}\".note VALUES ('x'); PREPARE TRANSACTION 'swap'")
            try:
                with pytest.raises(
                    ProvisioningError, match="have written to its tables: 'swap'; execute COMMIT PREPARED"
                ):
                    swap(tenancy, "acme", "copy", patience=0)
            finally:
                connection.exec_driver_sql("COMMIT PREPARED 'swap'")
        swap(tenancy, "acme", "copy")
        with tenancy.session("copy", any_status=True) as session:
            assert session.scalars(select(metadata.tables["tenant.note"])).all() == ["x"]


def test_a_copy_that_is_to_be_dropped_is_kept_until_then(tenancy: Tenancy) -> None:
    make_pair(tenancy)
    swap(tenancy, "acme", "copy")
    tenancy.drop("copy", after=timedelta(days=7))
    assert tenancy.repair() == []
    with pytest.raises(TenantMovedError):
        add(tenancy, "copy", "x")
    with pytest.raises(ProvisioningError, match="'copy' is drop_scheduled"):
        swap(tenancy, "acme", "copy", back=True)
    cancel_drop(tenancy, "copy")
    swap(tenancy, "acme", "copy", back=True)
    assert names(tenancy, "acme") == ["live"]


def test_a_tenant_is_renamed_after_a_swap(tenancy: Tenancy) -> None:
    make_pair(tenancy)
    swap(tenancy, "acme", "copy")
    rename(tenancy, "acme", "globex", schema=True)
    rename(tenancy, "copy", "old", schema=True)
    back = swap(tenancy, "globex", "old", back=True)
    assert (back.tenant.schema, back.copy.schema) == ("t_old", "t_globex")
    assert names(tenancy, "globex") == ["live"]


def test_foreign_keys_change_former_tables_when_shared_rows_are_removed(tenancy: Tenancy, engine: Engine) -> None:
    make_pair(tenancy)
    run(
        engine,
        "INSERT INTO shared.country VALUES ('de', 'Germany'), ('fr', 'France'), ('it', 'Italy'), ('xx', 'Nowhere')",
        "ALTER TABLE t_acme.project ADD gone text REFERENCES shared.country ON DELETE CASCADE ON UPDATE CASCADE",
        "ALTER TABLE t_acme.task ADD gone text REFERENCES shared.country ON DELETE SET NULL",
        "INSERT INTO t_acme.project (name, gone) VALUES ('of France', 'fr'), ('of Italy', 'it')",
        "UPDATE t_acme.task SET gone = 'de'",
        "CREATE VIEW t_acme.named AS SELECT name FROM t_acme.project",
        """
        CREATE FUNCTION t_acme.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE ONLY "t_acme"."project" SET name = NEW.name WHERE project.name OPERATOR(pg_catalog.=) OLD.name;
            RETURN NEW;
        END $$
        """,
        "CREATE TRIGGER changed INSTEAD OF UPDATE ON t_acme.named FOR EACH ROW EXECUTE FUNCTION t_acme.change()",
    )
    swap(tenancy, "acme", "copy")
    for code in ("de", "fr", "xx"):
        run(engine, f"DELETE FROM shared.country WHERE code = '{code}'")
    run(engine, "UPDATE shared.country SET code = 'IT' WHERE code = 'it'")
    assert names(tenancy, "copy") == ["live", "of Italy"]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT gone FROM t_acme.project ORDER BY 1").scalars().all() == ["IT", None]
        assert connection.exec_driver_sql("SELECT gone FROM t_acme.task").scalars().all() == [None]
    with pytest.raises(DBAPIError, match="refuse writes"):  # by a trigger that is not a foreign key's
        run(engine, "UPDATE t_acme.named SET name = 'x'")
