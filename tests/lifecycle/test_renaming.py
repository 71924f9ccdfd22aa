"""A tenant gets another key while it is served; no other tenant ever gets the name of its schema."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from threading import Event
from typing import Any

import pytest
from sqlalchemy import URL, Connection, Engine, MetaData, func, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import (
    InvalidTenantKeyError,
    MigrationError,
    ProvisioningError,
    Status,
    Tenancy,
    Tenant,
    TenantExistsError,
    TenantNotFoundError,
    TenantUnavailableError,
    migrations,
    tenant_context,
)
from tenantkit.isolation.isolations import Isolations
from tenantkit.lifecycle import Renaming, rename
from tenantkit.postgres.limits import Limits
from tenantkit.registry import store
from tenantkit.status import COMPLETE
from tenantkit.web import session_cookies
from tests.migrations.environments import Environment
from tests.support import processes
from tests.support.catalog import fingerprint, registered, schemas, set_status, structure
from tests.support.models import Project, Task
from tests.support.processes import closed_gate, until, until_alone, waiting, worker


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def renamed(tenancy: Any, *arguments: Any, **options: Any) -> Renaming:
    """Rename with any kind of tenancy."""
    return (
        tenancy.run(rename, *arguments, **options)
        if hasattr(tenancy, "run")
        else rename(tenancy, *arguments, **options)
    )


def test_a_tenant_gets_another_key_and_keeps_all_else(any_tenancy: Any, engine: Engine) -> None:
    before = any_tenancy.create("acme", domains=["acme.example.com"], attributes={"plan": "pro"}, seed=processes.seed)
    shape = fingerprint(engine, "t_acme")[:-1]
    done = renamed(any_tenancy, "acme", "globex")
    assert (done.tenant.key, done.tenant.id, done.tenant.schema, done.schema) == (
        "globex",
        before.id,
        "t_acme",
        "t_acme",
    )
    assert done.steps == ("set the key 'globex' in the registry, in place of 'acme'",)
    assert any_tenancy.get_by_domain("acme.example.com").key == "globex"
    assert any_tenancy.get("globex").attributes == {"plan": "pro"}
    assert fingerprint(engine, "t_acme")[:-1] == shape
    with pytest.raises(TenantNotFoundError):
        any_tenancy.get("acme")
    with any_tenancy.session("globex") as session:
        assert session.scalar(select(func.count()).select_from(Task)) == 2
    assert any_tenancy.diagnose() == []


def test_the_schema_follows_if_asked_for(any_tenancy: Any, engine: Engine) -> None:
    any_tenancy.create("acme", seed=processes.seed)
    any_tenancy.create("beta")
    shape = structure(engine, "t_acme")
    done = renamed(any_tenancy, "acme", "globex", schema=True)
    assert done.tenant.schema == "t_globex"
    assert schemas(engine) == {"public", "shared", "tenantkit", "t_globex", "t_beta"}
    assert structure(engine, "t_globex") == shape
    with any_tenancy.session("globex") as session:
        assert session.scalar(select(func.count()).select_from(Task)) == 2
    assert any_tenancy.diagnose() == []


def test_sessions_in_flight_go_on(any_tenancy: Any) -> None:
    tenant = any_tenancy.create("acme", seed=processes.seed)
    cookie: dict[str, Any] = {}
    session_cookies.bind(cookie, tenant)
    with any_tenancy.session("acme") as session, tenant_context(tenant), any_tenancy.session() as following:
        session.add(Project(name="before"))
        project = session.scalars(select(Project).where(Project.name == "first")).one()
        renamed(any_tenancy, "acme", "globex")
        session.add(Project(name="after"))
        session.commit()
        project.name = "changed"
        session.commit()
        assert following.scalar(select(func.count()).select_from(Project)) == 3
        with any_tenancy.session() as opened_later:  # of a request that began before
            assert opened_later.tenant.key == "globex"
            assert opened_later.scalar(select(func.count()).select_from(Project)) == 3
    assert session_cookies.is_bound(cookie, any_tenancy.get("globex"))


def test_a_tenant_with_the_former_key_is_another_one(any_tenancy: Any) -> None:
    tenant = any_tenancy.create("acme", seed=processes.seed)
    renamed(any_tenancy, "acme", "globex")
    other = any_tenancy.create("acme")
    assert (other.schema, other.id) == ("t_acme~2", tenant.id + 1)
    with any_tenancy.session(tenant) as session:  # a value from before, also while its former key is cached for another
        assert (session.tenant.key, session.tenant.id) == ("globex", tenant.id)
        assert session.scalar(select(func.count()).select_from(Project)) == 1
    with any_tenancy.session("acme") as session:
        assert session.scalar(select(func.count()).select_from(Project)) == 0


def test_a_session_that_is_open_while_its_schema_is_renamed_is_refused_and_the_next_one_works(any_tenancy: Any) -> None:
    any_tenancy.create("acme", seed=processes.seed)
    with any_tenancy.session("acme") as session:
        session.scalars(select(Project)).all()
        session.commit()
        renamed(any_tenancy, "acme", "globex", schema=True)
        with pytest.raises(TenantUnavailableError, match="its tables have moved"):
            session.scalars(select(Project)).all()
    with any_tenancy.session("globex") as session:
        assert session.scalar(select(func.count()).select_from(Project)) == 1


def test_a_process_that_has_not_heard_of_a_renamed_schema_fails_and_looks_it_up(
    make_any_tenancy: Callable[..., Any], tenancy: Tenancy
) -> None:
    unaware = make_any_tenancy(cache_ttl=3600)
    tenancy.create("acme", domains=["acme.example.com"], seed=processes.seed)

    def count_projects(statement: Any) -> Any:
        with unaware.session(unaware.get_by_domain("acme.example.com")) as session:
            return session.scalar(statement)

    textual = text("SELECT count(*) FROM project")
    for _ in range(12):  # until the statements are prepared
        assert (count_projects(select(func.count(Project.id))), count_projects(textual)) == (1, 1)
    for number, statement in enumerate((select(func.count(Project.id)), textual)):
        rename(tenancy, f"globex{number}" if number else "acme", f"globex{number + 1}", schema=True)
        with pytest.raises(ProgrammingError, match="does not exist") as failed:
            count_projects(statement)
        assert "If that was renamed meanwhile, repeat the work in a new session" in failed.value.__notes__[0]
        assert count_projects(statement) == 1


def test_processes_that_listen_hear_of_both_keys(make_tenancy: Callable[..., Tenancy], tenancy: Tenancy) -> None:
    tenancy.create("acme")
    listening = make_tenancy(listen=True, cache_ttl=3600)
    with pytest.raises(TenantNotFoundError):
        listening.get("globex")
    assert listening.get("acme").key == "acme"
    assert listening.lookups.listener is not None
    assert listening.lookups.listener.listening.wait(10)
    assert listening.get("acme").key == "acme"
    rename(tenancy, "acme", "globex")
    until(lambda: listening.cache.find(("key", "acme")) is None, seconds=10)
    assert listening.get("globex").key == "globex"
    with pytest.raises(TenantNotFoundError):
        listening.get("acme")


def test_a_tenant_can_have_its_former_key_and_schema_again(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    for _ in range(2):
        assert rename(tenancy, "acme", "globex", schema=True).schema == "t_globex"
        assert rename(tenancy, "globex", "acme", schema=True).schema == "t_acme"
    rename(tenancy, "acme", "globex")
    assert rename(tenancy, "globex", "globex", schema=True).schema == "t_globex"
    with pytest.raises(InvalidTenantKeyError, match="the tenant has this key already"):
        rename(tenancy, "globex", "globex", schema=True)
    tenancy.drop("globex")
    assert (tenancy.create("acme").schema, tenancy.create("globex").schema) == ("t_acme~2", "t_globex~3")


@pytest.mark.all_cases
@pytest.mark.parametrize("chance", [0, *(pytest.param(chance, marks=pytest.mark.all_cases) for chance in range(1, 8))])
def test_no_two_tenants_ever_have_a_schema_of_one_name(
    make_tenancy: Callable[..., Tenancy], engine: Engine, chance: int
) -> None:
    tenancy, random = make_tenancy(tenant=Base.metadata, shared=None), Random(chance)
    held: defaultdict[str, set[int]] = defaultdict(set)
    for _ in range(60):
        living, keys = {tenant.key: tenant for tenant in tenancy.list()}, ["acme", "beta", "gamma"]
        key, new = random.choice(keys), random.choice(keys)
        if key not in living:
            tenancy.create(key, seed=lambda session: session.add(Note(text=str(session.tenant.id))))
        elif random.random() < 0.3:
            tenancy.drop(key)
        elif new not in living:
            rename(tenancy, key, new, schema=random.random() < 0.6)
        for tenant in tenancy.list():
            held[tenant.schema].add(tenant.id)
            with tenancy.session(tenant) as session:
                assert session.scalars(select(Note.text)).all() == [str(tenant.id)]
    assert {name: ids for name, ids in held.items() if len(ids) > 1} == {}
    assert any("~" in name for name in held)
    assert tenancy.diagnose() == []


REFUSED: dict[str, tuple[tuple[Any, ...], type[Exception], str]] = {
    "the present key": (("acme", "acme"), InvalidTenantKeyError, "the tenant has this key already"),
    "a key in use": (("acme", "beta"), TenantExistsError, "exists already"),
    "no tenant": (("nobody", "globex"), TenantNotFoundError, "There is no tenant 'nobody'"),
    "an invalid key": (("acme", "Globex"), InvalidTenantKeyError, "upper-case"),
    "a reserved key": (("acme", "www"), InvalidTenantKeyError, "it is reserved"),
}


@pytest.mark.parametrize("schema", [False, True])
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_renamed_is_refused(
    make_tenancy: Callable[..., Tenancy], engine: Engine, what: str, schema: bool
) -> None:
    tenancy = make_tenancy(reserved_keys=["www"])
    tenancy.create("acme")
    tenancy.create("beta")
    arguments, error, message = REFUSED[what]
    before = [fingerprint(engine, name) for name in ("t_acme", "t_beta")]
    with pytest.raises(error, match=message):
        rename(tenancy, *arguments, schema=schema)
    assert [fingerprint(engine, name) for name in ("t_acme", "t_beta")] == before


@pytest.mark.parametrize("status", list(Status))
def test_finished_tenants_of_any_status_are_renamed_and_unfinished_ones_are_not(
    tenancy: Tenancy, engine: Engine, status: Status
) -> None:
    tenancy.create("acme")
    set_status(engine, status)
    tenancy.cache.clear()
    if status in COMPLETE:
        assert rename(tenancy, "acme", "globex", schema=True).tenant.status is status
    else:
        with pytest.raises(
            ProvisioningError, match=f"the tenant is {status}: finish its creation or its removal first"
        ):
            rename(tenancy, "acme", "globex")
        assert registered(engine) == {"acme": status}


@pytest.mark.parametrize("schema", [False, True])
def test_a_dry_run_changes_nothing_and_names_steps_and_obstacles(
    tenancy: Tenancy, engine: Engine, schema: bool
) -> None:
    tenancy.create("acme")
    tenancy.create("beta")
    run(engine, "COMMENT ON TABLE t_acme.project IS 'of t_acme'")
    before = fingerprint(engine, "t_acme")
    plan = rename(tenancy, "acme", "globex", schema=schema, dry_run=True)
    assert (plan.tenant.key, plan.key, plan.schema) == ("acme", "globex", "t_globex" if schema else "t_acme")
    assert len(plan.steps) == 1 + schema
    assert (plan.obstacles, plan.outdated) == ((), ("the comment on table project",) if schema else ())
    run(engine, "CREATE FUNCTION t_acme.f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t_acme.project'")
    for key, text_ in (("beta", "Tenant 'beta' exists already"), ("globex", "text in the body of f()")):
        plan = rename(tenancy, "acme", key, schema=schema, dry_run=True)
        assert len(plan.obstacles) == (key == "beta") * (1 + schema) + schema  # all that is in the way
        assert not plan.obstacles or text_ in plan.obstacles[0]
    run(engine, "DROP FUNCTION t_acme.f()")
    assert fingerprint(engine, "t_acme") == before
    assert schemas(engine) == {"public", "shared", "tenantkit", "t_acme", "t_beta"}


def test_a_schema_that_exists_or_is_not_the_tenants_is_refused(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    run(engine, "CREATE SCHEMA t_globex")
    with pytest.raises(ProvisioningError, match="the schema 't_globex' exists"):
        rename(tenancy, "acme", "globex", schema=True)
    run(engine, "DROP SCHEMA t_globex", "COMMENT ON SCHEMA t_acme IS 'mine'")
    with pytest.raises(ProvisioningError, match="lacks the comment 'tenantkit tenant"):
        rename(tenancy, "acme", "globex", schema=True)
    assert registered(engine) == {"acme": "active"}
    assert rename(tenancy, "acme", "globex").tenant.key == "globex"


def test_a_migration_at_work_is_waited_for_and_then_named(
    tenancy: Tenancy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.pause", lambda _: 0.05)
    tenancy.create("acme")
    lock = "hashtext('tenantkit migration'), hashtext('t_acme')"
    with engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_advisory_lock({lock})")
        with pytest.raises(
            ProvisioningError, match="a migration is at work on the schema 't_acme'; wait until it ends"
        ):
            rename(tenancy, "acme", "globex", schema=True)
        assert rename(tenancy, "acme", "globex").tenant.key == "globex"  # the key does not matter to it
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(rename, tenancy, "globex", "acme2", schema=True)
            other.exec_driver_sql(f"SELECT pg_advisory_unlock({lock})")
            assert waiting.result().schema == "t_acme2"


def test_two_renames_and_a_creation_at_once_give_one_key_to_one_tenant(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    tenancy.create("beta")

    def attempt(work: Callable[[], object]) -> str:
        try:
            work()
        except (TenantExistsError, TenantNotFoundError) as error:
            return type(error).__name__
        return "done"

    works: list[Callable[[], object]] = [
        lambda: rename(tenancy, "acme", "globex", schema=True),
        lambda: rename(tenancy, "beta", "globex", schema=True),
        lambda: tenancy.create("globex"),
    ]
    with ThreadPoolExecutor(3) as pool:
        results = sorted(pool.map(attempt, works))
    assert results == ["TenantExistsError", "TenantExistsError", "done"]
    assert list(registered(engine)).count("globex") == 1
    assert tenancy.diagnose() == []


def test_the_role_of_a_tenant_may_use_its_renamed_schema(make_tenancy: Callable[..., Tenancy], engine: Engine) -> None:
    tenancy = make_tenancy(tenant=Base.metadata, shared=None, guard="role", grant_to="tk_renamed_app")
    with engine.connect() as connection:
        if connection.exec_driver_sql("SELECT FROM pg_roles WHERE rolname = 'tk_renamed_app'").first() is None:
            connection.exec_driver_sql("CREATE ROLE tk_renamed_app")
            connection.commit()
    tenancy.create("acme", seed=lambda session: session.add(Note(text="own")))
    rename(tenancy, "acme", "globex", schema=True)
    with tenancy.session("globex") as session:
        assert session.scalars(select(Note.text)).all() == ["own"]
    assert tenancy.diagnose() == []
    tenancy.drop("globex")


RECOVERIES: dict[str, Callable[[Tenancy], object]] = {
    "repeat": lambda tenancy: rename(tenancy, "acme", "globex", schema=True),
    "repair": lambda tenancy: tenancy.repair(),
}


@pytest.mark.all_cases
@pytest.mark.parametrize("recovery", RECOVERIES)
def test_after_a_kill_at_any_statement_the_rename_is_done_or_not(
    tenancy: Tenancy, engine: Engine, recovery: str, dose: Callable[[int, int], int]
) -> None:
    neighbour = tenancy.create("beta", seed=processes.seed).schema
    tenancy.create("acme", domains=["acme.example.com"], seed=processes.seed)
    before = fingerprint(engine, neighbour)
    for number in count(1 + list(RECOVERIES).index(recovery), dose(8, 1)):
        with worker(engine.url, processes.rename, "acme", stop_at=number) as victim:
            answer = victim.wait()
            victim.kill()
        until_alone(engine)
        tenancy.cache.clear()
        RECOVERIES[recovery](tenancy)
        [tenant] = [tenant for tenant in tenancy.list() if tenant.key != "beta"]
        assert (tenant.key, tenant.schema) in {("acme", "t_acme"), ("globex", "t_globex")}
        assert recovery != "repeat" or tenant.key == "globex"
        assert schemas(engine) == {"public", "shared", "tenantkit", neighbour, tenant.schema}
        with tenancy.session(tenant.key) as session:
            assert session.scalar(select(func.count()).select_from(Task)) == 2
        assert tenancy.diagnose() == []
        assert fingerprint(engine, neighbour) == before
        if tenant.key == "globex":
            rename(tenancy, "globex", "acme", schema=True)
        if answer != "stopped":
            assert number > 10, "the work ended before it had begun"
            break


@pytest.mark.all_cases
def test_neighbours_under_load_see_no_failed_request(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy, operator = make_tenancy(), make_tenancy()
    tenancy.create("acme", seed=processes.seed)
    tenancy.create("beta", seed=processes.seed)
    ended = Event()

    def request() -> int:
        done = 0
        while not ended.is_set():
            with tenancy.session("beta") as session:
                session.add(Project(name=f"{id(session)}-{done}"))
                session.flush()
                assert session.scalar(select(func.count()).select_from(Task)) == 2
                session.rollback()
            done += 1
        return done

    with ThreadPoolExecutor() as pool:
        requests = [pool.submit(request) for _ in range(2)]
        try:
            for number in range(20):
                rename(operator, f"acme{number}" if number else "acme", f"acme{number + 1}", schema=True)
        finally:
            ended.set()
        assert all(each.result() > 0 for each in requests)


@pytest.mark.parametrize("options", [{"jobs": 0}, {"engine": "alembic", "jobs": 1}, {}])
def test_a_migration_that_knows_the_former_name_fails_there_and_the_next_one_succeeds(
    make_tenancy: Callable[..., Tenancy], environment: Environment, engine: Engine, options: dict[str, Any]
) -> None:
    environment.add("t1", 'op.create_table("note", sa.Column("text", sa.String), schema="tenant")')
    tenancy = make_tenancy(tenant=Base.metadata, shared=None, migrations=environment.folder)
    for key in ("acme", "beta", "gamma", "zeta"):
        tenancy.create(key)
    environment.add("t2", f"{waiting(7)}; op.execute('CREATE TABLE more (id int)')", "op.drop_table('more')")
    with closed_gate(engine, 7) as open_gate, ThreadPoolExecutor() as pool:
        running = pool.submit(migrations.migrate, tenancy, **options)
        until(lambda: _claimed(engine))
        rename(tenancy, "zeta", "globex", schema=True)
        open_gate()
        with pytest.raises(MigrationError) as failed:
            running.result()
    assert [(each.key, each.ok) for each in failed.value.report.failures] == [("zeta", False)]
    assert schemas(engine) == {"public", "tenantkit", "shared", "t_acme", "t_beta", "t_gamma", "t_globex"}
    assert [each.key for each in migrations.migrate(tenancy).migrated] == ["globex"]
    assert migrations.status(tenancy).is_current


def _claimed(engine: Engine) -> bool:
    query = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = hashtext('tenantkit migration')::oid"
    )
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar_one() > 0


@pytest.mark.all_cases
@pytest.mark.parametrize("schema", [False, True])
def test_a_prepared_transaction_is_committed_in_the_renamed_schema(two_phase_server: URL, schema: bool) -> None:
    tenancy = Tenancy(two_phase_server, tenant=Base.metadata, listen=False)
    tenancy.install()
    tenant = tenancy.create("acme")
    committing = tenancy.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    insert = f"INSERT INTO \"{tenant.schema}\".note (text) VALUES ('prepared')"
    committing.exec_driver_sql(f"BEGIN; {insert}; PREPARE TRANSACTION 'renamed'")
    try:
        rename(tenancy, "acme", "globex", schema=schema)
        committing.exec_driver_sql("COMMIT PREPARED 'renamed'")
        with tenancy.session("globex") as session:
            assert session.scalars(select(Note.text)).all() == ["prepared"]
    finally:
        committing.close()
        tenancy.drop("globex")
        tenancy.close()


def test_a_transaction_that_refers_to_the_tenant_is_waited_for_and_then_named(
    tenancy: Tenancy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.pause", lambda _: 0.01)
    monkeypatch.setattr("tenantkit.postgres.limits.POLITE", Limits("50ms"))
    tenancy.create("acme")
    run(engine, "CREATE TABLE invoice (tenant_id bigint REFERENCES tenantkit.tenants)")
    with engine.connect() as other:
        other.exec_driver_sql("INSERT INTO invoice SELECT id FROM tenantkit.tenants")
        with pytest.raises(
            ProvisioningError, match="an open, or a prepared, transaction has locked rows of the tenant"
        ):
            rename(tenancy, "acme", "globex", schema=True)
        other.commit()
    assert rename(tenancy, "acme", "globex", schema=True).schema == "t_globex"


@pytest.mark.parametrize("copy", ["t_globex", "copy_of_acme"])
def test_a_copy_with_the_comment_of_the_schema_is_named_and_left_alone(
    tenancy: Tenancy, engine: Engine, copy: str
) -> None:
    tenant = tenancy.create("acme", seed=processes.seed)
    run(
        engine,
        f"CREATE SCHEMA {copy}",
        f"CREATE TABLE {copy}.project AS SELECT * FROM t_acme.project WHERE false",
        f"COMMENT ON SCHEMA {copy} IS 'tenantkit tenant {tenant.id}'",
    )
    [finding] = tenancy.diagnose()
    assert (finding.subject, finding.repair) == (copy, None)
    assert "copy" in finding.problem
    with pytest.raises(ProvisioningError, match=f"'{copy}' has the comment of the tenant's schema, too"):
        rename(tenancy, "acme", "globex", schema=True)
    run(engine, f"COMMENT ON SCHEMA {copy} IS NULL")
    if copy == "copy_of_acme":
        rename(tenancy, "acme", "globex", schema=True)
        with tenancy.session("globex") as session:
            assert session.scalars(select(Project.name)).all() == ["first"]


def test_a_schema_whose_tables_another_schema_of_the_path_has_too_is_not_renamed(
    make_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    tenancy = make_tenancy(extra_schemas=["public"])
    tenancy.create("acme")
    run(engine, "CREATE TABLE public.task ()")
    with pytest.raises(ProvisioningError, match="task has the name of a table of the tenant"):
        rename(tenancy, "acme", "globex", schema=True)
    assert rename(tenancy, "acme", "globex").key == "globex"


def test_a_doctor_whose_tenant_is_renamed_meanwhile_goes_on(
    tenancy: Tenancy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenancy.create("acme")
    tenancy.create("beta")
    run(engine, "ALTER SCHEMA t_acme RENAME TO t_x")
    lock = store.lock

    def rename_and_lock(connection: Connection, isolations: Isolations, key: str) -> Tenant:
        monkeypatch.setattr(store, "lock", lock)
        run(engine, "UPDATE tenantkit.tenants SET key = 'globex', schema = 't_x' WHERE key = 'acme'")
        return lock(connection, isolations, key)

    monkeypatch.setattr(store, "lock", rename_and_lock)
    assert [finding.subject for finding in tenancy.repair()] == ["acme"]
    assert tenancy.diagnose() == []


def test_functions_and_operators_of_the_schema_are_not_executed(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    kinds = ("oid, oid", "name, name", "text, regprocedure", "text, name", "text, text")
    run(
        engine,
        "SET LOCAL search_path = t_acme",
        *(
            f"CREATE FUNCTION trap({kind}) RETURNS {result} LANGUAGE plpgsql AS 'BEGIN RAISE $$trapped$$; END';"
            f"CREATE OPERATOR {operator} (LEFTARG = {kind.split(', ')[0]}, RIGHTARG = {kind.split(', ')[1]}, FUNCTION = trap)"
            for kind in kinds
            for operator, result in [("||", "text") if kind.startswith("text, ") else ("=", "boolean")]
        ),
        *(
            f"CREATE FUNCTION {name} RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE $$trapped$$; END'"
            for name in ("format(text, VARIADIC text[])", "concat_ws(text, VARIADIC text[])", "lower(name)")
        ),
    )
    assert rename(tenancy, "acme", "globex", schema=True).schema == "t_globex"
