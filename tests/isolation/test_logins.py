"""Guard ``login``: connections of a tenant's sessions log in as the tenant's own role."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, exc, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, ProvisioningError, Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.isolation.roles import role_of
from tests.isolation.contract.application import APPLICATION, KEYS, Plan, Task, seed
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import (
    DATABASE,
    DATABASE_LOGIN,
    GROUP,
    LOGIN,
    ROLE,
    SCHEMA,
    TWO_DATABASES,
    Kind,
)
from tests.isolation.of_roles import Deploy, execute, roles_in, tenants_of
from tests.support.blocking import in_sync
from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer

WHO = text("SELECT session_user || ' as ' || current_user")
SECRET = "a secret of the contract's deployments"
GUARDED: Mapping[str, Any] = {"guard": "login", "guard_secret": SECRET}

TWO_DATABASES_LOGIN = replace(
    TWO_DATABASES,
    name="schema, in two databases, guard `login`",
    make=lambda urls, **options: TWO_DATABASES.make(urls, guard_group=GROUP, **GUARDED, **options),
    make_async=lambda urls, direct, **options: TWO_DATABASES.make_async(
        urls, direct, guard_group=GROUP, **GUARDED, **options
    ),
)

for_each_driver = pytest.mark.parametrize("driver", ["sync", "asyncio-psycopg", "asyncio-asyncpg"])


def logged_in(key: str, deployment: Deployment) -> str:
    role = role_of(deployment.operator.get(key))
    return f"{role} as {role}"


@for_each_driver
@pytest.mark.parametrize("kind", [LOGIN, DATABASE_LOGIN, TWO_DATABASES_LOGIN], ids=lambda kind: kind.name)
def test_connections_of_a_session_log_in_as_the_role_of_its_tenant(deploy: Deploy, kind: Kind, driver: str) -> None:
    deployment = deploy(kind, driver=driver)

    def work(session: Session) -> set[str]:
        found = {session.scalar(WHO)}
        session.execute(text("RESET ROLE"))
        session.execute(text("RESET SESSION AUTHORIZATION"))
        found.add(session.scalar(WHO))
        session.commit()
        found.add(session.scalar(WHO))
        session.add(Task(title="", project_id=1))
        assert session.scalars(select(Plan.name)).all() == ["free"]
        return found

    for key in KEYS:
        assert deployment.work(key, work) == {logged_in(key, deployment)}
    for shared in deployment.shared_sessions():
        with shared as session:
            assert in_sync(session, lambda session: session.scalar(WHO)) == f"{deployment.role} as {deployment.role}"
    assert deployment.operator.diagnose() == []


@pytest.mark.parametrize("kind", [LOGIN, DATABASE_LOGIN], ids=lambda kind: kind.name)
def test_the_login_of_the_application_has_no_privileges_in_the_schemas(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    tenant, role = tenants_of(deployment)[0], role_of(tenants_of(deployment)[0])
    engine = deployment.application.databases.engine(tenant.placement.database)
    for statement in (f"SELECT title FROM {tenant.schema}.task", f"SET ROLE {role}"):
        with pytest.raises((ProgrammingError, OperationalError), match="permission denied"), engine.connect() as direct:
            direct.exec_driver_sql(statement)


def test_on_a_callers_connection_a_session_works_as_the_role_if_the_login_may(deploy: Deploy) -> None:
    deployment = deploy(LOGIN)
    [tenant, _] = tenants_of(deployment)
    with (
        deployment.application.engine.connect() as connection,
        deployment.application.session(tenant, bind=connection) as session,
        pytest.raises(ConfigurationError, match="may not be taken on by the login .* leave out bind="),
    ):
        session.scalar(WHO)
    found = []

    def look(session: Session) -> None:
        seed(session)
        found.append(session.scalar(text("SELECT current_user")))

    made = deployment.operator.create("initech", seed=look)
    assert found == [role_of(made)]


def test_engines_of_logins_share_what_can_be_shared_and_one_budget(deploy: Deploy) -> None:
    deployment = deploy(LOGIN, engine_budget=1)
    bound: list[Any] = []
    for key in (*KEYS, *KEYS):
        with deployment.application.session(key) as session:
            assert session.scalar(WHO) == logged_in(key, deployment)
            bound.append(session.get_bind())
    first, second, again, _ = bound
    assert again.pool is first.pool is not second.pool  # with SQLAlchemy 2.0, each session has a copy of the engine
    assert (first.dialect, first._compiled_cache) == (second.dialect, second._compiled_cache)
    assert second.pool.status() == "BudgetPool: 1 of 1 connections are open"
    with deployment.application.session(KEYS[0]) as outer, deployment.application.session(KEYS[1]) as inner:
        outer.scalar(WHO)
        inner.get_bind().pool._budget.get().timeout = 0.1
        with pytest.raises(exc.TimeoutError, match="by logins of single tenants .* raise engine_budget=1"):
            inner.scalar(WHO)


@for_each_driver
@pytest.mark.parametrize("kind", [LOGIN, DATABASE_LOGIN], ids=lambda kind: kind.name)
def test_many_at_once_have_their_own_logins_on_few_connections(deploy: Deploy, kind: Kind, driver: str) -> None:
    keys = [*KEYS, "initech", "umbrella"]
    deployment = deploy(kind, driver=driver, engine_budget=2)
    for key in keys[2:]:
        deployment.operator.create(key, seed=seed)
    expected = {key: logged_in(key, deployment) for key in keys}
    prefix = f"tenantkit_{deployment.operator.get(KEYS[0]).registry[:8]}_"
    opened = text(f"SELECT count(*) FROM pg_stat_activity WHERE usename ^@ '{prefix}'")

    def visit(number: int) -> tuple[str, str, int]:
        key = keys[number % len(keys)]

        def work(session: Session) -> tuple[str, int]:
            session.add(Task(title=key, project_id=1))
            session.flush()
            assert {*session.scalars(select(Task.title))} == {key}
            return str(session.scalar(WHO)), int(session.scalar(opened) or 0)

        return (key, *deployment.work(key, work))

    with ThreadPoolExecutor(6) as threads:
        visits = [*threads.map(visit, range(40))]
    assert {key: who for key, who, _ in visits} == expected
    assert {who for _, who, _ in visits} == {*expected.values()}
    assert max(count for *_, count in visits) <= 2 + 2  # connections that end are listed for a moment


@pytest.mark.parametrize("kind", [LOGIN, DATABASE_LOGIN], ids=lambda kind: kind.name)
def test_a_tenant_is_dropped_while_its_sessions_are_open(deploy: Deploy, kind: Kind) -> None:
    deployment = deploy(kind)
    roles = roles_in(deployment)
    with deployment.application.session(KEYS[0]) as session:
        session.add(Task(title="not committed", project_id=1))
        session.flush()
        deployment.operator.drop(KEYS[0])
        with pytest.raises(DBAPIError, match="terminat"):
            session.scalar(WHO)
    assert roles_in(deployment, KEYS[1]) == roles[1:]
    assert deployment.work(KEYS[1], lambda session: session.scalar(WHO)) == logged_in(KEYS[1], deployment)


@contextmanager
def application_of(deployment: Deployment, kind: Kind) -> Generator[Tenancy]:
    """Make the application's tenancy with another guard than the deployment has."""
    with closing(kind.make({name: url.set(username=deployment.role) for name, url in deployment.urls.items()})) as made:
        yield made


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SCHEMA, LOGIN),
        (DATABASE, DATABASE_LOGIN),
        pytest.param(TWO_DATABASES, TWO_DATABASES_LOGIN, marks=pytest.mark.all_cases),
    ],
    ids=lambda kind: kind.name,
)
def test_existing_tenants_get_logins(deploy: Deploy, before: Kind, after: Kind) -> None:
    deployment = deploy(before)
    for key in KEYS:
        deployment.work(key, lambda session: session.add(Task(title="kept", project_id=1)))
    options = {"migrations": deployment.environment.folder, "grant_to": deployment.role}
    with closing(after.make(deployment.urls, **options)) as operator:
        assert {finding.subject for finding in operator.diagnose()} == {*KEYS}
        operator.repair()
        assert operator.diagnose() == []
    with application_of(deployment, after) as application:
        for key in KEYS:
            with application.session(key) as session:
                assert session.scalar(WHO) == logged_in(key, deployment)
                assert session.scalars(select(Task.title)).all() == ["kept"]
                assert session.scalars(select(Plan.name)).all() == ["free"]


def test_a_deployment_changes_its_guard(deploy: Deploy) -> None:
    deployment = deploy(ROLE)

    def serves(kind: Kind) -> bool:
        try:
            with application_of(deployment, kind) as application, application.session(KEYS[0]) as session:
                return bool(session.scalar(text("SELECT current_user")) == role_of(session.tenant))
        except ConfigurationError as error:
            assert "may not be taken on" in str(error) or "not permitted to log in" in str(error)  # noqa: PT017
            return False

    found = []
    for kind, grant_to in ((LOGIN, ()), (LOGIN, deployment.role), (ROLE, deployment.role)):
        with closing(
            kind.make(deployment.urls, migrations=deployment.environment.folder, grant_to=grant_to)
        ) as operator:
            assert {finding.subject for finding in operator.diagnose()} == {*KEYS}
            operator.repair()
            assert operator.diagnose() == []
        found.append((serves(ROLE), serves(LOGIN)))
    assert found == [(True, True), (False, True), (True, False)]


ONLY_A_PERSON = {
    "SUPERUSER": ("ALTER ROLE {role} SUPERUSER", "ALTER ROLE {role} NOSUPERUSER"),
    "BYPASSRLS": ("ALTER ROLE {role} BYPASSRLS", "ALTER ROLE {role} NOBYPASSRLS"),
    "REVOKE pg_read_all_data": ("GRANT pg_read_all_data TO {role}", "REVOKE pg_read_all_data FROM {role}"),
    "was granted to": ("GRANT {role} TO {login}", "REVOKE {role} FROM {login}"),
}
"""Words of a finding, the statement that leads to it, and the one that ends it."""


def test_doctor_names_what_a_superuser_must_repair(deploy: Deploy) -> None:
    deployment = deploy(LOGIN)
    operator, engine, role = deployment.operator, deployment.engines["main"], role_of(tenants_of(deployment)[0])
    with engine.connect() as connection:
        version: Any = connection.dialect.server_version_info
    for words, (damage, remedy) in ONLY_A_PERSON.items():
        if words == "was granted to" and version < (16,):
            continue
        execute(engine, damage.format(role=role, login=deployment.role))
        for _ in range(2):
            found = operator.repair()
            assert [finding.repair for finding in found] == [None], found
            assert words in found[0].problem
        execute(engine, remedy.format(role=role, login=deployment.role))
        assert operator.diagnose() == []


def test_a_superuser_repairs_all_attributes(deploy: Deploy) -> None:
    deployment = deploy(LOGIN)
    engine, role = deployment.engines["main"], role_of(tenants_of(deployment)[0])
    execute(engine, f"ALTER ROLE {role} SUPERUSER BYPASSRLS REPLICATION CREATEDB CREATEROLE")
    with closing(LOGIN.make({"main": engine.url}, migrations=deployment.environment.folder)) as superuser:
        superuser.repair()
    assert deployment.operator.diagnose() == []


def test_doctor_names_roles_whose_tenants_are_gone(deploy: Deploy) -> None:
    deployment = deploy(ROLE)
    operator, engine = deployment.operator, deployment.engines["main"]
    registry = operator.get(KEYS[0]).registry
    gone = f"tenantkit_{registry[:8]}_99"
    execute(engine, f"CREATE ROLE {gone}", f"COMMENT ON ROLE {gone} IS 'tenantkit tenant {registry}/99'")
    [finding] = operator.repair()
    assert f"the tenant of the role '{gone}' is not in the registry" in finding.problem
    execute(engine, f"DROP ROLE {gone}")
    assert operator.diagnose() == []


OPENINGS = {
    "GRANT CREATE ON SCHEMA public TO PUBLIC": "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    "CREATE FUNCTION public.peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'": (
        "REVOKE EXECUTE ON FUNCTION peek() FROM PUBLIC"
    ),
}


def test_doctor_names_what_tenants_reach_others_by(deploy: Deploy) -> None:
    deployment = deploy(LOGIN)
    operator, engine = deployment.operator, deployment.engines["main"]
    for opening, remedy in OPENINGS.items():
        execute(engine, opening)
        [finding] = operator.diagnose()
        assert remedy in finding.problem
        execute(engine, remedy)
        assert operator.diagnose() == []


def test_logins_need_to_connect(deploy: Deploy) -> None:
    deployment = deploy(LOGIN)
    operator, engine = deployment.operator, deployment.engines["main"]
    database = deployment.urls["main"].database
    before = roles_in(deployment)
    execute(engine, f"GRANT CONNECT ON DATABASE {database} TO {deployment.urls['main'].username}, {deployment.role}")
    execute(engine, f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    with pytest.raises(ProvisioningError, match=f'GRANT CONNECT ON DATABASE {database} TO "{GROUP}"'):
        operator.create("initech")
    [finding] = operator.repair()
    assert "GRANT CONNECT" in finding.problem
    assert roles_in(deployment) == before
    with pytest.raises(ConfigurationError, match="is refused: .*permission denied for database"):
        deployment.work(KEYS[0], lambda session: session.scalar(WHO))
    execute(engine, f"ALTER DATABASE {database} OWNER TO {deployment.urls['main'].username}")
    operator.repair()  # the owner lets each of them connect
    assert operator.diagnose() == []
    assert deployment.work(KEYS[0], lambda session: session.scalar(WHO)) == logged_in(KEYS[0], deployment)


@for_each_driver
def test_a_session_whose_login_is_refused_says_what_to_do(deploy: Deploy, driver: str) -> None:
    deployment = deploy(LOGIN, driver=driver, engine_budget=1, engine_options={"pool_timeout": 5})
    engine, [first, second] = deployment.engines["main"], tenants_of(deployment)
    for damage in (
        f"ALTER ROLE {role_of(first)} NOLOGIN",
        f"DROP OWNED BY {role_of(first)}; DROP ROLE {role_of(first)}",
    ):
        execute(engine, *damage.split("; "))
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"(is refused: |not exist).* 'tenantkit doctor --repair'"):
                deployment.work(first.key, lambda session: session.scalar(WHO))
        assert deployment.work(second.key, lambda session: session.scalar(WHO)) == logged_in(second.key, deployment)
        deployment.operator.repair()
        assert deployment.work(first.key, lambda session: session.scalar(WHO)) == logged_in(first.key, deployment)


def test_a_pooler_that_changes_the_login_is_refused(deploy: Deploy) -> None:
    if PGBOUNCER is None:
        pytest.skip("needs PgBouncer (Debian: pgbouncer)")
    deployment = deploy(LOGIN)
    login = deployment.urls["main"].set(username=deployment.role)
    arguments = {"connect_args": driver_arguments("psycopg")}
    with (
        pgbouncer(login) as pooler,
        closing(LOGIN.make({"main": pooler}, engine_options=arguments)) as application,
        application.session(KEYS[0]) as session,
        pytest.raises(ConfigurationError, match=r"leave out user= in \[databases\]"),
    ):
        session.scalar(WHO)


def test_too_many_connections_are_no_matter_of_configuration(deploy: Deploy) -> None:
    deployment = deploy(LOGIN)
    execute(deployment.engines["main"], f"ALTER ROLE {role_of(tenants_of(deployment)[0])} CONNECTION LIMIT 1")
    with deployment.application.session(KEYS[0]) as first:
        first.scalar(WHO)
        with pytest.raises(OperationalError, match="too many connections"):
            deployment.work(KEYS[0], lambda session: session.scalar(WHO))


URL_ = "postgresql+psycopg://app@host/database"
REFUSED: Mapping[str, tuple[Any, Mapping[str, Any], str]] = {
    "no secret": (URL_, {"guard_secret": None}, "needs guard_secret="),
    "no secrets": (URL_, {"guard_secret": []}, "needs guard_secret="),
    "short": (URL_, {"guard_secret": "hunter2"}, "at least 32 characters"),
    "one is short": (URL_, {"guard_secret": [SECRET, "hunter2"]}, "at least 32 characters"),
    "another type": (URL_, {"guard_secret": b"hunter2" * 9}, "guard_secret is of the type bytes"),
    "a set": (URL_, {"guard_secret": {"hunter2" * 9}}, "guard_secret is of the type set"),
    "without the guard": (URL_, {"guard": "none"}, "guard_secret= needs guard='login'"),
    "with another guard": (URL_, {"guard": "role"}, "guard_secret= needs guard='login'"),
    "common tables": (URL_, {"isolation": "row"}, "does not hold|do not hold|hold in common tables"),
    "an engine": (create_engine(URL_), {}, "needs the URL of each database"),
    "one engine": ({"main": URL_, "eu": create_engine(URL_ + "2")}, {}, "'eu' is given as an engine"),
    "a creator": (URL_, {"engine_options": {"creator": print}}, "has 'creator'"),
}


@pytest.mark.parametrize(("database", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_logins_cannot_work_with_is_refused(database: Any, options: Mapping[str, Any], said: str) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=said) as caught:
        Tenancy(database, **APPLICATION, **{**GUARDED, **options})
    assert "hunter2" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_asynchronous_engine_is_refused() -> None:
    for database, options in ((create_async_engine(URL_), {}), (URL_, {"sync_database": create_engine(URL_)})):
        with pytest.raises(ConfigurationError, match="needs the URL of each database"):
            AsyncTenancy(database, **APPLICATION, **GUARDED, **options)


def test_no_password_is_shown_or_pickled(deploy: Deploy) -> None:
    deployment = deploy(LOGIN)
    binding = deployment.application.binding(KEYS[0])
    password = binding.login.password
    assert len(password) >= 40
    engine: Engine = deployment.application.session(KEYS[0]).get_bind()
    for shown in (repr(binding), repr(binding.login), repr(engine), repr(engine.url), engine.url.password or ""):
        assert password not in shown
        assert SECRET not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(binding.login)
    others = {deployment.application.binding(key).login.password for key in KEYS}
    assert len(others) == len(KEYS)


def test_a_tenants_privileges_end_at_its_database(deploy: Deploy) -> None:
    deployment = deploy(DATABASE_LOGIN)
    first, second = (deployment.application.session(key).get_bind() for key in KEYS)
    with pytest.raises(ConfigurationError, match="permission denied for database"):
        deployment.application.databases.engine(
            tenants_of(deployment)[1].placement.database, deployment.application.binding(KEYS[0]).login
        ).connect()
    assert first.url.database != second.url.database


@pytest.mark.all_cases
def test_shared_tables_of_another_database_are_reached_by_the_login_of_the_application(deploy: Deploy) -> None:
    deployment = deploy(TWO_DATABASES_LOGIN)
    execute(deployment.engines["main"], f"GRANT INSERT ON shared.plan TO {GROUP}")

    def write(session: Session) -> None:
        session.execute(insert(Plan).values(name="paid"))

    deployment.work(KEYS[0], write)
    with pytest.raises(ProgrammingError, match="permission denied for table plan"):
        deployment.work(KEYS[1], write)
