"""Properties that are compared, and properties that are not."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text

from tenantkit.drift import Kind
from tenantkit.drift.catalog.reader import shape_of
from tests.drift.conftest import EVERYTHING, Fleet, plain, run_script, words_of

LIKE_ALL_OTHERS = [
    "ALTER TABLE lines DROP COLUMN price; ALTER TABLE lines ADD COLUMN price amount",  # is the last column now
    "ALTER TABLE lines SET (fillfactor = 50, autovacuum_enabled = off)",
    "ALTER INDEX ix_invoices_date SET (fillfactor = 50, deduplicate_items = off)",
    "ALTER INDEX ix_invoices_moods SET (fastupdate = off)",
    "ALTER INDEX ix_invoices_open SET (fillfactor = 50); ALTER INDEX ux_invoices_code SET (fillfactor = 60)",
    "ALTER INDEX uq_number SET (fillfactor = 50); ALTER INDEX ex_during SET (buffering = on)",
    "ALTER MATERIALIZED VIEW monthly SET (fillfactor = 50)",
    "CREATE RULE quiet AS ON INSERT TO totals DO INSTEAD NOTHING",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    "ALTER TABLE lines ALTER code SET STORAGE EXTERNAL, ALTER code SET STATISTICS 7",
    "GRANT SELECT ON lines TO PUBLIC",
    "COMMENT ON INDEX ix_invoices_date IS 'only of tables, columns and views'",
    "CREATE EXTENSION hstore",
    "CREATE TABLE alembic_version (version_num text PRIMARY KEY)",
    "INSERT INTO invoices (number, mood) VALUES ('A3', 'happy'); SELECT nextval('ticket')",
    "CLUSTER invoices USING invoices_pkey",
    "ALTER INDEX events_2026_kind_idx RENAME TO other; ALTER INDEX other SET (fillfactor = 50)",
    "ALTER TABLE events_2026 ALTER kind SET DEFAULT 'x', ALTER kind SET NOT NULL",
    "CREATE STATISTICS related ON number, date FROM invoices; ALTER INDEX ix_invoices_open ALTER COLUMN 1 SET STATISTICS 9",
    "ALTER TABLE lines ALTER code SET COMPRESSION pglz, ALTER place SET (n_distinct = 5)",
    "CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer)",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "CREATE RULE r AS ON DELETE TO lines DO ALSO NOTHING; ALTER TABLE lines DISABLE RULE r",
    "ALTER VIEW totals ALTER net SET DEFAULT 7; COMMENT ON COLUMN totals.net IS 'sum'",
    "ALTER TABLE lines OWNER TO pg_monitor; ALTER FUNCTION touch() OWNER TO pg_monitor",
    "CREATE PUBLICATION feed FOR TABLE lines",
    "ALTER SEQUENCE ticket RESTART 700",
]
"""Changes of properties that docs/howto/drift.md lists as not compared."""


@pytest.mark.some_values(change=18)
@pytest.mark.parametrize("change", LIKE_ALL_OTHERS)
def test_properties_that_are_not_compared(fleet: Fleet, change: str) -> None:
    fleet.run("acme", change)
    assert fleet.words() == {}


def test_a_schema_whose_name_must_be_quoted_has_no_drift(fleet: Fleet) -> None:
    fleet.tenancy.create("odd-key")
    fleet.run("odd-key", EVERYTHING.replace("$SCHEMA", '"t_odd-key"'))
    assert fleet.words() == {}
    fleet.run(
        "odd-key", "DROP FUNCTION touch() CASCADE; DROP FUNCTION qualified(); ALTER TABLE lines DROP COLUMN price"
    )
    fleet.repair(fleet.check())
    assert fleet.words() == {}
    assert fleet.rows("odd-key", "SELECT qualified()") == [(2,)]


OWN_NAMES = """
    ALTER TABLE invoices ADD COLUMN link text DEFAULT '$NAME.invoices';
    ALTER TABLE invoices ADD CONSTRAINT ck_link CHECK (link <> '$NAME');
    COMMENT ON COLUMN invoices.link IS 'It''s of $NAME';
    CREATE VIEW links AS SELECT '$NAME' AS link FROM invoices WHERE link <> '$NAME.x';
    CREATE FUNCTION notify() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM TG_ARGV[0]; RETURN NULL; END';
    CREATE TRIGGER notify AFTER INSERT ON invoices FOR EACH ROW EXECUTE FUNCTION notify('$NAME');
    CREATE FUNCTION own() RETURNS text LANGUAGE sql AS $$ SELECT '$NAME' || max(net)::int FROM $SCHEMA.invoices $$
"""


def test_a_schemas_own_name_in_text_is_no_difference_and_is_kept_by_repairs(fleet: Fleet) -> None:
    fleet.tenancy.create("odd-key")
    fleet.run("odd-key", EVERYTHING.replace("$SCHEMA", '"t_odd-key"'))
    for key in ("acme", "beta", "gamma", "odd-key"):
        fleet.run(key, OWN_NAMES.replace("$NAME", f"t_{key}").replace("$SCHEMA", f'"t_{key}"'))
    assert fleet.words() == {}
    fleet.run(
        "odd-key",
        """
        DROP VIEW links; DROP FUNCTION notify() CASCADE; DROP FUNCTION own();
        ALTER TABLE invoices DROP COLUMN link; DROP TABLE lines CASCADE
        """,
    )
    script = fleet.repair(fleet.check())
    assert not any(f"t_{key}" in script for key in ("acme", "beta", "gamma"))
    assert fleet.words() == {}
    assert fleet.rows("odd-key", "SELECT own()") == [("t_odd-key20",)]
    fleet.run("odd-key", "INSERT INTO invoices (number) VALUES ('A4')")
    assert fleet.rows("odd-key", "SELECT link FROM invoices WHERE number = 'A4'") == [('"t_odd-key".invoices',)]


@pytest.mark.all_cases
def test_the_name_of_a_schema_may_be_a_common_word(fleet: Fleet) -> None:
    words = """
        ALTER TABLE invoices ADD COLUMN link text DEFAULT 't_acme.invoices "t_acme".invoices';
        CREATE VIEW links AS SELECT 't_acme.x' AS link WHERE 't_acme' <> '';
        CREATE FUNCTION greatest_net() RETURNS numeric LANGUAGE sql AS
            'SELECT max(t_acme.net) FROM invoices AS t_acme -- not_t_acme.x'
    """
    fleet.everywhere(words)
    report = fleet.check()
    assert words_of(report) == {}
    assert [(group.tenants, group.alike) for group in report.groups] == [(3, 3)]
    fleet.run("beta", "DROP FUNCTION greatest_net(); ALTER TABLE invoices DROP COLUMN link")
    report = fleet.check()
    assert set(words_of(report)) == {"beta"}
    fleet.repair(report)
    assert fleet.words() == {}
    assert fleet.catalog("beta") == fleet.catalog("gamma")


def test_a_function_that_names_another_tenants_schema_is_a_difference(fleet: Fleet) -> None:
    fleet.run(
        "acme",
        "CREATE OR REPLACE FUNCTION qualified() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t_beta.invoices'",
    )
    assert fleet.words() == {
        "acme": [
            "function qualified(): body is SELECT count(*) FROM t_beta.invoices, not SELECT count(*) FROM {schema}.invoices"
        ]
    }


def test_a_key_that_leads_to_another_tenants_table_is_a_difference(fleet: Fleet) -> None:
    fleet.run("acme", "ALTER TABLE bookings ADD CONSTRAINT fk FOREIGN KEY (room) REFERENCES t_beta.invoices")
    fleet.run("beta", "ALTER TABLE bookings ADD CONSTRAINT fk FOREIGN KEY (room) REFERENCES invoices")
    fleet.run("gamma", "ALTER TABLE bookings ADD CONSTRAINT fk FOREIGN KEY (room) REFERENCES invoices")
    (words,) = fleet.words()["acme"]
    assert "REFERENCES t_beta.invoices(id), not FOREIGN KEY (room) REFERENCES invoices(id)" in words


def test_plain_indexes_have_the_definition_of_postgresql(fleet: Fleet) -> None:
    fleet.run(
        "acme",
        """
        CREATE TABLE keys (
            "Column" varchar(5), b bytea, c char(3), d name COLLATE "C", e text COLLATE "C", f uuid, g mood, h inet
        );
        CREATE INDEX ON keys ("Column", b DESC, c NULLS FIRST, f DESC NULLS LAST);
        CREATE INDEX ON keys (d);
        CREATE INDEX ON keys (e);
        CREATE INDEX ON keys (e COLLATE "POSIX");
        CREATE INDEX ON keys ("Column" text_ops, c bpchar_pattern_ops);
        CREATE INDEX ON keys (e bpchar_ops);
        CREATE INDEX ON keys (g);
        CREATE INDEX ON keys USING hash ("Column");
        CREATE INDEX ON keys USING hash (h);
        CREATE INDEX ON keys USING gist (h inet_ops);
        CREATE INDEX ON keys USING brin (f, b) WITH (pages_per_range = 4);
        CREATE INDEX ON keys USING spgist (h);
        CREATE INDEX ON keys (f) INCLUDE (b);
        CREATE INDEX ON keys (f) WHERE b IS NULL;
        CREATE UNIQUE INDEX ON keys (f, h);
        """,
    )
    with fleet.engine.begin() as connection:
        ours = {
            key.name: item["definition"] or ""
            for key, item in shape_of(connection, "t_acme").items()
            if key.kind is Kind.INDEX
        }
        query = text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 't_acme'")
        theirs = {
            row.indexname: row.indexdef.replace(" WITH (pages_per_range='4')", "") for row in connection.execute(query)
        }
    assert len(ours) > 20
    for name, definition in ours.items():
        assert theirs[name].replace("t_acme.", "").endswith(f" {definition}")
        assert definition.startswith("USING ")


def test_an_invalid_index_is_a_difference(fleet: Fleet) -> None:
    fleet.everywhere("CREATE UNIQUE INDEX ux_room ON bookings (room)")
    fleet.run("acme", "DROP INDEX ux_room; INSERT INTO bookings VALUES (1, '[2027-01-01,2027-01-02)')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        run_script(fleet.url, "CREATE UNIQUE INDEX CONCURRENTLY ux_room ON t_acme.bookings (room)")
    report = fleet.check()
    assert words_of(report) == {"acme": ["index ux_room on bookings: state is invalid, not valid"]}
    fleet.run("acme", "DELETE FROM bookings")
    fleet.repair(report)
    assert fleet.words() == {}


UNENFORCED = {
    "every trigger of a table": (
        "ALTER TABLE lines DISABLE TRIGGER ALL",
        [
            "foreign key fk_code on lines: state is not enforced, triggers of it are disabled, not in force",
            "foreign key fk_invoice on lines: state is not enforced, triggers of it are disabled, not in force",
        ],
    ),
    "the triggers of a key on the other side": (
        "ALTER TABLE invoices DROP CONSTRAINT invoices_country_fkey; ALTER TABLE invoices DISABLE TRIGGER ALL",
        [
            "foreign key invoices_country_fkey is missing on invoices",
            "trigger touch on invoices: state is disabled, not enabled",
            "foreign key fk_code on lines: state is not enforced, triggers of it are disabled, not in force",
            "foreign key fk_invoice on lines: state is not enforced, triggers of it are disabled, not in force",
        ],
    ),
    "a trigger on one partition": (
        "ALTER TABLE events_2026 DISABLE TRIGGER kept",
        ["trigger kept on events: state is enabled but not on events_2026, not enabled"],
    ),
    "a domain's constraint": (
        "ALTER DOMAIN amount DROP CONSTRAINT fit; ALTER DOMAIN amount ADD CONSTRAINT fit CHECK (VALUE > -1.5) NOT VALID",
        [
            "domain constraint fit on amount: definition is CHECK ((VALUE > '-1.5'::numeric)) NOT VALID, not CHECK ((VALUE > '-1.5'::numeric))"
        ],
    ),
    "a key of some partitions only": (
        "ALTER TABLE events DROP CONSTRAINT pk_events; ALTER TABLE ONLY events ADD CONSTRAINT pk_events PRIMARY KEY (at)",
        ["primary key pk_events on events: state is not enforced, its index is invalid, not in force"],
    ),
    "an index of the parent alone": (
        "DROP INDEX ix_events_kind; CREATE INDEX ix_events_kind ON ONLY events (kind)",
        ["index ix_events_kind on events: state is not on every partition, not valid"],
    ),
    "the identity of old rows": (
        "ALTER TABLE invoices REPLICA IDENTITY NOTHING",
        ["table invoices: replica identity is NOTHING, not DEFAULT"],
    ),
    "the identity of old rows, by all columns": (
        "ALTER TABLE invoices REPLICA IDENTITY FULL",
        ["table invoices: replica identity is FULL, not DEFAULT"],
    ),
    "an index for the identity of old rows": (
        "ALTER TABLE invoices REPLICA IDENTITY USING INDEX uq_number",
        ["table invoices: replica identity is USING INDEX uq_number, not DEFAULT"],
    ),
}


@pytest.mark.some_values(what=6)
@pytest.mark.parametrize("what", UNENFORCED)
def test_an_unenforced_rule_is_a_difference(fleet: Fleet, what: str) -> None:
    fleet.everywhere("CREATE TRIGGER kept AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION touch()")
    fleet.everywhere("ALTER DOMAIN amount ADD CONSTRAINT fit CHECK (VALUE > -1.5)")
    broken, words = UNENFORCED[what]
    fleet.run("acme", broken)
    report = fleet.check()
    assert words_of(report) == {"acme": words}
    script = fleet.repair(report)
    assert fleet.words() == ({"acme": words} if "-- By hand: " in script else {})


def test_a_constraint_that_is_not_enforced_is_a_difference(fleet: Fleet) -> None:
    if fleet.version < (18,):
        pytest.skip("constraints are NOT ENFORCED since PostgreSQL 18")
    fleet.run(
        "acme",
        """
        ALTER TABLE lines ALTER CONSTRAINT fk_invoice NOT ENFORCED;
        ALTER TABLE invoices DROP CONSTRAINT ck_net, ADD CONSTRAINT ck_net CHECK (net >= 0) NOT ENFORCED
        """,
    )
    report = fleet.check()
    check, key = (
        "CHECK ((net >= (0)::numeric))",
        "FOREIGN KEY (invoice_id) REFERENCES invoices(id) ON DELETE CASCADE DEFERRABLE",
    )
    assert words_of(report) == {
        "acme": [
            f"check constraint ck_net on invoices: definition is {check} NOT ENFORCED, not {check}",
            f"foreign key fk_invoice on lines: definition is {key} NOT ENFORCED, not {key}",
        ]
    }
    fleet.repair(report)
    assert fleet.words() == {}


def test_a_partition_that_is_being_detached_is_a_difference_and_left_to_an_operator(fleet: Fleet) -> None:
    fleet.everywhere("DROP TABLE events_rest")
    with psycopg.connect(plain(fleet.url)) as reader, psycopg.connect(plain(fleet.url), autocommit=True) as other:
        reader.execute("SELECT FROM t_acme.events")
        other.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("ALTER TABLE t_acme.events DETACH PARTITION t_acme.events_2026 CONCURRENTLY")
    report = fleet.check()
    bound = "FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    words = {"acme": [f"table events_2026: partition bound is {bound}, being detached, not {bound}"]}
    assert words_of(report)["acme"][:1] == words["acme"]
    assert "-- By hand: table events_2026: finish the detaching first: " in fleet.repair(report)
    assert words_of(fleet.check()) == words_of(report)


def test_a_detached_partition_is_compared_with_its_former_parent(fleet: Fleet) -> None:
    fleet.run(
        "acme",
        """
        ALTER TABLE events DETACH PARTITION events_2026;
        ALTER TABLE events_2026 ALTER kind TYPE varchar(9), ALTER kind SET DEFAULT 'x', ALTER kind SET NOT NULL;
        INSERT INTO events_2026 VALUES ('2026-05-05', 'kept')
        """,
    )
    report = fleet.check()
    (_, column) = words_of(report)["acme"]
    assert column == (
        "column events_2026.kind: type is character varying(9), not text, NULL is forbidden, not allowed, "
        "default is 'x'::character varying, not none"
    )
    fleet.repair(report)
    assert fleet.words() == {}
    assert fleet.rows("acme", "SELECT kind FROM events") == [("kept",)]


def test_a_column_that_a_detached_partition_lost_is_missing(fleet: Fleet) -> None:
    fleet.run("acme", "ALTER TABLE events DETACH PARTITION events_2026; ALTER TABLE events_2026 DROP COLUMN kind")
    report = fleet.check()
    assert words_of(report)["acme"][1] == "column events_2026.kind is missing"
    fleet.repair(report)
    assert fleet.words() == {}


def test_a_change_of_a_table_does_not_hide_those_of_its_columns(fleet: Fleet) -> None:
    fleet.run("acme", "COMMENT ON TABLE lines IS 'mine'; ALTER TABLE lines ALTER code SET DEFAULT 'x'")
    assert fleet.words() == {
        "acme": ["table lines: comment is mine, not none", "column lines.code: default is 'x'::text, not none"]
    }


@pytest.mark.parametrize("newline", ["\\r\\n", "  \\n"])
def test_other_line_ends_in_a_body_are_reported_as_the_difference(fleet: Fleet, newline: str) -> None:
    body = "BEGIN{0}    RETURN NEW;{0}END"
    for key, ends in (("acme", newline), ("beta", "\\n"), ("gamma", "\\n")):
        fleet.run(key, f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS E'{body.format(ends)}'")
    report = fleet.check()
    assert words_of(report) == {
        "acme": ["function f(): body differs in white space, line ends, or the order of lines only"]
    }
    fleet.repair(report)
    assert fleet.words() == {}


def test_not_null_constraints_are_compared_by_validity_and_not_by_name(fleet: Fleet) -> None:
    if fleet.version < (18,):
        pytest.skip("before PostgreSQL 18, NOT NULL has no name")
    fleet.run("acme", "ALTER TABLE lines RENAME CONSTRAINT lines_place_not_null TO other")
    assert fleet.words() == {}
    fleet.run(
        "acme",
        "ALTER TABLE lines ADD CONSTRAINT nn NOT NULL code NOT VALID; ALTER TABLE lines ALTER price SET NOT NULL",
    )
    fleet.run("beta", "ALTER TABLE lines ADD CONSTRAINT nn NOT NULL price NOT VALID")
    fleet.run("gamma", "ALTER TABLE lines ADD NOT NULL price NOT VALID")
    report = fleet.check()
    assert words_of(report) == {
        "acme": [
            "column lines.code: NULL is forbidden in new rows, not allowed",
            "column lines.price: NULL is forbidden, not forbidden in new rows",
        ]
    }
    fleet.repair(report)
    assert fleet.words() == {}


@pytest.mark.all_cases
def test_a_comment_that_is_lost_with_a_not_null_is_named_in_front_of_it(fleet: Fleet) -> None:
    if fleet.version < (18,):
        pytest.skip("before PostgreSQL 18, NOT NULL has no comment")
    remark = "-- Lost with column lines.price: the comment on its NOT NULL.\nALTER TABLE "
    fleet.everywhere("ALTER TABLE lines ALTER place SET NOT NULL")
    fleet.run("acme", "COMMENT ON CONSTRAINT lines_place_not_null ON lines IS 'mine'")
    assert fleet.words() == {}
    fleet.run("acme", "ALTER TABLE lines ALTER place SET DEFAULT 9, ALTER place TYPE smallint")
    assert "Lost with" not in fleet.check().odd[0].script("acme")
    for how in ("NOT NULL price", "NOT NULL price NOT VALID"):
        fleet.run("acme", f"ALTER TABLE lines ADD CONSTRAINT nn {how}; COMMENT ON CONSTRAINT nn ON lines IS 'mine'")
        assert remark in fleet.repair(fleet.check())
        assert fleet.words() == {}


@pytest.mark.parametrize(
    ("broken", "is_left"),
    [
        ("DROP TABLE arms, legs", False),
        ("ALTER TABLE legs DROP a, DROP b; ALTER TABLE arms DROP c", False),
        ("ALTER TABLE legs ALTER a DROP NOT NULL; ALTER TABLE arms ALTER c SET NOT NULL", False),
        ("DROP TABLE arms", True),
    ],
)
def test_a_not_null_that_is_not_validated_is_repaired_as_such_or_left(fleet: Fleet, broken: str, is_left: bool) -> None:
    if fleet.version < (18,):
        pytest.skip("before PostgreSQL 18, each NOT NULL is validated")
    fleet.everywhere(
        """
        CREATE TABLE legs (a int, b int DEFAULT 7); CREATE TABLE arms (a int, c int) INHERITS (legs);
        ALTER TABLE legs ADD NOT NULL a NOT VALID, ADD NOT NULL b NOT VALID; ALTER TABLE arms ADD NOT NULL c NOT VALID
        """
    )
    fleet.run("acme", broken)
    script = fleet.repair(fleet.check())
    assert ("would inherit a validated NOT NULL" in script) == bool(fleet.words()) == is_left


def test_objects_of_a_tenants_schema_are_not_executed(fleet: Fleet) -> None:
    fleet.run(
        "acme",
        """
        CREATE FUNCTION trap(oid, oid) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$trapped$$; END';
        CREATE FUNCTION trap(name, name) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$trapped$$; END';
        CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap);
        CREATE OPERATOR = (LEFTARG = name, RIGHTARG = name, FUNCTION = trap);
        CREATE FUNCTION quote_ident(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$trapped$$; END';
        CREATE FUNCTION format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$trapped$$; END';
        """,
    )
    words = fleet.words()["acme"]
    assert "function trap(oid, oid) should not be there" in words
