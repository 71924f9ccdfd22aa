"""The first statement of a transaction, the ways to begin one, and failures of its beginning or end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL
from sqlalchemy import URL, Engine, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, selectinload

from tenantkit import ConfigurationError, Tenancy
from tenantkit.drivers.psycopg import Connection as FramedConnection
from tests.support.blocking import in_sync
from tests.support.models import APPLICATION, Project, Task

PATH = "SELECT current_setting('search_path')"


def path(session: Session) -> Any:
    return session.scalar(text(PATH))


def sets_isolation(session: Session) -> None:
    session.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"))
    assert session.scalar(text("SHOW transaction_isolation")) == "serializable"


def imports_snapshot(session: Session) -> None:
    with create_engine(session.get_bind().engine.url.set(drivername="postgresql+psycopg")).connect() as other:
        snapshot = other.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        session.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
        other.rollback()
    other.engine.dispose()


def takes_isolation_of_the_connection(session: Session) -> None:
    session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
    assert session.scalar(text("SHOW transaction_isolation")) == "serializable"


def begins_a_savepoint(session: Session) -> None:
    savepoint = session.begin_nested()
    assert path(session) == "t_acme, pg_temp"
    savepoint.rollback()


def streams(session: Session) -> None:
    options = {"stream_results": True, "yield_per": 1}
    assert session.scalars(text("SELECT name FROM project"), execution_options=options).all() == ["acme"]


def inserts_many(session: Session) -> None:
    session.execute(insert(Task), [{"title": str(number), "project_id": 1} for number in range(3)])


def executes_many(session: Session) -> None:
    session.execute(text("INSERT INTO project (name) VALUES (:name)"), [{"name": "x"}, {"name": "y"}])


def commits_in_between(session: Session) -> None:
    session.execute(text("SELECT name FROM project"))
    session.commit()


def fails_in_between(session: Session) -> None:
    with pytest.raises(DBAPIError):
        session.execute(text("SELECT nothing FROM nowhere"))
    session.rollback()


FIRST = [
    sets_isolation,
    imports_snapshot,
    takes_isolation_of_the_connection,
    begins_a_savepoint,
    streams,
    inserts_many,
    executes_many,
    commits_in_between,
    fails_in_between,
]


@pytest.fixture
def acme(filled_template: str, make_any_tenancy: Callable[..., Any]) -> Any:
    """Two tenants, on one connection."""
    return make_any_tenancy(engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 5})


@pytest.mark.parametrize("first", FIRST)
def test_every_kind_of_statement_may_be_the_first_of_a_transaction(acme: Any, first: Callable[[Session], None]) -> None:
    def use(session: Session) -> None:
        first(session)
        assert path(session) == "t_acme, pg_temp"
        assert "acme" in session.scalars(text("SELECT name FROM project")).all()

    for _ in range(2):
        with acme.session("acme") as session:
            in_sync(session, use)
        with acme.shared_session() as session:
            assert "t_acme" not in session.execute(text(PATH)).scalar_one()


def test_cursors_of_the_driver_have_the_tenants_path(tenancy: Tenancy) -> None:
    tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
    names = "SELECT name FROM project"
    uses: dict[str, Callable[[psycopg.Connection[Any]], Any]] = {
        "connection": lambda driver: driver.execute(names).fetchall(),
        "bytes": lambda driver: driver.execute(names.encode()).fetchall(),
        "composed": lambda driver: driver.execute(psycopg.sql.SQL(names)).fetchall(),
        "cursor": lambda driver: driver.cursor().execute(names).fetchall(),
        "server-side cursor": lambda driver: by_server_cursor(driver, names),
        "stream": lambda driver: list(driver.cursor().stream(names)),
        "copy": lambda driver: copied(driver, f"COPY ({names}) TO STDOUT"),
        "transaction": lambda driver: within(driver.transaction(), lambda: driver.execute(names).fetchall()),
        "pipeline": lambda driver: within(driver.pipeline(), lambda: driver.execute(names).fetchall()),
    }
    for name, use in uses.items():
        with tenancy.session("acme") as session:
            driver: Any = session.connection().connection.driver_connection
            assert use(driver) == [("acme",)], name
            session.rollback()


def by_server_cursor(driver: psycopg.Connection[Any], statement: str) -> list[Any]:
    with driver.cursor("here") as cursor:
        return cursor.execute(statement).fetchall()


def copied(driver: psycopg.Connection[Any], statement: str) -> list[Any]:
    with driver.cursor().copy(statement) as rows:
        return list(rows.rows())


def within(manager: Any, use: Callable[[], Any]) -> Any:
    with manager:
        return use()


def test_a_transaction_of_the_driver_leaves_nothing_on_the_connection(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        driver: Any = session.connection().connection.driver_connection
        with driver.transaction():
            driver.execute("SET app.who = 'acme'")
        with driver.pipeline():
            driver.execute("SET app.who = 'acme'")
            driver.commit()
        session.rollback()
    with Session(tenancy.engine) as session:
        assert not session.scalar(text("SELECT current_setting('app.who', true)"))


@pytest.mark.parametrize("level", ["AUTOCOMMIT", None])
def test_a_session_in_autocommit_mode_is_refused(make_any_tenancy: Callable[..., Any], level: str | None) -> None:
    tenancy = make_any_tenancy(engine_options={"isolation_level": level} if level else {})
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        options = {} if level else {"execution_options": {"isolation_level": "AUTOCOMMIT"}}
        with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
            in_sync(session, lambda sync: sync.connection(**options).execute(text("SELECT 1")))


def test_a_commit_that_fails_leaves_nothing_on_the_connection(acme: Any, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t_acme.once (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    with acme.session("acme") as session:
        session.execute(text("SET app.who = 'acme'"))
        session.execute(text("CREATE TEMP TABLE leftover ()"))
        session.execute(text("INSERT INTO once VALUES (1), (1)"))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        assert session.execute(text(PATH)).scalar_one() == "t_acme, pg_temp"
    with acme.session("beta") as session:
        left = text("SELECT current_setting('app.who', true), to_regclass('pg_temp.leftover')")
        assert session.execute(left).one() in {("", None), (None, None)}


def test_a_killed_backend_ends_one_transaction_only(acme: Any, engine: Engine) -> None:
    with acme.session("acme") as session:
        pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        session.commit()
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(DBAPIError):
            session.execute(text("SELECT name FROM project"))
        session.rollback()
        assert session.execute(text("SELECT name FROM project")).scalars().all() == ["acme"]


def test_settings_of_the_application_on_new_connections_are_kept(
    make_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("GRANT pg_monitor TO CURRENT_USER")
    tenancy = make_tenancy(engine_options={"pool_size": 1, "max_overflow": 0})
    tenancy.create("acme")
    acme = tenancy.get("acme")
    tenancy.engine.dispose()

    @event.listens_for(tenancy.engine, "connect")
    def connected(connection: Any, _entry: Any) -> None:
        with closing(connection.cursor()) as cursor:
            for statement in ("SET TimeZone = 'Asia/Tokyo'", "SET search_path = 'a b', public"):
                cursor.execute(statement)
            cursor.execute("SET application_name = 'it''s mine'")
            cursor.execute("SET ROLE pg_monitor")
        connection.commit()

    shown = text(
        "SELECT current_setting('TimeZone'), current_setting('search_path'), current_setting('application_name'), current_user"
    )
    for _ in range(3):
        with Session(tenancy.engine) as session:
            assert session.execute(shown).one() == ("Asia/Tokyo", '"a b", public', "it's mine", "pg_monitor")
        with tenancy.session(acme) as session:
            session.execute(text("SET TimeZone = 'UTC'"))
            session.execute(text("RESET ROLE"))
            session.execute(text("SET application_name = 'acme'"))
            session.commit()


@contextmanager
def engine_with(database: URL, **options: Any) -> Generator[Engine]:
    engine = create_engine(database, **options)
    yield engine
    engine.dispose()


def test_connections_of_a_creator_must_be_of_tenantkits_class(
    database: URL, make_tenancy: Callable[..., Tenancy]
) -> None:
    url = database.set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[psycopg.Connection[Any]] = []

    def connect() -> psycopg.Connection[Any]:
        made.append(psycopg.connect(url))
        return made[-1]

    with engine_with(database, creator=connect) as engine:
        tenancy = make_tenancy(database=engine)
        with pytest.raises(ConfigurationError, match=r"creator=.*tenantkit\.drivers\.psycopg\.Connection"):
            tenancy.create("acme")
    assert [each.closed for each in made] == [True]
    with engine_with(database, creator=lambda: FramedConnection.connect(url)) as engine:
        tenancy = make_tenancy(database=engine)
        tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
        with tenancy.session("acme") as session:
            assert session.scalars(text("SELECT name FROM project")).all() == ["acme"]


def test_connections_from_before_the_tenancy_are_replaced(database: URL, make_tenancy: Callable[..., Tenancy]) -> None:
    with engine_with(database, pool_size=2) as engine:
        with engine.connect(), engine.connect():
            pass
        tenancy = make_tenancy(database=engine)
        tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
        with tenancy.session("acme") as session, tenancy.session("acme") as other:
            for each in (session, other):
                assert each.scalars(text("SELECT name FROM project")).all() == ["acme"]


def test_cursors_of_the_applications_own_class_have_the_tenants_path(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(engine_options={"connect_args": {"cursor_factory": psycopg.ClientCursor}})
    tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
    with tenancy.session("acme") as session:
        cursor: Any = session.connection().connection.cursor()
        assert isinstance(cursor.driver_cursor if hasattr(cursor, "driver_cursor") else cursor, psycopg.ClientCursor)
        assert session.scalars(select(Project).options(selectinload(Project.tasks))).one().name == "acme"


def test_every_statement_carries_the_mark_of_its_tenant(acme: Any) -> None:
    seen = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    for key in ("acme", "beta"):
        with acme.session(key) as session:
            assert session.execute(text(seen)).scalar_one().startswith(f"/* tenant {session.tenant.id} in t_{key} */ ")
    with acme.shared_session() as session:
        assert session.execute(text(seen)).scalar_one() == seen


@pytest.mark.parametrize("factory", [psycopg.Cursor, psycopg.ClientCursor])
def test_statements_of_psycopgs_own_cursors_carry_the_mark(
    factory: type[psycopg.Cursor[Any]], make_tenancy: Callable[..., Tenancy]
) -> None:
    tenancy = make_tenancy(engine_options={"connect_args": {"cursor_factory": factory}})
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        insert = "INSERT INTO project (name) SELECT current_query() || %s RETURNING name"
        cursor: Any = session.connection().connection.driver_connection
        cursor = cursor.cursor()
        cursor.execute(insert, (0,))
        cursor.executemany(insert, [(1,), (2,), (3,)])
        cursor.executemany(insert, [(4,), (5,)], returning=True)
        with cursor.connection.pipeline():
            cursor.executemany(insert, [(6,), (7,)])
        with cursor.copy("COPY (SELECT current_query()) TO STDOUT") as copied:
            assert b"/* tenant " in b"".join(map(bytes, copied))
        seen = session.scalars(select(Project.name)).all()
        assert len(seen) == 8
        assert {each.startswith(f"/* tenant {session.tenant.id} in t_acme */ INSERT") for each in seen} == {True}


def test_the_result_of_mogrify_has_no_mark(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(engine_options={"connect_args": {"cursor_factory": psycopg.ClientCursor}})
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        driver: Any = session.connection().connection.driver_connection
        cursor = driver.cursor()
        values = ", ".join(cursor.mogrify("(%s)", (name,)) for name in ("a", "b%s"))
        assert values == "('a'), ('b%s')"
        cursor.execute(f"INSERT INTO project (name) VALUES {values}")
        assert session.scalars(select(Project.name).order_by(Project.id)).all() == ["a", "b%s"]
        assert cursor.execute("SELECT current_query(), %s", (1,)).fetchone()[0].startswith("/* tenant ")


def test_every_way_to_send_a_statement_with_psycopgs_cursor_marks_it(tenancy: Tenancy) -> None:
    tenant = tenancy.create("acme")
    query = "SELECT current_query()"
    with tenancy.session(tenant) as session:
        driver: Any = session.connection().connection.driver_connection
        sent = [
            *driver.execute(query).fetchone(),
            *driver.execute(query.encode()).fetchone(),
            *driver.execute(SQL(query)).fetchone(),
            *(row[0] for row in driver.cursor().stream(query)),
        ]
    assert sent == [f"/* tenant {tenant.id} in {tenant.schema} */ {query}"] * 4


def test_a_driver_whose_statements_cannot_be_marked_is_refused(
    make_tenancy: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("tenantkit.drivers.psycopg._MarkedCursor._convert_query")
    with pytest.raises(ConfigurationError, match="this version of psycopg"):
        make_tenancy().create("acme")


def test_a_binding_is_kept_while_its_tenant_does_not_change(tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantkit.serving.MAX_BINDINGS", 2)
    tenants = [tenancy.create(key) for key in ("acme", "beta", "gamma")]
    acme = tenancy.binding("acme")
    assert tenancy.binding("acme") is acme
    assert tenancy.bind(tenancy.update("acme", name="Acme")).tenant.name == "Acme"
    for tenant in tenants:
        assert tenancy.bind(tenant).tenant is tenant
    assert tenancy.bind(tenants[0]) is not acme


def decoy(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE public.project AS SELECT 'public' AS name")


NAMES = text("SELECT name FROM project")


@pytest.mark.filterwarnings("ignore:transaction already deassociated")
def test_a_connection_that_its_session_closed_serves_another_tenant_correctly(acme: Any, engine: Engine) -> None:
    decoy(engine)
    session = acme.session("acme")
    with session as entered:
        in_sync(entered, lambda sync: (sync.scalars(NAMES).all(), sync.connection().connection.close()))
        with acme.session("beta") as other:
            assert other.execute(NAMES).scalars().all() == ["beta"]
            other.commit()
        with acme.shared_session() as shared:
            assert "acme" not in shared.execute(text(PATH)).scalar_one()
        with pytest.raises(Exception, match=r"closed|hold|Assertion"):
            entered.execute(NAMES)


LEVELS: list[dict[str, Any]] = [
    {"isolation_level": "REPEATABLE READ"},
    {"isolation_level": "SERIALIZABLE"},
    {"execution_options": {"postgresql_readonly": True, "postgresql_deferrable": True}},
]


@pytest.mark.parametrize("options", LEVELS, ids=str)
def test_an_engine_may_have_an_isolation_level(
    make_any_tenancy: Callable[..., Any], tenancy: Tenancy, options: Any
) -> None:
    tenancy.create("acme")
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}
    reached = make_any_tenancy(engine_options={**pool, **options}, sync_database=tenancy.engine)
    pids = set()
    for _ in range(3):
        with reached.session("acme") as session:
            assert session.execute(text(PATH)).scalar_one() == "t_acme, pg_temp"
            pids.add(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
            session.commit()
    assert len(pids) == 1


def test_a_refused_connection_is_not_used_later(acme: Any, engine: Engine) -> None:
    decoy(engine)

    def use(session: Session) -> None:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
                session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            assert session.scalars(NAMES).all() == ["acme"]
            connection: Any = session.connection().connection.dbapi_connection
            assert not connection.autocommit
            session.rollback()

    with acme.session("acme") as session:
        in_sync(session, use)


def test_a_session_with_another_engine_cannot_be_used_later(tenancy: Tenancy, engine: Engine) -> None:
    decoy(engine)
    tenancy.create("acme")
    with pytest.raises(ConfigurationError, match="bind="):
        tenancy.session("acme", bind=engine)
    with tenancy.shared_session(bind=engine) as session:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="bind="):
                session.scalars(NAMES)


@pytest.mark.filterwarnings("ignore:transaction already deassociated")
@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_text_is_refused_after_the_connections_methods_ended_the_transaction(
    acme: Any, engine: Engine, end: str
) -> None:
    decoy(engine)

    def use(session: Session) -> None:
        session.scalars(NAMES).all()
        getattr(session.connection(), end)()
        for statement in (NAMES, select(Project.name), text("SET app.who = 'acme'")):
            with pytest.raises(Exception, match=r"does not hold|inactive|closed"):
                session.execute(statement)
        session.rollback()
        assert session.scalars(NAMES).all() == ["acme"]

    with acme.session("acme") as session:
        in_sync(session, use)


def test_listeners_of_the_application_run_after_the_path_is_set(tenancy: Tenancy, engine: Engine) -> None:
    decoy(engine)
    tenancy.create("acme", seed=lambda session: session.add(Project(name="acme")))
    seen: list[str] = []

    def begun(_session: Session, _transaction: Any, connection: Any) -> None:
        seen.extend(connection.scalars(NAMES))

    event.listen(Session, "after_begin", begun)
    try:
        with tenancy.session("acme") as session:
            session.connection()
    finally:
        event.remove(Session, "after_begin", begun)
    assert seen == ["acme"]


def test_settings_of_connect_listeners_are_kept_on_the_first_connection(database: URL, engine: Engine) -> None:
    with engine.begin() as granting:
        granting.exec_driver_sql("GRANT USAGE ON SCHEMA tenantkit TO pg_monitor")
        granting.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA tenantkit TO pg_monitor")
    with engine_with(database, pool_size=2) as given:

        @event.listens_for(given, "connect")
        def connected(connection: Any, _entry: Any) -> None:
            with closing(connection.cursor()) as cursor:
                cursor.execute("SET TimeZone = 'Asia/Tokyo'")
                cursor.execute("SET log_min_duration_statement = 4711")  # without the privilege
                cursor.execute("SET ROLE pg_monitor")
            connection.commit()

        tenancy = Tenancy(given, listen=False, **APPLICATION)
        shown = text("SELECT current_setting('TimeZone'), current_setting('log_min_duration_statement'), current_user")
        pids: set[Any] = set()
        for _ in range(2):
            with Session(tenancy.engine) as session, Session(tenancy.engine) as other:
                for each in (session, other):
                    assert each.execute(shown).one() == ("Asia/Tokyo", "4711ms", "pg_monitor")
            with tenancy.shared_session() as shared, tenancy.shared_session() as second:
                pids = {each.scalar(text("SELECT pg_backend_pid()")) for each in (shared, second)}
        with Session(tenancy.engine) as session:
            assert session.scalar(text("SELECT pg_backend_pid()")) in pids
