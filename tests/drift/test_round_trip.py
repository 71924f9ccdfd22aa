"""For each kind of object: a change by hand in one tenant is named, and the printed SQL repairs it."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.drift.conftest import Fleet, words_of

BROKEN = {
    name: (
        sql,
        re.findall("^-- (?:by hand: )?(.*)", sql, re.MULTILINE),
        re.findall("^-- by hand: (.*)", sql, re.MULTILINE),
    )
    for name, _, sql in (
        each.partition("\n") for each in Path(__file__).with_name("broken.sql").read_text().split("\n--- ")[1:]
    )
}
"""Changes of a tenant by hand, the reported differences, and those that no script repairs without loss."""


def test_tenants_that_were_created_alike_have_no_drift(fleet: Fleet) -> None:
    report = fleet.check()
    assert fleet.words() == {}
    assert not report.has_drift
    assert [(group.revision, group.tenants, group.alike) for group in report.groups] == [(None, 3, 3)]
    assert fleet.catalog("acme") == fleet.catalog("beta")


@pytest.mark.some_values(name=26)
@pytest.mark.parametrize("name", BROKEN)
def test_changes_by_hand_are_named_and_repaired(fleet: Fleet, name: str) -> None:
    sql, words, by_hand = BROKEN[name]
    fleet.run("acme", sql)
    report = fleet.check()
    assert _of_any_versions(words_of(report)) == _of_any_versions({"acme": words})
    script = fleet.repair(report)
    assert _of_any_versions(fleet.words()) == _of_any_versions({"acme": by_hand} if by_hand else {})
    assert ("-- By hand: " in script) == bool(by_hand)
    dropped = [each for each in words if each.endswith(" should not be there") and each not in by_hand]
    assert script.count("\n-- Lost: ") >= len(dropped)
    assert by_hand or fleet.catalog("acme") == fleet.catalog("beta")


def _of_any_versions(words: dict[str, list[str]]) -> dict[str, list[str]]:
    return {key: list(map(_of_any_version, said)) for key, said in words.items()}


def _of_any_version(words: str) -> str:
    """Return a definition as PostgreSQL 16 and later write it: without the table's name if there is one table only."""
    return words.replace("invoices.", "") if "«" in words else words


def test_a_repair_that_rows_prevent_changes_nothing(fleet: Fleet) -> None:
    fleet.run("acme", "ALTER TABLE lines DROP COLUMN place, DROP COLUMN price")
    report = fleet.check()
    with pytest.raises(psycopg.errors.NotNullViolation):
        fleet.repair(report)
    assert words_of(fleet.check()) == words_of(report)
    assert "-- If lines has rows, set lines.place here" in report.odd[0].script("acme")


def test_a_required_column_is_added_to_an_empty_table(fleet: Fleet) -> None:
    fleet.run("acme", "DELETE FROM lines; ALTER TABLE lines DROP COLUMN place")
    fleet.repair(fleet.check())
    assert fleet.words() == {}


@pytest.mark.all_cases
def test_a_domain_gets_its_constraints_before_a_column_has_it_inside_of_its_type(fleet: Fleet) -> None:
    fleet.everywhere(
        """
        CREATE FUNCTION is_share(amount) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 <= 1';
        CREATE DOMAIN share AS amount CONSTRAINT parts CHECK (is_share(VALUE)) CHECK (VALUE <> 0.5);
        CREATE DOMAIN shares AS share[] CHECK (cardinality(VALUE) < 9);
        CREATE TYPE fund AS (parts share[]);
        ALTER TABLE bookings ADD COLUMN parts share[], ADD COLUMN more shares, ADD COLUMN fund fund;
        CREATE TABLE funds (fund fund[], parts shares)
        """,
        ("beta", "gamma"),
    )
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    assert fleet.catalog("acme") == fleet.catalog("beta")


@pytest.mark.all_cases
@pytest.mark.parametrize(
    "user",
    [
        "ALTER TABLE bookings ADD COLUMN fees amount[]",
        "CREATE TYPE fee AS (price amount); ALTER TABLE bookings ADD COLUMN fees fee",
        "CREATE DOMAIN fees AS amount[]; ALTER TABLE bookings ADD COLUMN fees fees",
        "CREATE DOMAIN fee AS amount; ALTER TABLE bookings ADD COLUMN fees fee[]",
        "ALTER TABLE bookings ADD COLUMN fees lines[]",
    ],
)
def test_a_domain_that_a_column_has_inside_of_its_type_gets_no_constraint(fleet: Fleet, user: str) -> None:
    fleet.everywhere(user, ("acme",))
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        fleet.run("acme", "ALTER DOMAIN amount ADD CHECK (VALUE < 100)")
    fleet.run("acme", "ALTER DOMAIN amount DROP CONSTRAINT amount_positive")
    script = fleet.repair(fleet.check())
    assert "amount_positive on amount: column bookings.fees has the domain inside of its type" in script
    assert fleet.words() == {"acme": ["domain constraint amount_positive is missing on amount"]}


@pytest.mark.all_cases
@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("CREATE TRIGGER moved AFTER UPDATE OF place ON lines FOR EACH ROW EXECUTE FUNCTION touch()", "trigger moved"),
        ("CREATE POLICY front ON lines USING (place < 10)", "policy front"),
    ],
)
def test_a_column_that_a_trigger_or_a_policy_uses_is_left_to_an_operator(fleet: Fleet, user: str, said: str) -> None:
    fleet.everywhere(user)
    fleet.run(
        "acme",
        f"""
        DROP {said} ON lines; ALTER TABLE lines DROP CONSTRAINT ck_place; ALTER TABLE lines ALTER place TYPE smallint;
        ALTER TABLE lines ADD CONSTRAINT ck_place CHECK (place > 0) NOT VALID; {user}
        """,
    )
    report = fleet.check()
    assert f"-- By hand: column lines.place: {said} on lines uses it.\n" in fleet.repair(report)
    assert (
        words_of(fleet.check()) == words_of(report) == {"acme": ["column lines.place: type is smallint, not integer"]}
    )


@pytest.mark.all_cases
def test_a_column_that_a_view_reads_is_left_to_an_operator(fleet: Fleet) -> None:
    view = "CREATE VIEW codes AS SELECT code FROM lines; GRANT SELECT ON codes TO pg_monitor"
    fleet.everywhere(f"ALTER TABLE lines DROP CONSTRAINT fk_code; {view}")
    fleet.run("acme", f"DROP VIEW codes; ALTER TABLE lines ALTER code TYPE varchar(9); {view}")
    report = fleet.check()
    words = words_of(report)["acme"]
    assert words == [
        "view codes: columns is code character varying(9), not code text",
        "column lines.code: type is character varying(9), not text",
    ]
    script = fleet.repair(report)
    assert "-- By hand: column lines.code: view codes uses it.\n" in script
    assert "-- By hand: view codes: there is no statement without loss." in script
    assert words_of(fleet.check())["acme"] == words


def test_a_view_that_only_compares_a_changed_column_keeps_its_privileges(fleet: Fleet) -> None:
    view = "CREATE VIEW numbers AS SELECT id FROM lines WHERE place > 0; GRANT SELECT ON numbers TO pg_monitor"
    fleet.everywhere(f"ALTER TABLE lines DROP CONSTRAINT ck_place; {view}")
    fleet.run("acme", f"DROP VIEW numbers; ALTER TABLE lines ALTER place TYPE smallint; {view}")
    rights = "SELECT 'numbers'::regclass::oid, relacl::text FROM pg_class WHERE oid = 'numbers'::regclass"
    before, report = fleet.rows("acme", rights), fleet.check()
    assert words_of(report) == {"acme": ["column lines.place: type is smallint, not integer"]}
    assert "-- By hand: column lines.place: view numbers uses it.\n" in fleet.repair(report)
    assert fleet.rows("acme", rights) == before


def test_losses_of_an_object_that_is_created_again_are_named_in_front_of_it(fleet: Fleet) -> None:
    fleet.run(
        "acme",
        """
        DROP INDEX ix_invoices_date; CREATE INDEX ix_invoices_date ON invoices (net) WITH (fillfactor = 40);
        COMMENT ON INDEX ix_invoices_date IS 'mine'; ALTER TABLE invoices CLUSTER ON ix_invoices_date;
        DROP INDEX ix_invoices_open; CREATE INDEX ix_invoices_open ON invoices (upper(number));
        ALTER INDEX ix_invoices_open ALTER COLUMN 1 SET STATISTICS 70;
        ALTER TABLE invoices DROP CONSTRAINT ck_net, ADD CONSTRAINT ck_net CHECK (net > 1);
        COMMENT ON CONSTRAINT ck_net ON invoices IS 'mine';
        ALTER TABLE invoices DROP CONSTRAINT uq_number, ADD CONSTRAINT uq_number UNIQUE (number, date);
        COMMENT ON INDEX uq_number IS 'mine';
        ALTER TABLE lines DROP CONSTRAINT fk_code, ADD CONSTRAINT fk_code FOREIGN KEY (code) REFERENCES invoices (code)
            ON DELETE CASCADE;
        COMMENT ON CONSTRAINT fk_code ON lines IS 'mine';
        ALTER DOMAIN amount DROP CONSTRAINT amount_positive;
        ALTER DOMAIN amount ADD CONSTRAINT amount_positive CHECK (VALUE > -1);
        COMMENT ON CONSTRAINT amount_positive ON DOMAIN amount IS 'mine';
        DROP TRIGGER touch ON invoices;
        CREATE TRIGGER touch AFTER UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION touch();
        COMMENT ON TRIGGER touch ON invoices IS 'mine';
        ALTER POLICY open_rooms ON bookings USING (true); COMMENT ON POLICY open_rooms ON bookings IS 'mine';
        ALTER TABLE bookings ALTER secret TYPE varchar(9), ALTER secret SET STORAGE EXTERNAL;
        ALTER TABLE lines ALTER "Ö dd" TYPE varchar(9), ALTER "Ö dd" SET COMPRESSION pglz
        """,
    )
    script = fleet.repair(fleet.check())
    lost = dict(re.findall(r"^-- Lost with (.*): (.*)\.\n(?:-- .*\n)?(?:ALTER|DROP) ", script, re.MULTILINE))
    assert lost == {
        "index ix_invoices_date on invoices": "its comment, its storage parameters, its use by CLUSTER",
        "index ix_invoices_open on invoices": "its statistics targets",
        "check constraint ck_net on invoices": "its comment",
        "unique constraint uq_number on invoices": "its comment",
        "foreign key fk_code on lines": "its comment",
        "domain constraint amount_positive on amount": "its comment",
        "trigger touch on invoices": "its comment",
        "policy open_rooms on bookings": "its comment",
        "column bookings.secret": "its storage or compression",
        "column lines.Ö dd": "its storage or compression",
    }
    assert fleet.words() == {}


@pytest.mark.parametrize(
    "broken",
    [
        "ALTER TABLE lines DROP CONSTRAINT ck_place; ALTER TABLE lines ALTER place TYPE smallint",
        'ALTER TABLE lines ALTER "Ö dd" TYPE varchar(10)',
    ],
)
def test_rows_survive_a_wider_type(fleet: Fleet, broken: str) -> None:
    lines = "SELECT * FROM lines ORDER BY id"
    before = fleet.rows("acme", lines)
    fleet.run("acme", broken)
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    assert fleet.rows("acme", lines) == before


CONVERTED = {
    "varchar(50)": ("text", f"'{'x' * 100}'"),
    "char(5)": ("varchar(9)", "'too long'"),
    "varchar(50)[]": ("text[]", f"ARRAY['{'x' * 100}']"),
    "smallint": ("bigint", "100000"),
    "short": ("text", "'too long'"),
    "numeric(6, 2)": ("numeric", "1.239"),
    "integer": ("double precision", "1.6"),
    "real": ("integer", "16777217"),
    "date": ("timestamp", "'2026-01-01 10:00'"),
    "timestamp": ("timestamptz", "'2026-01-01 10:00'"),
    "timestamptz": ("timestamp", "'2026-01-01 10:00'"),
    "timestamp(0)": ("timestamp", "'2026-01-01 10:00:00.7'"),
    "varchar(3)": ("text", "'abc   '"),
    "jsonb": ("json", """'{"a": 1, "a": 2}'"""),
    "mood": ("text", "'ok'"),
    "uuid": ("text", "NULL"),
}
"""The correct type of a column, its actual type, and a value that does not fit or would change."""


@pytest.mark.some_values(wanted=8)
@pytest.mark.parametrize("wanted", CONVERTED)
def test_a_conversion_that_may_change_values_is_left_to_an_operator(fleet: Fleet, wanted: str) -> None:
    there, value = CONVERTED[wanted]
    fleet.everywhere(f"CREATE DOMAIN short AS varchar(3); CREATE TABLE narrow (v {wanted})")
    fleet.run("acme", f"ALTER TABLE narrow ALTER v TYPE {there} USING NULL; INSERT INTO narrow VALUES ({value})")
    before, report = fleet.rows("acme", "SELECT v::text FROM narrow"), fleet.check()
    script = fleet.repair(report)
    assert "-- By hand: column narrow.v: its values must be converted from " in script
    assert '\n--   ALTER TABLE "narrow" ALTER COLUMN "v" TYPE ' in script
    assert fleet.rows("acme", "SELECT v::text FROM narrow") == before
    assert words_of(fleet.check()) == words_of(report)


@pytest.mark.all_cases
@pytest.mark.parametrize(
    "broken",
    [
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
        "ALTER TYPE mood ADD VALUE 'elated' BEFORE 'ok'",
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'x'; ALTER TYPE mood RENAME VALUE 'sad' TO 'ok'; ALTER TYPE mood RENAME VALUE 'x' TO 'sad'",
    ],
)
def test_labels_of_enums_are_never_renamed_or_replaced(fleet: Fleet, broken: str) -> None:
    invoices = "SELECT id, mood::text, moods::text FROM invoices ORDER BY id"
    fleet.run("acme", broken)
    before = fleet.rows("acme", invoices)
    script = fleet.repair(fleet.check())
    assert "-- By hand: enum mood: the catalogs do not show whether a label was renamed." in script
    assert fleet.rows("acme", invoices) == before
    assert fleet.words()["acme"][0].startswith("enum mood: labels are ")


def test_a_new_sequence_continues_after_existing_values(fleet: Fleet) -> None:
    fleet.run("acme", "INSERT INTO invoices (id, number) VALUES (70, 'A70')")
    fleet.run("acme", "ALTER TABLE invoices ALTER id DROP DEFAULT; DROP SEQUENCE invoices_id_seq")
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    fleet.run("acme", "INSERT INTO invoices (number) VALUES ('A71')")
    assert fleet.rows("acme", "SELECT max(id) FROM invoices") == [(71,)]


def test_an_existing_sequence_keeps_its_value(fleet: Fleet) -> None:
    fleet.run("acme", "SELECT setval('invoices_id_seq', 900); ALTER SEQUENCE invoices_id_seq INCREMENT 2")
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    assert fleet.rows("acme", "SELECT last_value FROM invoices_id_seq") == [(900,)]


def test_a_repaired_function_names_its_own_tenants_schema(fleet: Fleet) -> None:
    fleet.run("acme", "DROP FUNCTION qualified(); DROP TRIGGER touch ON invoices; DROP FUNCTION touch()")
    script = fleet.repair(fleet.check())
    assert "t_beta" not in script
    assert "t_gamma" not in script
    assert fleet.rows("acme", "SELECT qualified()") == [(2,)]
    assert fleet.rows("acme", "SELECT proconfig FROM pg_proc WHERE oid = 'touch'::regproc") == [
        (["search_path=t_acme, pg_temp"],)
    ]


ENTANGLED = {
    "an index of the parent, attached to a partition elsewhere": (
        (
            "DROP INDEX ix_events_kind; CREATE INDEX ix_events_kind ON ONLY events (kind);"
            "CREATE INDEX one ON events_2026 (kind); ALTER INDEX ix_events_kind ATTACH PARTITION one;"
            "CREATE INDEX two ON events_rest (kind); ALTER INDEX ix_events_kind ATTACH PARTITION two"
        ),
        "DROP INDEX ix_events_kind; CREATE INDEX ix_events_kind ON ONLY events (kind); CREATE INDEX one ON events_2026 (kind)",
        False,
    ),
    "a range type": ("SELECT", "CREATE TYPE span AS RANGE (subtype = float8); CREATE TABLE spans (s span)", False),
    "a column of a range type": (
        "CREATE TYPE span AS RANGE (subtype = float8); ALTER TABLE bookings ADD COLUMN span span",
        "ALTER TABLE bookings DROP COLUMN span; DROP TYPE span",
        True,
    ),
    "a function whose result differs, in a default": (
        "SELECT",
        (
            "ALTER TABLE invoices ALTER doubled DROP DEFAULT; DROP FUNCTION twice(integer);"
            "CREATE FUNCTION twice(number integer) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT 2.0';"
            "ALTER TABLE invoices ALTER doubled SET DEFAULT twice(4)"
        ),
        True,
    ),
    "a function whose parameter differs, in a default": (
        "SELECT",
        (
            "ALTER TABLE invoices ALTER doubled DROP DEFAULT; DROP FUNCTION twice(integer);"
            "CREATE FUNCTION twice(number bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 2::bigint';"
            "ALTER TABLE invoices ALTER doubled SET DEFAULT twice(4)"
        ),
        False,
    ),
    "a composite type in use": (
        "ALTER TABLE bookings ADD COLUMN place address",
        (
            "ALTER TABLE bookings DROP COLUMN place; DROP TYPE address; CREATE TYPE address AS (street text);"
            "ALTER TABLE bookings ADD COLUMN place address"
        ),
        True,
    ),
    "a renamed table": ("SELECT", "ALTER TABLE lines RENAME TO items", True),
    "a renamed table that a view reads": (
        "CREATE VIEW places AS SELECT place FROM lines",
        "ALTER TABLE lines RENAME TO items",
        True,
    ),
    "a table whose rows are the type of a column": (
        "CREATE TABLE pairs (line lines)",
        "DROP TABLE pairs; ALTER TABLE lines ALTER code TYPE varchar(9); CREATE TABLE pairs (line lines)",
        True,
    ),
    "a column that a view of another schema reads": (
        "SELECT",
        "ALTER TABLE lines ADD COLUMN spare text; CREATE VIEW shared.spare AS SELECT spare FROM lines",
        True,
    ),
    "an index whose name is a table's": (
        "SELECT",
        (
            "DROP INDEX ix_invoices_date; CREATE TABLE ix_invoices_date (id integer); CREATE RULE r AS ON DELETE TO lines"
            " DO ALSO DELETE FROM ix_invoices_date"
        ),
        True,
    ),
    "a function in parsed form, in a default and a constraint": (
        (
            "CREATE FUNCTION three() RETURNS int LANGUAGE sql IMMUTABLE RETURN 3;"
            "CREATE TABLE t (a int DEFAULT three(), b int CHECK (b > three()))"
        ),
        "ALTER TABLE t ALTER a DROP DEFAULT, DROP CONSTRAINT t_b_check; DROP FUNCTION three()",
        False,
    ),
    "a table with a default in parsed form": (
        "CREATE FUNCTION three() RETURNS int LANGUAGE sql IMMUTABLE RETURN 3; CREATE TABLE t (a int DEFAULT three())",
        "DROP TABLE t; DROP FUNCTION three()",
        False,
    ),
    "a detached partition with another column": (
        "SELECT",
        "ALTER TABLE events DETACH PARTITION events_2026; ALTER TABLE events_2026 ADD COLUMN more integer",
        True,
    ),
    "a column that a child has of its own, too": (
        "CREATE TABLE parent (a integer); CREATE TABLE a_child (a integer) INHERITS (parent)",
        "ALTER TABLE parent ALTER a TYPE smallint",
        False,
    ),
    "keys whose columns have another type on both sides": (
        "CREATE TABLE one (id numeric PRIMARY KEY); CREATE TABLE two (id numeric REFERENCES one)",
        "DROP TABLE two, one; CREATE TABLE one (id integer PRIMARY KEY); CREATE TABLE two (id integer REFERENCES one)",
        True,
    ),
    "names that end comments": (
        'CREATE TABLE "a""b\n; DROP" ("c\n--x" integer, d text); CREATE VIEW "v\n-- " AS SELECT d FROM "a""b\n; DROP"',
        'DROP VIEW "v\n-- "; ALTER TABLE "a""b\n; DROP" ALTER "c\n--x" TYPE text; CREATE TABLE "x\ry" (a int)',
        True,
    ),
    "a function of an aggregate": (
        "SELECT",
        (
            "CREATE FUNCTION step(integer, integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';"
            "CREATE AGGREGATE total (integer) (SFUNC = step, STYPE = integer)"
        ),
        True,
    ),
}
"""Additional objects of all tenants, their replacement in one tenant, and whether its repair is left to an operator."""


@pytest.mark.some_values(what=10)
@pytest.mark.parametrize("what", ENTANGLED)
def test_a_script_can_be_applied_with_dependent_objects(fleet: Fleet, what: str) -> None:
    everywhere, broken, is_left = ENTANGLED[what]
    fleet.everywhere(everywhere)
    fleet.run("acme", broken)
    report = fleet.check()
    words, rows = words_of(report), fleet.rows("acme", "SELECT count(*) FROM invoices")
    assert words
    script = fleet.repair(report)
    left = fleet.words()
    assert ("-- By hand: " in script) == bool(left) == is_left
    assert set(left.get("acme", ())) <= set(words["acme"])
    assert fleet.rows("acme", "SELECT count(*) FROM invoices") == rows


def test_new_functions_and_types_have_the_privileges_of_other_tenants(fleet: Fleet) -> None:
    fleet.everywhere(
        "REVOKE ALL ON FUNCTION qualified() FROM PUBLIC; GRANT EXECUTE ON FUNCTION qualified() TO pg_monitor;"
        "REVOKE ALL ON PROCEDURE forget(date) FROM PUBLIC; REVOKE ALL ON TYPE address FROM PUBLIC"
    )
    fleet.run("acme", "DROP FUNCTION qualified(), latest(); DROP PROCEDURE forget(date); DROP TYPE address")
    script = fleet.repair(fleet.check())
    assert fleet.words() == {}
    assert "-- Give qualified() the owner and the privileges that it has elsewhere.\n" in script
    public = "has_{0}_privilege(0::oid, {1}, '{2}')"
    asked = [
        public.format("function", "'qualified()'::regprocedure", "EXECUTE"),
        public.format("function", "'latest()'::regprocedure", "EXECUTE"),
        public.format("function", "'forget(date)'::regprocedure", "EXECUTE"),
        public.format("type", "'address'::regtype", "USAGE"),
    ]
    assert fleet.rows("acme", f"SELECT {', '.join(asked)}") == [(False, True, False, False)]


def test_public_may_not_execute_a_new_security_definer_function(fleet: Fleet) -> None:
    fleet.everywhere("CREATE FUNCTION reset(text) RETURNS void LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT'")
    fleet.run("acme", "DROP FUNCTION reset(text)")
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    asked = "has_function_privilege(0::oid, 'reset(text)'::regprocedure, 'EXECUTE')"
    assert [fleet.rows(key, f"SELECT {asked}") for key in ("acme", "beta")] == [[(False,)], [(True,)]]


CHANGED_RIGHTS = {
    "a function": (
        "ALTER FUNCTION qualified() SECURITY DEFINER",
        "ALTER FUNCTION qualified() SECURITY INVOKER",
        "-- This changes with whose rights qualified() runs.",
    ),
    "a function in parsed form": (
        "ALTER FUNCTION latest() SECURITY INVOKER",
        "ALTER FUNCTION latest() SECURITY DEFINER",
        "-- This changes with whose rights latest() runs.",
    ),
    "a view": (
        "ALTER VIEW grand_total RESET (security_invoker)",
        "ALTER VIEW grand_total SET (security_invoker = true)",
        "-- This changes which rows roles can see by grand_total.",
    ),
}
"""An object of all tenants, its replacement in one tenant, and the remark."""


@pytest.mark.parametrize("what", CHANGED_RIGHTS)
def test_a_change_of_security_definer_or_invoker_is_named_in_front_of_it(fleet: Fleet, what: str) -> None:
    everywhere, broken, remark = CHANGED_RIGHTS[what]
    fleet.everywhere(everywhere)
    fleet.run("acme", broken)
    assert f"{remark}\nCREATE OR REPLACE " in fleet.repair(fleet.check())
    assert fleet.words() == {}


def test_an_object_that_is_changed_in_place_keeps_owner_privileges_and_dependents(fleet: Fleet) -> None:
    attached = """
        ALTER FUNCTION touch() OWNER TO pg_monitor; REVOKE ALL ON FUNCTION touch() FROM PUBLIC;
        COMMENT ON FUNCTION touch() IS 'touches'; ALTER VIEW totals OWNER TO pg_monitor;
        GRANT SELECT ON totals TO pg_read_all_stats; GRANT SELECT ON invoices TO pg_monitor;
        COMMENT ON COLUMN totals.net IS 'sum'; ALTER VIEW totals ALTER net SET DEFAULT 7;
        CREATE RULE quiet AS ON INSERT TO totals DO INSTEAD NOTHING
    """
    fleet.everywhere(attached)
    query = """
        SELECT proacl::text, proowner::regrole::text, obj_description(pg_proc.oid, 'pg_proc'), relacl::text,
            relowner::regrole::text, col_description(pg_class.oid, 2),
            (SELECT count(*) FROM pg_rewrite WHERE ev_class = pg_class.oid),
            (SELECT count(*) FROM pg_attrdef WHERE adrelid = pg_class.oid)
        FROM pg_proc, pg_class WHERE pg_proc.oid = 'touch'::regproc AND pg_class.oid = 'totals'::regclass
    """
    before = fleet.rows("acme", query)
    fleet.run(
        "acme",
        """
        CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE OR REPLACE VIEW totals AS SELECT country, avg(net) AS net FROM invoices GROUP BY country
        """,
    )
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    assert fleet.rows("acme", query) == before
