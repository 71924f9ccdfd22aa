"""Statements of an attacker who has a session of one tenant and wants the rows of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import MetaData, Table, column, create_engine, func, literal_column, select, table, text
from sqlalchemy.orm import Session

from tenantkit import Tenant
from tenantkit.isolation.roles import role_of
from tests.isolation.contract import driver
from tests.isolation.contract.application import Task

Send = Callable[[Session, Tenant], Iterable[Any]]

DEFINER = (
    "CREATE FUNCTION public.titles_in(place text) RETURNS SETOF varchar LANGUAGE plpgsql SECURITY DEFINER "
    "AS 'BEGIN RETURN QUERY EXECUTE format(''SELECT title FROM %I.task'', place); END'"
)
"""A function of the application, which runs with the rights of the owner."""

LOOPBACK = (
    "format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), "
    "current_setting('port'), current_database(), current_user)"
)


@dataclass(frozen=True)
class Attack:
    """What an attacker sends, and how the documentation shows it, with ``theirs`` as the neighbour's schema."""

    group: str
    shown: str
    send: Send


def sql(group: str, *statements: str, shown: str | None = None) -> Attack:
    """Return an attack by text; in braces are the neighbour's schema, id and role."""

    def send(session: Session, neighbour: Tenant) -> Iterable[Any]:
        for statement in statements:
            names = {"theirs": neighbour.schema, "id": neighbour.id, "role": role_of(neighbour)}
            result: Any = session.execute(text(statement.format(**names)))
            if result.returns_rows:
                yield from result.all()

    return Attack(group, shown or "; ".join(statements).format(theirs="theirs", id="their id", role="their role"), send)


def core(group: str, shown: str, make: Callable[[Session, Tenant], Any]) -> Attack:
    """Return an attack by a statement that is made without text."""
    return Attack(group, shown, lambda session, neighbour: session.execute(make(session, neighbour)).all())


NAMES = "SQL that names the neighbour's schema"
PATH = "The search_path"
ROLES = "Roles and settings"
FUNCTIONS = "Functions and blocks"
SERVER = "The server's files, connections and catalogs"
OBJECTS = "Statements without text"
DRIVER = "Other connections and cursors"

READ = "SELECT title FROM task"
PEEK = "SELECT title FROM {theirs}.task"
TAKE = "INSERT INTO task (id, title) SELECT id + 9, title FROM {theirs}.task"


def select_named(_: Session, neighbour: Tenant) -> Any:
    return select(table("task", column("title"), schema=neighbour.schema).c.title)


def select_copied(_: Session, neighbour: Tenant) -> Any:
    declared: Any = Task.__table__
    return select(declared.to_metadata(MetaData(), schema=neighbour.schema).c.title)


def select_reflected(session: Session, neighbour: Tenant) -> Any:
    reflected = Table("task", MetaData(), schema=neighbour.schema, autoload_with=session.connection())
    return select(reflected.c.title)


def with_a_map(session: Session, neighbour: Tenant) -> list[Any]:
    options = {"schema_translate_map": {"tenant": neighbour.schema}}
    return list(session.scalars(select(Task.title), execution_options=options))


def with_a_setting(name: str, value: Callable[[Tenant], str]) -> Send:
    def send(session: Session, neighbour: Tenant) -> Iterable[Any]:
        session.execute(select(func.set_config(name, value(neighbour), True)))
        yield from session.scalars(select(func.titles()))
        yield from session.scalars(select(Task.title))

    return send


def with_their_role(session: Session, neighbour: Tenant) -> Iterable[Any]:
    session.execute(select(func.set_config("role", role_of(neighbour), True)))
    yield from session.execute(select_named(session, neighbour))


def on_another_connection(session: Session, neighbour: Tenant) -> list[Any]:
    engine = create_engine(session.get_bind().engine.url)
    try:
        with engine.connect() as connection:
            return list(connection.scalars(text(PEEK.format(theirs=neighbour.schema))))
    finally:
        engine.dispose()


def through_an_operator(_: Session, neighbour: Tenant) -> Any:
    return select(Task.title.op(f"|| (SELECT max(title) FROM {neighbour.schema}.task) ||")(""))


BECOME = sql(
    ROLES,
    'SET SESSION AUTHORIZATION "{role}"',
    PEEK,
    shown="SET SESSION AUTHORIZATION their_role; SELECT title FROM theirs.task",
)
TAKE_ROLE = sql(
    ROLES,
    'GRANT "{role}" TO CURRENT_USER',
    'SET ROLE "{role}"',
    PEEK,
    shown="GRANT their_role TO CURRENT_USER; SET ROLE their_role; SELECT title FROM theirs.task",
)
SET_ROLE = sql(ROLES, 'SET ROLE "{role}"', PEEK, shown="SET ROLE their_role; SELECT title FROM theirs.task")
CALLED_SET_ROLE = Attack(
    OBJECTS,
    "select(func.set_config('role', their_role, True)); select(table('task', column('title'), schema=theirs).c.title)",
    with_their_role,
)

ATTACKS = (
    sql(NAMES, PEEK),
    sql(NAMES, "SELECT title FROM {theirs}.open_task"),
    sql(NAMES, READ + " UNION ALL " + PEEK),
    sql(NAMES, TAKE, READ),
    sql(NAMES, "CREATE TEMP VIEW peek AS " + PEEK, "SELECT * FROM peek"),
    sql(NAMES, "INSERT INTO {theirs}.task (id, title) VALUES (9, 'intruder')"),
    sql(NAMES, "UPDATE {theirs}.task SET title = 'changed'"),
    sql(NAMES, "DELETE FROM {theirs}.task"),
    sql(NAMES, "SELECT nextval('{theirs}.invoice_no')"),
    sql(NAMES, "TRUNCATE {theirs}.task"),
    sql(NAMES, "DROP TABLE {theirs}.task CASCADE"),
    sql(NAMES, "SELECT {theirs}.titles()"),
    sql(PATH, "SET search_path TO {theirs}", READ),
    sql(PATH, "SET LOCAL search_path TO {theirs}", READ),
    sql(PATH, "SELECT set_config('search_path', '{theirs}', false)", READ),
    sql(PATH, "SAVEPOINT here", "SET search_path TO {theirs}", "ROLLBACK TO here", READ),
    sql(PATH, "RESET search_path", READ),
    sql(PATH, "RESET ALL", READ),
    sql(PATH, "COMMIT", "SET search_path TO {theirs}", READ),
    sql(PATH, "ALTER ROLE CURRENT_USER SET search_path TO {theirs}", READ),
    sql(ROLES, "RESET ROLE", PEEK),
    sql(ROLES, "SELECT set_config('role', 'none', true)", PEEK),
    SET_ROLE,
    TAKE_ROLE,
    BECOME,
    sql(ROLES, "SET SESSION AUTHORIZATION DEFAULT", PEEK),
    sql(ROLES, "SET ROLE pg_read_all_data", PEEK),
    sql(ROLES, "GRANT pg_read_all_data TO CURRENT_USER", PEEK),
    sql(ROLES, "ALTER ROLE CURRENT_USER BYPASSRLS", PEEK),
    sql(ROLES, "SET row_security = off", PEEK),
    sql(ROLES, "SELECT set_config('tenantkit.tenant', '{id}', true)", READ),
    sql(FUNCTIONS, "DO $$ BEGIN SET search_path TO {theirs}; END $$", READ),
    sql(FUNCTIONS, "DO $$ BEGIN " + TAKE + "; END $$", READ),
    sql(
        FUNCTIONS,
        "CREATE FUNCTION pg_temp.peek() RETURNS SETOF varchar LANGUAGE sql SET search_path TO {theirs} AS $$ "
        + READ
        + " $$",
        "SELECT pg_temp.peek()",
    ),
    sql(
        FUNCTIONS, "SELECT public.titles_in('{theirs}')", shown="SELECT public.titles_in('theirs') -- SECURITY DEFINER"
    ),
    sql(FUNCTIONS, "SELECT ts_stat('SELECT to_tsvector(title) FROM {theirs}.task')"),
    sql(FUNCTIONS, "PREPARE peek AS " + PEEK, "EXECUTE peek"),
    sql(FUNCTIONS, "DECLARE peek CURSOR FOR " + PEEK, "FETCH ALL FROM peek"),
    sql(SERVER, "SELECT query FROM pg_stat_activity"),
    sql(
        SERVER,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%secret%' AND pid <> pg_backend_pid()",
        shown="SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    ),
    sql(SERVER, "SELECT most_common_vals FROM pg_stats WHERE schemaname = '{theirs}'"),
    sql(SERVER, "SELECT lo_get(oid) FROM pg_largeobject_metadata"),
    sql(SERVER, "SELECT pg_read_binary_file(pg_relation_filepath('{theirs}.task'))"),
    sql(
        SERVER,
        "COPY (" + PEEK + ") TO PROGRAM 'cat > peek'",
        "SELECT pg_read_file('peek')",
        "COPY (SELECT 1) TO PROGRAM 'rm peek'",
        shown="COPY theirs.task TO PROGRAM …",
    ),
    sql(
        SERVER,
        "SELECT * FROM public.dblink(" + LOOPBACK + ", '" + PEEK + "') AS peek (title text)",
        shown="SELECT * FROM dblink(…, 'SELECT title FROM theirs.task') AS peek (title text)",
    ),
    core(OBJECTS, "select(table('task', column('title'), schema=theirs).c.title)", select_named),
    core(OBJECTS, "select(Task.__table__.to_metadata(MetaData(), schema=theirs).c.title)", select_copied),
    core(OBJECTS, "Table('task', MetaData(), schema=theirs, autoload_with=connection)", select_reflected),
    Attack(
        OBJECTS,
        "session.scalars(select(Task.title), execution_options={'schema_translate_map': {'tenant': theirs}})",
        with_a_map,
    ),
    core(
        OBJECTS,
        "select(literal_column('(SELECT title FROM theirs.task)'))",
        lambda _, neighbour: select(literal_column(f"(SELECT max(title) FROM {neighbour.schema}.task)")),
    ),
    core(OBJECTS, "Task.title.op('|| (SELECT title FROM theirs.task) ||')('')", through_an_operator),
    Attack(
        OBJECTS,
        "select(func.set_config('search_path', theirs, True)); select(func.titles())",
        with_a_setting("search_path", lambda neighbour: neighbour.schema),
    ),
    Attack(
        OBJECTS,
        "select(func.set_config('tenantkit.tenant', 'their id', True)); select(func.titles())",
        with_a_setting("tenantkit.tenant", lambda neighbour: str(neighbour.id)),
    ),
    CALLED_SET_ROLE,
    core(
        OBJECTS,
        "select(table('pg_stats', column('most_common_vals'), schema='pg_catalog'))",
        lambda *_: select(table("pg_stats", column("most_common_vals"), schema="pg_catalog")),
    ),
    core(
        OBJECTS,
        "select(func.ts_stat('SELECT to_tsvector(title) FROM theirs.task'))",
        lambda _, neighbour: select(func.ts_stat(f"SELECT to_tsvector(title) FROM {neighbour.schema}.task")),
    ),
    core(
        OBJECTS,
        "select(func.public.titles_in(theirs))  # SECURITY DEFINER",
        lambda _, neighbour: select(func.public.titles_in(neighbour.schema)),
    ),
    core(
        OBJECTS, "select(func.theirs.titles())", lambda _, neighbour: select(getattr(func, neighbour.schema).titles())
    ),
    Attack(
        DRIVER,
        "cursor.execute('SELECT title FROM theirs.task')",
        lambda session, neighbour: driver.fetch(session, PEEK.format(theirs=neighbour.schema)),
    ),
    Attack(
        DRIVER,
        "cursor.copy('COPY theirs.task TO STDOUT')",
        lambda session, neighbour: driver.copy_out(session, PEEK.format(theirs=neighbour.schema)),
    ),
    Attack(DRIVER, "create_engine(session.get_bind().url).connect()", on_another_connection),
)
