"""What counts as a difference, and what does not."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text

from tenantkit.drift import Kind
from tenantkit.drift.catalog import shape_of
from tests.drift.conftest import EVERYTHING, Fleet, run_script, words_of

LIKE_ALL_OTHERS = [
    "ALTER TABLE lines DROP COLUMN price; ALTER TABLE lines ADD COLUMN price amount",  # comes last now
    "ALTER TABLE lines SET (fillfactor = 50, autovacuum_enabled = off)",
    "ALTER TABLE lines ALTER code SET STORAGE EXTERNAL, ALTER code SET STATISTICS 7",
    "GRANT SELECT ON lines TO PUBLIC",
    "COMMENT ON INDEX ix_invoices_date IS 'only of tables, columns and views'",
    "CREATE EXTENSION hstore",
    "CREATE TABLE alembic_version (version_num text PRIMARY KEY)",
    "INSERT INTO invoices (number, mood) VALUES ('A3', 'happy'); SELECT nextval('ticket')",
    "CLUSTER invoices USING invoices_pkey",
]


@pytest.mark.parametrize("change", LIKE_ALL_OTHERS)
def test_what_is_no_difference(fleet: Fleet, change: str) -> None:
    fleet.run("acme", change)
    assert fleet.words() == {}


def test_a_schema_whose_name_must_be_quoted_is_like_all_others(fleet: Fleet) -> None:
    fleet.tenancy.create("odd-key")
    fleet.run("odd-key", EVERYTHING.replace("$SCHEMA", '"t_odd-key"'))
    assert fleet.words() == {}
    fleet.run(
        "odd-key", "DROP FUNCTION touch() CASCADE; DROP FUNCTION qualified(); ALTER TABLE lines DROP COLUMN price"
    )
    fleet.mend(fleet.check())
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


def test_a_schemas_own_name_in_a_text_is_no_difference_and_is_mended_with_the_tenants_own(fleet: Fleet) -> None:
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
    script = fleet.mend(fleet.check())
    assert not any(f"t_{key}" in script for key in ("acme", "beta", "gamma"))
    assert fleet.words() == {}
    assert fleet.rows("odd-key", "SELECT own()") == [("t_odd-key20",)]
    fleet.run("odd-key", "INSERT INTO invoices (number) VALUES ('A4')")
    assert fleet.rows("odd-key", "SELECT link FROM invoices WHERE number = 'A4'") == [('"t_odd-key".invoices',)]


def test_the_name_of_a_schema_may_be_a_word_like_any_other(fleet: Fleet) -> None:
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
    fleet.mend(report)
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


def test_plain_indexes_are_written_as_postgresql_writes_them(fleet: Fleet) -> None:
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
        theirs = {row.indexname: row.indexdef for row in connection.execute(query)}
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
    fleet.mend(report)
    assert fleet.words() == {}


def test_names_of_not_null_constraints_do_not_count_but_their_validity_does(fleet: Fleet) -> None:
    with fleet.engine.connect() as connection:
        if connection.dialect.server_version_info < (18,):  # type: ignore[operator]
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
    fleet.mend(report)
    assert fleet.words() == {}


def test_what_a_tenant_puts_into_its_schema_is_not_executed(fleet: Fleet) -> None:
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
