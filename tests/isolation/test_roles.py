"""Guard ``role``: each transaction works as its tenant's own role."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, ProvisioningError, drift, migrations
from tenantkit.isolation.roles import role_of
from tests.isolation.contract.application import KEYS, Plan, Project, Task, seed
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import DATABASE, GROUP, LOGIN, ROLE, SCHEMA, TWO_DATABASES, Kind
from tests.isolation.of_roles import Deploy, execute, granted_by, roles_in, tenants_of
from tests.support.blocking import in_sync

WHO = text("SELECT current_user")
SETTINGS = text("SELECT session_user, current_user, current_setting('search_path')")

for_each_driver = pytest.mark.parametrize("driver", ["sync", "asyncio-psycopg", "asyncio-asyncpg"])


for_each_guard = pytest.mark.parametrize("kind", [ROLE, LOGIN], ids=lambda kind: kind.name)


@for_each_driver
def test_every_transaction_of_a_session_works_as_the_role_of_its_tenant(deploy: Deploy, driver: str) -> None:
    deployment = deploy(ROLE, driver=driver)

    def work(session: Session) -> set[str]:
        found = {session.scalar(WHO)}
        with session.begin_nested() as savepoint:
            found.add(session.scalar(WHO))
            savepoint.rollback()
        session.execute(text("RESET ALL"))
        found.add(session.scalar(WHO))
        session.execute(text("RESET ROLE"))
        session.commit()
        found.add(session.scalar(WHO))
        session.execute(text(f"SET ROLE {deployment.role}"))
        session.rollback()
        return {*found, session.scalar(WHO)}

    for tenant in tenants_of(deployment):
        assert deployment.work(tenant.key, work) == {role_of(tenant)}
    for plain in deployment.plain_sessions():
        with plain as session:
            assert in_sync(session, lambda session: session.scalar(WHO)) == deployment.role


@for_each_guard
def test_a_role_may_use_its_own_schema_and_shared_tables_as_granted(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    own, theirs = tenants_of(deployment)

    def refuses(statement: Any) -> Callable[[Session], None]:
        def attempt(session: Session) -> None:
            with pytest.raises(ProgrammingError, match="permission denied|must be owner"):
                session.execute(statement)

        return attempt

    deployment.work(own.key, lambda session: session.add(Task(title="", project_id=1)))
    assert deployment.work(own.key, lambda session: session.scalars(select(Plan.name)).all()) == ["free"]
    for statement in (
        text(f"SELECT title FROM {theirs.schema}.task"),
        text(f"SELECT nextval('{theirs.schema}.invoice_no')"),
        text("DROP TABLE task"),
        text(f"CREATE TABLE {own.schema}.another (id int)"),
        insert(Plan).values(name="paid"),
    ):
        deployment.work(own.key, refuses(statement))
    execute(deployment.engines["main"], f"GRANT INSERT ON shared.plan TO {GROUP}")
    deployment.work(own.key, lambda session: session.add(Plan(name="paid")))


def test_sessions_on_a_callers_connection_leave_it_with_its_own_role(deploy: Deploy) -> None:
    deployment = deploy(ROLE)
    own, theirs = tenants_of(deployment)
    application = deployment.application
    with application.engine.connect() as connection:
        for original in ("none", role_of(theirs)):
            for _ in range(2):  # the second time, the connection has served sessions before
                connection.exec_driver_sql(f"SET LOCAL ROLE {original}")
                before = connection.execute(SETTINGS).one()
                with application.shared_session(bind=connection) as shared:
                    assert shared.scalar(WHO) == before.current_user
                    with application.session(own.key, bind=connection) as first:
                        assert first.scalar(WHO) == role_of(own)
                        with application.session(theirs.key, bind=connection) as second:
                            assert second.scalar(WHO) == role_of(theirs)
                            assert first.scalar(WHO) == role_of(own)
                            assert shared.scalar(WHO) == before.current_user
                            assert second.scalar(WHO) == role_of(theirs)
                        assert first.scalar(WHO) == role_of(own)
                assert connection.execute(SETTINGS).one() == before
                connection.commit()


@for_each_guard
def test_a_role_is_made_with_its_tenant_and_removed_with_it(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    before = roles_in(deployment)
    assert before == [role_of(tenant) for tenant in tenants_of(deployment)]
    found = []

    def look(session: Session) -> None:
        seed(session)
        found.append(session.scalar(WHO))

    made = deployment.operator.create("initech", seed=look)
    assert found == [role_of(made)]
    assert roles_in(deployment) == [*before, role_of(made)]
    assert deployment.operator.diagnose() == []
    deployment.work("initech", lambda session: session.scalar(select(func.lo_from_bytea(0, b"its own"))))
    deployment.operator.drop("initech")
    assert roles_in(deployment) == before


@for_each_guard
def test_a_creation_that_fails_leaves_no_role(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    before = roles_in(deployment)

    def fail(session: Session) -> None:
        session.execute(text("SELECT 1 / 0"))

    with pytest.raises(ProvisioningError, match="seeding"):
        deployment.operator.create("initech", seed=fail)
    assert roles_in(deployment) == before


@for_each_guard
def test_a_deployment_without_the_guard_removes_roles_too(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    owners = deployment.urls
    with closing(SCHEMA.make(owners, migrations=deployment.environment.folder)) as unguarded:
        unguarded.drop(KEYS[0])
    assert len(roles_in(deployment, KEYS[1])) == 1


ADDED = """
op.create_table("note", sa.Column("id", sa.Integer, sa.Identity(), primary_key=True), sa.Column("body", sa.String),
    schema="tenant")
op.execute("CREATE TABLE tag (id serial PRIMARY KEY, name text)")
op.execute("CREATE VIEW body AS SELECT body FROM note")
op.execute("CREATE SEQUENCE receipt_no")
op.execute("CREATE FUNCTION bodies() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM note'")
"""


@pytest.mark.parametrize(("kind", "how"), [(ROLE, "replay"), (ROLE, "alembic"), (LOGIN, "replay")])
def test_what_revisions_create_may_be_used_by_the_role(deploy: Deploy, kind: Kind, how: Any) -> None:
    deployment = deploy(kind)
    keys = [*KEYS, "initech", "umbrella"]
    for key in keys[2:]:
        deployment.operator.create(key, seed=seed)
    deployment.environment.add("t3", ADDED)
    migrations.migrate(deployment.operator, engine=how)

    def use(session: Session) -> int | None:
        session.execute(text("INSERT INTO note (body) VALUES ('x')"))
        session.execute(text("INSERT INTO tag (name) VALUES ('x')"))
        assert session.scalar(text("SELECT body FROM body")) == "x"
        assert session.scalar(text("SELECT nextval('receipt_no')")) == 1
        return session.scalar(text("SELECT bodies()"))

    assert [deployment.work(key, use) for key in keys] == [1] * 4
    assert deployment.operator.diagnose() == []


DAMAGES_BY_GUARD = {
    ROLE.name: {
        "member": "REVOKE {role} FROM {login} GRANTED BY {owner}",
        "login": "ALTER ROLE {role} LOGIN",
    },
    LOGIN.name: {
        "member": "SET ROLE {owner}; GRANT {role} TO {login}; RESET ROLE",
        "no login": "ALTER ROLE {role} NOLOGIN",
        "no connections": "ALTER ROLE {role} CONNECTION LIMIT 0",
        "password has expired": "ALTER ROLE {role} VALID UNTIL '2001-01-01'",
    },
}
DAMAGES = {
    "powers": "ALTER ROLE {role} CREATEROLE",
    "role": "DROP OWNED BY {role}; DROP ROLE {role}",
    "group": "REVOKE {group} FROM {role} GRANTED BY {owner}",
    "schema": "REVOKE USAGE ON SCHEMA {schema} FROM {role}",
    "table": "REVOKE ALL ON {schema}.task FROM {role}",
    "sequence": "REVOKE ALL ON SEQUENCE {schema}.invoice_no FROM {role}",
    "table of another login": 'DROP TABLE IF EXISTS {schema}."one %s more"; CREATE TABLE {schema}."one %s more" (id int); '
    'ALTER TABLE {schema}."one %s more" OWNER TO {owner}',
    "later tables": "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON TABLES FROM {role}",
    "later sequences": "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON SEQUENCES FROM {role}",
}


@pytest.mark.all_cases
@for_each_guard
def test_doctor_finds_and_repairs_what_a_role_lacks(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    operator = deployment.operator
    found = {}
    damages = DAMAGES | DAMAGES_BY_GUARD[kind.name]
    for damage, statements in damages.items():
        plant(deployment, statements)
        found[damage] = [(finding.subject, finding.repair is not None) for finding in operator.diagnose()]
        assert len(operator.repair()) == 1, damage
        assert_healthy(deployment)
    assert found == {damage: [(KEYS[0], True)] for damage in damages}
    columns = deployment.work(KEYS[0], lambda session: session.execute(text('SELECT * FROM "one %s more"')).keys())
    assert [*columns] == ["id"]


@for_each_guard
def test_doctor_repairs_all_that_a_role_lacks_at_once(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    *others, removal = sorted((DAMAGES | DAMAGES_BY_GUARD[kind.name]).values(), key=lambda each: "DROP ROLE" in each)

    @given(st.lists(st.sampled_from(others), min_size=2, unique=True), st.booleans())
    @settings(max_examples=5)
    def repairs_all(chosen: list[str], is_removed: bool) -> None:
        for statements in (*chosen, *([removal] if is_removed else ())):
            plant(deployment, statements)
        assert {finding.subject for finding in deployment.operator.repair()} == {KEYS[0]}
        assert_healthy(deployment)

    repairs_all()
    assert "DROP ROLE" in removal


def plant(deployment: Deployment, statements: str) -> None:
    """Damage the role of the first tenant."""
    engine, tenant = deployment.engines["main"], deployment.operator.get(KEYS[0])
    names = {
        "role": role_of(tenant),
        "schema": tenant.schema,
        "login": deployment.role,
        "group": GROUP,
        "owner": deployment.urls["main"].username,
    }
    execute(engine, *(granted_by(engine, each) for each in statements.format(**names).split("; ")))


def assert_healthy(deployment: Deployment) -> None:
    """Raise unless the role of the first tenant is as it should be."""
    assert deployment.operator.diagnose() == []
    deployment.application.databases.dispose()  # connections that have logged in as a role that was dropped
    deployment.work(KEYS[0], lambda session: session.add(Task(title="", project_id=1)))


@for_each_guard
def test_doctor_names_what_it_cannot_grant(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    execute(deployment.engines["main"], f"CREATE VIEW {deployment.operator.get(KEYS[0]).schema}.one_more AS SELECT 1")
    for _ in range(2):
        [finding] = deployment.operator.repair()
        assert finding.problem.endswith("may not use what another login owns: TABLE t_acme.one_more")
        assert finding.repair is None


@for_each_guard
def test_doctor_leaves_privileges_that_were_restricted(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    tenant = deployment.operator.get(KEYS[0])
    execute(
        deployment.engines["main"],
        f"REVOKE UPDATE, DELETE ON {tenant.schema}.entry FROM {role_of(tenant)}",
        f"REVOKE ALL ON {tenant.schema}.project FROM {role_of(tenant)}",
        f"GRANT SELECT (id) ON {tenant.schema}.project TO {role_of(tenant)}",
    )
    assert deployment.operator.repair() == []
    with pytest.raises(ProgrammingError, match="permission denied"):
        deployment.work(tenant.key, lambda session: session.scalars(select(Project)).all())


@for_each_guard
def test_a_role_that_is_not_tenantkits_is_refused(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    operator, engine = deployment.operator, deployment.engines["main"]
    tenant = operator.get(KEYS[0])
    taken = f"tenantkit_{tenant.registry[:8]}_3"
    execute(engine, f"CREATE ROLE {taken}")
    with pytest.raises(ProvisioningError, match=f"The role '{taken}' exists, and is not tenantkit's"):
        operator.create("initech")
    execute(engine, f"DROP ROLE {taken}", f"COMMENT ON ROLE {role_of(tenant)} IS 'of someone else'")
    assert operator.create("initech").id == 3
    assert [(finding.subject, finding.repair) for finding in operator.repair()] == [(tenant.key, None)]
    operator.drop(tenant.key)
    execute(engine, f"DROP OWNED BY {role_of(tenant)}", f"DROP ROLE {role_of(tenant)}")


@for_each_guard
def test_a_login_that_cannot_make_roles_is_told_so(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    operator, engine = deployment.operator, deployment.engines["main"]
    login = deployment.urls["main"].username
    before = roles_in(deployment)
    execute(engine, f"ALTER ROLE {login} NOCREATEROLE")
    try:
        with pytest.raises(ProvisioningError, match=f"'{login}' may not create roles .* ALTER ROLE .* CREATEROLE"):
            operator.create("initech")
        [finding] = operator.repair()
        assert "CREATEROLE" in finding.problem
        assert finding.repair is None
        report = drift.check(operator)
        assert "CREATEROLE" in (report.guard_obstacle or "")
        assert not report.has_drift
    finally:
        execute(engine, f"ALTER ROLE {login} CREATEROLE")
    assert drift.check(operator).guard_obstacle is None
    assert roles_in(deployment) == before
    assert {tenant.key for tenant in operator.list()} == {*KEYS}


@pytest.mark.parametrize("options", [{"grant_to": "nobody_there"}, {"guard_group": "nobody_there"}])
def test_roles_that_options_name_exist(deploy: Deploy, options: dict[str, str]) -> None:
    deployment = deploy(ROLE)
    folder = deployment.environment.folder
    with closing(SCHEMA.make(deployment.urls, migrations=folder, guard="role", **options)) as operator:
        with pytest.raises(ProvisioningError, match="'nobody_there', which does not exist"):
            operator.create("initech")
        assert "nobody_there" in operator.diagnose()[0].problem


@for_each_driver
def test_a_session_that_cannot_take_on_its_role_says_what_to_do(deploy: Deploy, driver: str) -> None:
    deployment = deploy(ROLE, driver=driver, engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 5})
    first, second = tenants_of(deployment)
    role, engine = role_of(first), deployment.engines["main"]
    fails = pytest.raises(ConfigurationError, match="may not be taken on .* 'tenantkit doctor --repair'")
    execute(
        engine,
        granted_by(engine, f"REVOKE {role} FROM {deployment.role} GRANTED BY {deployment.urls['main'].username}"),
    )
    with fails:
        deployment.work(first.key, lambda session: session.scalar(WHO))
    execute(engine, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    with pytest.raises(ConfigurationError, match=f"The role '{role}' of tenant 'acme' does not exist"):
        deployment.work(first.key, lambda session: session.scalar(WHO))
    assert deployment.work(second.key, lambda session: session.scalar(WHO)) == role_of(second)
    deployment.operator.repair()
    assert deployment.work(first.key, lambda session: session.scalar(WHO)) == role


def test_other_errors_of_privileges_are_the_drivers(deploy: Deploy) -> None:
    deployment = deploy(ROLE)

    def take(session: Session) -> None:
        session.execute(text("SET ROLE pg_read_all_data"))

    with pytest.raises(DBAPIError, match="permission denied"):
        deployment.work(KEYS[0], take)


@pytest.mark.parametrize("kind", [SCHEMA, TWO_DATABASES], ids=lambda kind: kind.name)
def test_existing_tenants_get_their_roles_before_the_application_uses_them(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    for key in KEYS:
        deployment.work(key, lambda session: session.add(Task(title="kept", project_id=1)))
    guarded = {"guard": "role", "guard_group": GROUP}
    options = {"migrations": deployment.environment.folder, "grant_to": deployment.role, **guarded}
    with closing(kind.make(deployment.urls, **options)) as operator:
        assert {finding.subject for finding in operator.diagnose()} == {*KEYS}
        operator.repair()
        assert operator.diagnose() == []
    logins = {name: url.set(username=deployment.role) for name, url in deployment.urls.items()}
    with closing(kind.make(logins, **guarded)) as application:
        for key in KEYS:
            assert deployment.work(key, lambda session: session.scalars(select(Task.title)).all()) == ["kept"]
            with application.session(key) as session:
                assert session.scalar(WHO) == role_of(session.tenant)
                assert session.scalars(select(Task.title)).all() == ["kept"]
                assert session.scalars(select(Plan.name)).all() == ["free"]


def test_tenants_with_databases_of_their_own_have_no_roles_to_take_on(deploy: Deploy) -> None:
    deployment = deploy(DATABASE)
    options = {"migrations": deployment.environment.folder, "grant_to": deployment.role, "guard": "role"}
    with closing(SCHEMA.make(deployment.urls, **options)) as operator:
        assert operator.repair() == []
        assert roles_in(deployment) == []
    with (
        closing(
            SCHEMA.make({"main": deployment.urls["main"].set(username=deployment.role)}, guard="role")
        ) as application,
        application.session(KEYS[0]) as session,
    ):
        assert session.scalar(WHO) == deployment.role


@for_each_guard
def test_tenants_in_common_tables_are_refused(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    with pytest.raises(ConfigurationError, match="does not hold in common tables"):
        kind.make(deployment.urls, isolation="row")
    with pytest.raises(ConfigurationError, match="does not hold in common tables"):
        deployment.operator.create("initech", isolation="row")


@for_each_guard
def test_tenants_are_created_at_the_same_time(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    keys = [f"new-{number}" for number in range(6)]
    with ThreadPoolExecutor(3) as threads:
        made = [*threads.map(deployment.operator.create, keys)]
    assert {role_of(tenant) for tenant in made} < {*roles_in(deployment)}
    assert deployment.operator.diagnose() == []
