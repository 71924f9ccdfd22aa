"""Every kind of object: broken in one tenant by hand, it is named, and the SQL that is printed mends it."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.drift.conftest import Fleet, words_of

BROKEN = {
    name: (sql, re.findall("^-- (.*)", sql, re.MULTILINE))
    for name, _, sql in (
        each.partition("\n") for each in Path(__file__).with_name("broken.sql").read_text().split("\n--- ")[1:]
    )
}
"""What somebody may do to a tenant, and what is then said of it."""


def test_tenants_that_were_made_alike_are_alike(fleet: Fleet) -> None:
    report = fleet.check()
    assert fleet.words() == {}
    assert not report.has_drift
    assert [(group.revision, group.tenants, group.alike) for group in report.groups] == [(None, 3, 3)]
    assert fleet.catalog("acme") == fleet.catalog("beta")


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_by_hand_is_named_and_mended(fleet: Fleet, name: str) -> None:
    sql, words = BROKEN[name]
    fleet.run("acme", sql)
    report = fleet.check()
    assert {key: list(map(_of_any_version, said)) for key, said in words_of(report).items()} == {
        "acme": list(map(_of_any_version, words))
    }
    fleet.mend(report)
    assert fleet.words() == {}
    assert fleet.catalog("acme") == fleet.catalog("beta")


def _of_any_version(words: str) -> str:
    """Return what is said of a definition as if by PostgreSQL 16 and later: it names no table where there is one only."""
    return words.replace("invoices.", "") if "«" in words else words


def test_what_keeps_rows_from_being_mended_changes_nothing(fleet: Fleet) -> None:
    fleet.run("acme", "ALTER TABLE lines DROP COLUMN place, DROP COLUMN price")
    report = fleet.check()
    with pytest.raises(psycopg.errors.NotNullViolation):
        fleet.mend(report)
    assert words_of(fleet.check()) == words_of(report)
    assert "-- If lines has rows, set lines.place here" in report.odd[0].script("acme")


def test_a_column_that_must_be_filled_is_added_where_there_are_no_rows(fleet: Fleet) -> None:
    fleet.run("acme", "DELETE FROM lines; ALTER TABLE lines DROP COLUMN place")
    fleet.mend(fleet.check())
    assert fleet.words() == {}


def test_what_depends_on_a_column_whose_type_changes_comes_back(fleet: Fleet) -> None:
    view = "CREATE VIEW places AS SELECT place, price FROM lines"
    dependent = f"""
        {view};
        CREATE VIEW above AS SELECT place FROM places;
        COMMENT ON VIEW above IS 'Above';
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER refuse INSTEAD OF UPDATE ON places FOR EACH ROW EXECUTE FUNCTION refuse();
        CREATE TRIGGER moved AFTER UPDATE OF place ON lines FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE POLICY front ON lines USING (place < 10)
    """
    fleet.everywhere(dependent)
    fleet.run(
        "acme",
        f"""
        DROP VIEW above; DROP VIEW places; DROP TRIGGER moved ON lines; DROP POLICY front ON lines;
        ALTER TABLE lines DROP CONSTRAINT ck_place, ALTER place TYPE bigint;
        ALTER TABLE lines ADD CONSTRAINT ck_place CHECK (place > 0) NOT VALID; DROP FUNCTION refuse;
        {dependent}
        """,
    )
    report = fleet.check()
    assert words_of(report) == {"acme": ["column lines.place: type is bigint, not integer"]}
    assert "-- What was granted on places is lost" in fleet.mend(report)
    assert fleet.words() == {}
    assert fleet.catalog("acme") == fleet.catalog("beta")


@pytest.mark.parametrize(
    "broken",
    [
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
        "ALTER TYPE mood ADD VALUE 'elated' BEFORE 'ok'",
        "ALTER TABLE lines ALTER invoice_id TYPE bigint, ALTER price TYPE numeric",
        "ALTER TABLE lines DROP CONSTRAINT ck_place; ALTER TABLE lines ALTER place TYPE text",
        "ALTER TABLE invoices ALTER gross DROP EXPRESSION",
    ],
)
def test_rows_survive_conversions(fleet: Fleet, broken: str) -> None:
    invoices = "SELECT id, number, mood::text, moods::text, net, gross FROM invoices ORDER BY id"
    lines = "SELECT id, invoice_id, place, price FROM lines ORDER BY id"
    before = [fleet.rows("acme", invoices), fleet.rows("acme", lines)]
    fleet.run("acme", broken)
    fleet.mend(fleet.check())
    assert fleet.words() == {}
    assert [fleet.rows("acme", invoices), fleet.rows("acme", lines)] == before


@pytest.mark.parametrize(
    "broken",
    [
        "ALTER TABLE invoices ALTER id DROP DEFAULT; DROP SEQUENCE invoices_id_seq",
        "ALTER TABLE lines ALTER id DROP IDENTITY",
    ],
)
def test_numbers_go_on_behind_those_that_are_taken(fleet: Fleet, broken: str) -> None:
    fleet.run("acme", "INSERT INTO invoices (id, number) VALUES (70, 'A70')")
    fleet.run("acme", "INSERT INTO lines (id, invoice_id, place) VALUES (80, 1, 1); SELECT setval('lines_id_seq', 80)")
    fleet.run("acme", f"SELECT setval('invoices_id_seq', 70); {broken}")
    fleet.mend(fleet.check())
    assert fleet.words() == {}
    fleet.run(
        "acme", "INSERT INTO invoices (number) VALUES ('A71'); INSERT INTO lines (invoice_id, place) VALUES (1, 1)"
    )
    assert fleet.rows("acme", "SELECT max(invoices.id), max(lines.id) FROM invoices, lines") == [(71, 81)]


def test_a_mended_function_speaks_of_its_own_tenant(fleet: Fleet) -> None:
    fleet.run("acme", "DROP FUNCTION qualified(); DROP TRIGGER touch ON invoices; DROP FUNCTION touch()")
    script = fleet.mend(fleet.check())
    assert "t_beta" not in script
    assert "t_gamma" not in script
    assert fleet.rows("acme", "SELECT qualified()") == [(2,)]
    assert fleet.rows("acme", "SELECT proconfig FROM pg_proc WHERE oid = 'touch'::regproc") == [
        (["search_path=t_acme, pg_temp"],)
    ]
