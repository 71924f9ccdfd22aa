"""A schema is renamed with the paths of functions, or not at all: no text in the database names a schema that is gone."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from tenantkit import SchemaRenameError
from tenantkit.isolation.mentions import find_mentions, names_schema
from tenantkit.isolation.relabel import read_path, relabel
from tenantkit.postgres.quoting import quote_identifier, search_path

pytestmark = pytest.mark.each_value

TABLES = """
    CREATE TABLE note (id serial PRIMARY KEY, text text, words tsvector);
    CREATE SEQUENCE sq;
    CREATE TEXT SEARCH CONFIGURATION cfg (COPY = simple);
    INSERT INTO note (text) VALUES ('own');
"""
FOLLOWS = {
    "a function with the current path": (
        "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT "
        "AS 'BEGIN RETURN (SELECT text FROM note); END'"
    ),
    "a procedure with two paths": (
        "CREATE PROCEDURE f() LANGUAGE sql SET search_path TO t_acme, public, \"$user\", '' "
        "AS 'INSERT INTO note (text) VALUES (1)'"
    ),
    "a parsed body": "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC; SELECT count(*) FROM t_acme.note; END",
    "a regclass": "ALTER TABLE note ADD COLUMN n bigint DEFAULT nextval('t_acme.sq'::regclass)",
    "a regclass of an argument": (
        "CREATE FUNCTION f(n bigint DEFAULT nextval('t_acme.sq'::regclass)) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
    ),
    "a view": "CREATE VIEW v AS SELECT * FROM t_acme.note",
    "a check": "ALTER TABLE note ADD CHECK (text <> t_acme.note.id::text)",
    "a partial index": "CREATE INDEX i ON note (lower(t_acme.note.text)) WHERE t_acme.note.text <> ''",
    "a policy": "CREATE POLICY p ON note USING (text IN (SELECT text FROM t_acme.note))",
    "the name of another schema": "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT text FROM t_acme2.note'",
    "a longer name with a hyphen": "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT text FROM \"t_acme-x\".note'",
}
"""What follows a rename, or has nothing to do with it."""
OBSTRUCTS = {
    "the body of f()": "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT text FROM t_acme.note'",
    "the body of public.f()": "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS 'SELECT text FROM T_Acme.note'",
    "a setting of f()": (
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql SET default_text_search_config = 't_acme.cfg' AS 'SELECT ''x'''"
    ),
    "a constant in f(bigint)": (
        "CREATE FUNCTION f(n bigint DEFAULT nextval('t_acme.sq'::text::regclass)) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
    ),
    "a constant in f()": (
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC; SELECT nextval('t_acme.sq'::text::regclass); END"
    ),
    "the trigger t on note": (
        "CREATE TRIGGER t BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION "
        "tsvector_update_trigger(words, 't_acme.cfg', text)"
    ),
    "the default of note.n": "ALTER TABLE note ADD COLUMN n bigint DEFAULT nextval('t_acme.sq'::text::regclass)",
    "the constraint c": "ALTER TABLE note ADD CONSTRAINT c CHECK (to_regclass('t_acme.sq') IS NOT NULL)",
    "the index i": "CREATE INDEX i ON note (text) WHERE text <> 't_acme'",
    "the policy p on note": "CREATE POLICY p ON note USING (to_regclass('t_acme.sq') IS NOT NULL)",
    "the view v": "CREATE VIEW v AS SELECT nextval('t_acme.sq'::text::regclass)",
    "the rule r on note": "CREATE RULE r AS ON DELETE TO note DO ALSO SELECT nextval('t_acme.sq'::text::regclass)",
    "the default of the domain d": "CREATE DOMAIN d AS bigint DEFAULT nextval('t_acme.sq'::text::regclass)",
    "the options of the foreign table e": (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
        "CREATE FOREIGN TABLE e (id int) SERVER s OPTIONS (schema_name 't_acme')"
    ),
}
REPORTS = {
    "the comment on table note": "COMMENT ON TABLE note IS 'as in t_acme.note'",
    "the setting search_path of the role {role}": "ALTER ROLE {role} SET search_path = t_acme",
    "the setting search_path of the role {role} in the database {database}": (
        "ALTER ROLE {role} IN DATABASE {database} SET search_path = t_acme"
    ),
}


@pytest.fixture
def connection(engine: Engine) -> Generator[Connection]:
    """A transaction with the schema of a tenant, which is rolled back."""
    with engine.connect() as connection:
        for name in ("t_acme", "t_acme2", "t_acme-x"):
            connection.exec_driver_sql(f'CREATE SCHEMA "{name}"')
        connection.exec_driver_sql(f"SET LOCAL search_path TO {search_path('t_acme')}")
        connection.exec_driver_sql("SET LOCAL check_function_bodies = off")
        connection.exec_driver_sql(TABLES)
        yield connection


def names(connection: Connection) -> set[str]:
    return set(connection.exec_driver_sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%%'").scalars())


@pytest.mark.parametrize("what", FOLLOWS)
def test_what_follows_a_rename_works_after_it(connection: Connection, what: str) -> None:
    connection.exec_driver_sql(FOLLOWS[what].replace("%", "%%"))
    assert find_mentions(connection, "t_acme") == []
    relabel(connection, "t_acme", "t_new")
    connection.exec_driver_sql("SET LOCAL search_path TO pg_temp")
    assert find_mentions(connection, "t_acme") == []
    match what:
        case "a function with the current path":
            assert connection.exec_driver_sql("SELECT t_new.f()").scalar_one() == "own"
        case "a procedure with two paths":
            connection.exec_driver_sql("CALL t_new.f()")
            path = connection.exec_driver_sql("SELECT proconfig FROM pg_proc WHERE proname = 'f'").scalar_one()
            assert [read_path(each.removeprefix("search_path=")) for each in path] == [["t_new", "public", "$user", ""]]
        case "a parsed body":
            assert connection.exec_driver_sql("SELECT t_new.f()").scalar_one() == 1
        case _:
            connection.exec_driver_sql("INSERT INTO t_new.note (text) VALUES ('more')")


@pytest.mark.parametrize("what", OBSTRUCTS)
def test_a_text_with_the_name_refuses_the_rename_before_anything_changes(connection: Connection, what: str) -> None:
    connection.exec_driver_sql(OBSTRUCTS[what])
    with pytest.raises(SchemaRenameError, match="is text in") as refused:
        relabel(connection, "t_acme", "t_new")
    assert f"text in {what}, which a rename does not change" in str(refused.value)
    assert "BEGIN ATOMIC" in str(refused.value)
    assert names(connection) == {"t_acme", "t_acme2", "t_acme-x"}


@pytest.mark.parametrize("what", REPORTS)
def test_what_nothing_depends_on_is_reported_only(connection: Connection, what: str) -> None:
    own = {
        "role": "tk_mentioned",
        "database": quote_identifier(connection.engine.url.database or ""),
    }
    if "role" in what:
        connection.exec_driver_sql(f"CREATE ROLE {own['role']}")
    connection.exec_driver_sql(REPORTS[what].format(**own))
    own["database"] = connection.engine.url.database or ""
    assert [(each.what, each.obstructs) for each in find_mentions(connection, "t_acme")] == [
        (what.format(**own), False)
    ]
    relabel(connection, "t_acme", "t_new")
    assert "t_new" in names(connection)


@pytest.mark.parametrize("name", ["t_acme~2", "t-a", 'We-ird, "x"', "50%", "ünï", "a.b", "x" * 63])
def test_every_name_that_postgresql_permits_is_replaced_in_paths(connection: Connection, name: str) -> None:
    quoted = quote_identifier(name).replace("%", "%%")
    connection.exec_driver_sql(f"ALTER SCHEMA t_acme RENAME TO {quoted}")
    connection.exec_driver_sql(f"SET LOCAL search_path TO {quoted}, public, {quoted}")
    connection.exec_driver_sql(
        "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT "
        "AS 'BEGIN RETURN (SELECT text FROM note); END'"
    )
    for new in ("t_new", name, 'an"other, one %'):
        relabel(connection, connection.exec_driver_sql(_SCHEMA_OF_NOTE).scalar_one(), new)
        connection.exec_driver_sql("SET LOCAL search_path TO pg_temp")
        call = f"SELECT {quote_identifier(new)}.f()".replace("%", "%%")
        assert connection.exec_driver_sql(call).scalar_one() == "own"


_SCHEMA_OF_NOTE = "SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'note'"


def test_a_schema_that_a_migration_works_on_is_not_renamed(connection: Connection, engine: Engine) -> None:
    for name in ("t_acme", "t_new"):
        with engine.connect() as other:
            other.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(hashtext('tenantkit migration'), hashtext(%s))", (name,)
            )
            with (
                pytest.raises(SchemaRenameError, match=f"a migration is at work on the schema '{name}'") as refused,
                connection.begin_nested(),
            ):
                relabel(connection, "t_acme", "t_new")
            assert refused.value.sqlstate == "55P03"
    relabel(connection, "t_acme", "t_new")


def test_a_rename_waits_for_no_transaction_and_an_open_one_that_names_the_schema_fails(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA t_acme; CREATE TABLE t_acme.note (id int)")
    with engine.connect() as reader:
        reader.execution_options(isolation_level="REPEATABLE READ")
        reader.exec_driver_sql("SELECT count(*) FROM t_acme.note")
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            relabel(connection, "t_acme", "t_new")
        with pytest.raises(DBAPIError, match=r"relation \"t_acme.note\" does not exist"):
            reader.exec_driver_sql("SELECT count(*) FROM t_acme.note")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        *(("t_a.x", True), ('"t_a"', True), ("T_A", True), ("x=t_a", True), ("t_a", True), ("'t_a'", True)),
        *(("xt_a", False), ("t_ab", False), ("t_a$", False), ("t_a2.x", False), ("t_a-2", False), ("a-t_a.x", True)),
    ],
)
def test_a_name_is_found_as_a_whole_word(words: str, found: bool) -> None:
    assert names_schema(words, "t_a", ["t_a-2"]) is found
