"""Tenants are created completely or not at all, by one process, and dropped without objects of others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from itertools import count
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import URL, Engine, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from tenantkit import (
    ConfigurationError,
    InvalidTenantKeyError,
    ProvisioningError,
    Status,
    Tenancy,
    TenantExistsError,
    TenantNotFoundError,
    TenantUnavailableError,
)
from tenantkit.lifecycle import preview_drop
from tests.support import processes
from tests.support.catalog import fingerprint, registered, schemas, structure
from tests.support.models import Country, Project, Task
from tests.support.processes import until, until_alone, worker

KEPT = {"public", "shared", "tenantkit"}


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_new_tenant_has_every_table_type_and_seeded_row(any_tenancy: Any, engine: Engine) -> None:
    any_tenancy.create("acme", seed=processes.seed)
    found = {(kind, name) for kind, name, _ in structure(engine, "t_acme")}
    assert {("relation", "project"), ("relation", "task"), ("label", "state"), ("index", "pk_task")} <= found
    assert ("constraint", "fk_project_country_code_country") in found
    assert structure(engine, "public") == []
    with any_tenancy.session("acme") as session:
        assert session.scalar(select(func.count()).select_from(Task)) == 2
    any_tenancy.create("beta")
    assert structure(engine, "t_beta") == structure(engine, "t_acme")


def test_seeds_run_in_order_in_the_transaction_of_the_creation(
    make_any_tenancy: Callable[..., Any], engine: Engine
) -> None:
    def first(session: Any) -> None:
        assert session.tenant.status is Status.PROVISIONING
        session.add(Project(name="first"))
        session.commit()
        assert registered(engine) == {"acme": "provisioning"}
        assert "t_acme" not in schemas(engine)

    def second(session: Any) -> None:
        assert session.scalars(text("SELECT name FROM project")).all() == ["first"]
        session.add(Project(name="second"))

    tenancy = make_any_tenancy(seed=first)
    tenancy.create("acme", seed=second)
    with tenancy.session("acme") as session:
        assert session.scalars(select(Project.name).order_by(Project.id)).all() == ["first", "second"]


def test_a_tenant_is_not_served_while_it_is_created(any_tenancy: Any) -> None:
    def seed(_: Any) -> None:
        with any_tenancy.session("acme"):
            pass

    with pytest.raises(ProvisioningError, match="seeding"):
        any_tenancy.create("acme", seed=seed)


def test_a_failed_seed_leaves_no_schema_and_can_be_repeated(any_tenancy: Any, engine: Engine) -> None:
    def fail(session: Any) -> None:
        session.add(Country(code="XX", name="nowhere"))
        session.flush()
        raise RuntimeError("no luck")

    with pytest.raises(ProvisioningError, match=r"seeding failed \(RuntimeError: no luck\)") as failed:
        any_tenancy.create("acme", domains=["acme.test"], seed=fail)
    assert (failed.value.tenant, failed.value.step) == ("acme", "seeding")
    assert isinstance(failed.value.__cause__, RuntimeError)
    assert registered(engine) == {"acme": "failed"}
    assert schemas(engine) == KEPT
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT error FROM tenantkit.tenants").scalar_one() == "seeding: RuntimeError"
        assert connection.exec_driver_sql("SELECT count(*) FROM shared.country").scalar_one() == 0
    with pytest.raises(TenantUnavailableError), any_tenancy.session("acme"):
        pass
    assert [finding.subject for finding in any_tenancy.diagnose()] == ["acme"]

    made = any_tenancy.create("acme", name="Acme", domains=["other.test"], seed=processes.seed)
    assert (made.status, made.name, made.domains) == (Status.ACTIVE, "Acme", ("other.test",))
    assert any_tenancy.diagnose() == []
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT error FROM tenantkit.tenants").scalar_one() is None


def test_a_seed_that_raises_tenant_exists_error_is_a_failed_seed(tenancy: Tenancy, engine: Engine) -> None:
    def fail(_: Any) -> None:
        raise TenantExistsError("another")

    with pytest.raises(ProvisioningError, match="seeding"):
        tenancy.create("acme", seed=fail)
    assert registered(engine) == {"acme": "failed"}


CHANGES: dict[str, Callable[[Tenancy, str], object]] = {
    "create": Tenancy.create,
    "drop": Tenancy.drop,
    "suspend": Tenancy.suspend,
    "resume": Tenancy.resume,
    "start_maintenance": Tenancy.start_maintenance,
    "update": lambda tenancy, key: tenancy.update(key, name="other"),
    "add_domain": lambda tenancy, key: tenancy.add_domain(key, "acme.test"),
}


@pytest.mark.some_values(change=4)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_seed_that_changes_its_own_tenant_does_not_wait_for_itself(
    tenancy: Tenancy, engine: Engine, change: Callable[[Tenancy, str], object]
) -> None:
    later: list[Context] = []

    def seed(_: Any) -> None:
        later.append(copy_context())
        change(tenancy, "acme")

    with pytest.raises(ProvisioningError, match="its seed cannot change it in the registry: do that afterwards"):
        tenancy.create("acme", seed=seed)
    assert registered(engine) == {"acme": "failed"}
    tenancy.create("acme")
    assert later[0].run(tenancy.suspend, "acme").status is Status.SUSPENDED


def test_a_seed_may_change_another_tenant(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    tenancy.create("beta", seed=lambda _: tenancy.update("acme", name="first"))
    assert tenancy.get("acme").name == "first"


def test_a_failed_builder_leaves_no_schema(tenancy: Tenancy, engine: Engine) -> None:
    run(engine, "ALTER TABLE shared.country RENAME TO nation")
    with pytest.raises(ProvisioningError, match="creating the tables"):
        tenancy.create("acme")
    assert registered(engine) == {"acme": "failed"}
    assert schemas(engine) == KEPT
    run(engine, "ALTER TABLE shared.nation RENAME TO country")
    assert tenancy.create("acme").status is Status.ACTIVE


@pytest.mark.parametrize("raw_sql", ["allow", "forbid"])
def test_a_creation_with_a_lock_conflict_is_retried(make_tenancy: Callable[..., Tenancy], raw_sql: str) -> None:
    attempts: list[int] = []

    def seed(session: Any) -> None:
        attempts.append(1)
        session.add(Project(name="first"))
        session.flush()
        if len(attempts) < 3:
            raise DBAPIError("SELECT", {}, SerializationError())

    tenancy = make_tenancy(raw_sql=raw_sql)
    assert tenancy.create("acme", seed=seed).status is Status.ACTIVE
    assert len(attempts) == 3
    with tenancy.session("acme") as session:
        assert session.scalars(select(Project.name)).all() == ["first"]


class SerializationError(Exception):
    sqlstate = "40001"


def test_a_foreign_schema_of_the_tenants_name_is_never_touched(any_tenancy: Any, engine: Engine) -> None:
    run(engine, "CREATE SCHEMA t_acme", "CREATE TABLE t_acme.precious AS SELECT 1 AS a")
    before = fingerprint(engine, "t_acme")
    with pytest.raises(ProvisioningError, match="exists, and is not tenantkit's"):
        any_tenancy.create("acme")
    assert registered(engine) == {}
    assert fingerprint(engine, "t_acme") == before


def test_a_schema_that_lost_its_mark_is_not_dropped(any_tenancy: Any, engine: Engine) -> None:
    any_tenancy.create("acme")
    run(engine, "COMMENT ON SCHEMA t_acme IS 'mine now'")
    assert [finding.repair for finding in any_tenancy.diagnose()] == [None]
    before = structure(engine, "t_acme")
    with pytest.raises(ProvisioningError, match="does not carry the comment"):
        any_tenancy.drop("acme")
    assert structure(engine, "t_acme") == before
    assert registered(engine) == {"acme": "active"}


def test_a_foreign_schema_with_the_name_of_a_dropped_one_is_kept(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    run(
        engine,
        "UPDATE tenantkit.tenants SET status = 'dropping'",
        "DROP SCHEMA t_acme CASCADE",
        "CREATE SCHEMA t_acme",
        "CREATE TABLE t_acme.precious (code text REFERENCES shared.country)",
    )
    before = structure(engine, "t_acme")
    for finish in (lambda: tenancy.drop("acme"), tenancy.repair, lambda: tenancy.create("acme")):
        with pytest.raises(ProvisioningError, match="does not carry the comment"):
            finish()
    assert structure(engine, "t_acme") == before


DEPENDANTS = {
    "a view": "CREATE VIEW shared.report AS SELECT name FROM t_acme.project",
    "a view on a view": "CREATE VIEW t_acme.v AS SELECT 1 AS a; CREATE VIEW shared.report AS SELECT a FROM t_acme.v",
    "a materialized view": "CREATE MATERIALIZED VIEW shared.report AS SELECT name FROM t_acme.project",
    "a foreign key": "CREATE TABLE shared.report (id int REFERENCES t_acme.project (id))",
    "a column of its type": "CREATE TABLE shared.report (state t_acme.state)",
    "a column of an array of its type": "CREATE TABLE shared.report (states t_acme.state[])",
    "an inheriting table": "CREATE TABLE shared.report () INHERITS (t_acme.project)",
    "a default": "CREATE TABLE shared.report (id int DEFAULT nextval('t_acme.project_id_seq'))",
    "a function": "CREATE FUNCTION shared.report() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM t_acme.project; END",
    "a function of its type": "CREATE FUNCTION shared.report(t_acme.state) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "another tenant's trigger": """
        CREATE FUNCTION t_acme.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER report AFTER INSERT ON t_beta.task EXECUTE FUNCTION t_acme.f()""",
    "another tenant's foreign key": """
        ALTER TABLE t_beta.task ADD CONSTRAINT report FOREIGN KEY (project_id) REFERENCES t_acme.project""",
}


@pytest.mark.some_values(statements=8)
@pytest.mark.parametrize("statements", DEPENDANTS.values(), ids=DEPENDANTS)
def test_dependent_objects_of_other_schemas_prevent_a_removal(
    tenancy: Tenancy, engine: Engine, statements: str
) -> None:
    tenancy.create("acme")
    tenancy.create("beta")
    run(engine, *statements.split(";\n"))
    before = [fingerprint(engine, schema) for schema in ("t_acme", "t_beta", "shared")]
    with pytest.raises(ProvisioningError, match="other schemas depend on it: .*report"):
        tenancy.drop("acme")
    assert [fingerprint(engine, schema) for schema in ("t_acme", "t_beta", "shared")] == before
    assert registered(engine)["acme"] == "active"


def test_objects_that_depend_on_other_schemas_are_dropped_with_the_tenant(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme", seed=processes.seed)
    tenancy.create("beta", seed=processes.seed)
    run(
        engine,
        "CREATE VIEW t_acme.v AS SELECT * FROM shared.country",
        "CREATE TABLE t_acme.long AS SELECT repeat('x', 9999) AS a",
    )
    before = fingerprint(engine, "t_beta"), structure(engine, "shared")
    assert tenancy.drop("acme").key == "acme"
    assert (fingerprint(engine, "t_beta"), structure(engine, "shared")) == before
    assert schemas(engine) == {*KEPT, "t_beta"}
    assert registered(engine) == {"beta": "active"}


def test_a_second_drop_raises_tenant_not_found(any_tenancy: Any, engine: Engine) -> None:
    any_tenancy.create("acme")
    assert any_tenancy.drop("acme").key == "acme"
    with pytest.raises(TenantNotFoundError):
        any_tenancy.drop("acme")
    assert schemas(engine) == KEPT
    assert registered(engine) == {}


def test_removal_waits_for_a_shared_table_in_short_transactions(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    with engine.connect() as reader, ThreadPoolExecutor(1) as threads:
        reader.exec_driver_sql("SELECT * FROM shared.country").all()
        dropping = threads.submit(tenancy.drop, "acme")
        until(lambda: registered(engine) == {"acme": "dropping"})
        assert not dropping.done()
        with pytest.raises(TenantUnavailableError):
            tenancy.session("acme")
        reader.rollback()
        assert dropping.result().key == "acme"
    assert schemas(engine) == KEPT


def test_of_two_processes_that_create_a_key_one_succeeds(tenancy: Tenancy, engine: Engine) -> None:
    for number in range(4):
        key = f"race{number}"
        with worker(engine.url, processes.create, key) as one, worker(engine.url, processes.create, key) as other:
            answers = sorted([one.wait(), other.wait()])
        assert answers == ["TenantExistsError", "active"]
        assert registered(engine)[key] == "active"
        assert f"t_{key}" in schemas(engine)
    assert tenancy.diagnose() == []


@pytest.mark.parametrize("number", range(8, 13))
def test_a_key_that_another_process_took_after_the_lookup_is_refused(
    tenancy: Tenancy, engine: Engine, number: int
) -> None:
    with worker(engine.url, processes.create, "acme", stop_at=number) as maker:
        assert maker.wait() == "stopped"
        assert tenancy.create("acme").status == "active"
        maker.go_on()
        assert maker.wait() == "TenantExistsError"


@pytest.mark.parametrize("number", [9, 17, 33, 37, 41])
def test_a_key_that_a_living_process_is_creating_is_refused(tenancy: Tenancy, engine: Engine, number: int) -> None:
    with worker(engine.url, processes.create, "acme", stop_at=number) as maker:
        assert maker.wait() == "stopped"
        held = registered(engine) == {"acme": "provisioning"} and not tenancy.diagnose()
        if held:
            with pytest.raises(TenantExistsError):
                tenancy.create("acme")
            assert tenancy.repair() == []
        maker.go_on()
        assert maker.wait() == "active"
    assert held or number < 33
    assert registered(engine) == {"acme": "active"}


def test_of_threads_that_create_and_drop_one_key_each_ends_cleanly(
    make_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    tenancy = make_tenancy(engine_options={"pool_size": 4})
    barrier = Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(4):
            try:
                if (number + turn) % 2:
                    tenancy.create("acme", seed=processes.seed)
                else:
                    tenancy.drop("acme")
            except (TenantExistsError, TenantNotFoundError):
                pass

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert [finding for finding in tenancy.diagnose() if finding.repair is None] == []
    tenancy.repair()
    left = [name for name in schemas(engine) if name.startswith("t_acme")]  # t_acme~2 after the first removal
    assert len(left) == (registered(engine) == {"acme": "active"})


@pytest.mark.all_cases
def test_a_repair_ignores_a_tenant_that_became_active_meanwhile(tenancy: Tenancy, engine: Engine) -> None:
    """The doctor read the status between two transactions of the creator; it must read it again before a removal."""
    for number in count(13):
        with worker(engine.url, processes.create, "acme", stop_at=number) as maker:
            assert maker.wait() == "stopped"
            between = bool(tenancy.diagnose())
            if between:
                with worker(engine.url, processes.repair, "", stop_at=11) as doctor:
                    assert doctor.wait() == "stopped"
                    maker.go_on()
                    assert maker.wait() == "active"
                    doctor.go_on()
                    assert doctor.wait() == ["acme"]
        if between:
            break
        until_alone(engine)
    assert registered(engine) == {"acme": "active"}
    assert "t_acme" in schemas(engine)


def test_a_create_that_finishes_a_removal_keeps_the_next_tenant_of_that_key(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    run(engine, "UPDATE tenantkit.tenants SET status = 'dropping'")
    with worker(engine.url, processes.create, "acme", stop_at=8) as late:
        assert late.wait() == "stopped"
        tenancy.drop("acme")
        second = tenancy.create("acme", seed=processes.seed)
        before = fingerprint(engine, "t_acme")
        late.go_on()
        assert late.wait() == "TenantExistsError"
    assert tenancy.get("acme") == second
    assert fingerprint(engine, "t_acme") == before


def test_a_schema_without_a_tenant_is_only_reported(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    run(engine, "DELETE FROM tenantkit.tenants")
    assert [(finding.subject, finding.repair) for finding in tenancy.repair()] == [("t_acme", None)]
    assert "t_acme" in schemas(engine)


def test_a_tenant_without_its_schema_is_only_reported(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    run(engine, "DROP SCHEMA t_acme CASCADE")
    [finding] = tenancy.diagnose()
    assert (finding.subject, finding.repair) == ("acme", None)
    assert "does not exist" in finding.problem
    assert tenancy.drop("acme").key == "acme"


def test_a_repair_continues_after_a_failure_and_reports_it(tenancy: Tenancy, engine: Engine) -> None:
    for key in ("acme", "beta"):
        tenancy.create(key)
    run(
        engine,
        "UPDATE tenantkit.tenants SET status = 'dropping'",
        "CREATE VIEW shared.report AS SELECT name FROM t_acme.project",
    )
    with pytest.raises(ProvisioningError, match="acme.*report"):
        tenancy.repair()
    assert registered(engine) == {"acme": "dropping"}
    assert schemas(engine) == {*KEPT, "t_acme"}


# Refusals of the database


def test_missing_privileges_are_named(database: URL, engine: Engine, make_tenancy: Callable[..., Tenancy]) -> None:
    role = f"weak_{database.database}"
    run(
        engine,
        f"CREATE ROLE {role} LOGIN PASSWORD 's3cret-word'",
        f"GRANT USAGE ON SCHEMA tenantkit, shared TO {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA tenantkit TO {role}",
    )
    try:
        weak = make_tenancy(database=database.set(username=role, password="s3cret-word"))
        lacks = (
            rf"login '{role}' lacks a privilege \(.*(permission denied|must be owner).*\)\. Use the URL of the login"
        )
        with pytest.raises(ProvisioningError, match=f"creating the schema failed .*{lacks}") as refused:
            weak.create("acme")
        assert "s3cret-word" not in str(refused.value)
        assert registered(engine) == {"acme": "failed"}
        assert weak.repair()
        assert registered(engine) == {}
        make_tenancy().create("globex")
        with pytest.raises(ProvisioningError, match=f"dropping failed .*{lacks}"):
            weak.drop("globex")
        make_tenancy().drop("globex")
        with pytest.raises(ConfigurationError, match=lacks):
            make_tenancy(database=database.set(username=role, database="postgres", password="x")).install()
        weak.engine.dispose()
    finally:
        run(engine, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_the_error_for_an_unreachable_database_has_no_password(
    make_any_tenancy: Callable[..., Any],
) -> None:
    url = URL.create("postgresql", "someone", "s3cret-word", "127.0.0.1", 1, "nowhere")
    for use in (lambda it: it.create("acme"), lambda it: it.get("acme"), lambda it: it.list(), lambda it: it.install()):
        with pytest.raises((OperationalError, OSError)) as unreachable:
            use(make_any_tenancy(database=url))
        shown = f"{unreachable.value} {unreachable.value!r} {unreachable.value.__cause__!r}"
        assert "s3cret-word" not in shown


def test_a_schema_prefix_is_part_of_every_name(make_tenancy: Callable[..., Tenancy], engine: Engine) -> None:
    tenancy = make_tenancy(application="notes", schema_prefix="app-1_")
    tenancy.create("a" * 48)
    assert "app-1_" + "a" * 48 in schemas(engine)
    with tenancy.session("a" * 48) as session:
        session.add(Project(name="x"))
        session.commit()
        assert session.scalars(text("SELECT name FROM project")).all() == ["x"]
    bare = make_tenancy(application="notes", schema_prefix="")
    for key in ("tenant", "shared", "tenantkit_no_tenant"):
        with pytest.raises(InvalidTenantKeyError, match="another use"):
            bare.create(key)
    assert bare.create("beta").schema == "beta"


@pytest.mark.parametrize("prefix", ["p" * 11, "customer_schema_of_our_application_", "p" * 57])
def test_with_a_long_schema_prefix_keys_are_shorter(
    make_any_tenancy: Callable[..., Any], engine: Engine, prefix: str
) -> None:
    tenancy = make_any_tenancy(schema_prefix=prefix)
    room = 63 - len("~9999") - len(prefix)
    with pytest.raises(
        InvalidTenantKeyError, match=f"longer than the {room} bytes that schema_prefix='{prefix}' leaves"
    ):
        tenancy.create("k" * (room + 1))
    tenancy.create("k" * room)
    tenancy.drop("k" * room)
    assert tenancy.create("k" * room).schema == f"{prefix}{'k' * room}~2"
    assert f"{prefix}{'k' * room}~2" in schemas(engine)


@pytest.mark.parametrize("prefix", ["pg_", "T_", "1_", "a" * 58, 'a"', "a b", "ä"])
def test_an_invalid_schema_prefix_is_refused(make_tenancy: Callable[..., Tenancy], prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="schema_prefix"):
        make_tenancy(schema_prefix=prefix)


def test_a_tenant_whose_swap_was_interrupted_is_not_dropped_before_its_end(tenancy: Tenancy, engine: Engine) -> None:
    ids = {key: tenancy.create(key).id for key in ("acme", "copy")}
    tenancy.suspend("copy")
    with engine.begin() as connection:  # as after the step that gives the copy's tables to the tenant
        connection.exec_driver_sql(f"UPDATE tenantkit.tenants SET swapped_with = {ids['copy']} WHERE key = 'acme'")
        connection.exec_driver_sql(f"COMMENT ON SCHEMA t_copy IS 'tenantkit tenant {ids['acme']}'")
    with pytest.raises(
        ProvisioningError, match="its swap with 'copy' was interrupted; run 'tenantkit doctor --repair'"
    ):
        tenancy.drop("acme")
    assert len(preview_drop(tenancy, "acme").obstacles) == 1
    tenancy.repair()
    tenancy.drop("acme")
    tenancy.drop("copy")
    assert schemas(engine) == {"public", "shared", "tenantkit"}
