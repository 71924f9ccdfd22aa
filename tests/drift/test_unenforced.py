"""A constraint that PostgreSQL does not enforce, at any level of partitions, is a difference."""

from __future__ import annotations

import psycopg
import pytest

from tests.drift.conftest import Fleet, plain

RULES = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE integrity_constraint_violation; END';
    CREATE TABLE visits (
        at date, invoice integer CONSTRAINT fk_invoice REFERENCES invoices, room integer, stay int4range
    ) PARTITION BY RANGE (at);
    CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
        PARTITION BY RANGE (at);
    CREATE TABLE visits_may PARTITION OF visits_2026 FOR VALUES FROM ('2026-05-01') TO ('2026-06-01');
    CREATE TRIGGER refuse BEFORE INSERT ON visits FOR EACH ROW WHEN (NEW.room < 0) EXECUTE FUNCTION refuse();
    CREATE TABLE stays (
        room integer CONSTRAINT uq_room UNIQUE DEFERRABLE, stay int4range,
        CONSTRAINT ex_stay EXCLUDE USING gist (stay WITH &&) DEFERRABLE
    );
    INSERT INTO stays VALUES (1, '[1,2)')
"""

BREAKS = {
    "foreign key fk_invoice on visits": "INSERT INTO visits (at, invoice) VALUES ('2026-05-05', -1)",
    "trigger refuse on visits": "INSERT INTO visits (at, room) VALUES ('2026-05-05', -1)",
    "unique constraint uq_room on stays": "INSERT INTO stays (room) VALUES (1)",
    "exclusion constraint ex_stay on stays": "INSERT INTO stays (stay) VALUES ('[1,2)')",
}
"""Constraints, each with a statement that violates it."""

MODES = ("DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS")

ALTER = """
    DO $$ DECLARE name name; BEGIN
        FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass LOOP
            EXECUTE format('ALTER TABLE {table} {mode} TRIGGER %I', name);
        END LOOP;
    END $$
"""


def is_enforced(fleet: Fleet, statement: str) -> bool:
    """Return whether PostgreSQL refuses a statement, which is rolled back."""
    with psycopg.connect(plain(fleet.url)) as connection:
        connection.execute("SET search_path = t_acme")
        try:
            connection.execute(statement.encode())
        except psycopg.errors.IntegrityError:
            return True
        finally:
            connection.rollback()
    return False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("table", ["visits", "visits_2026", "visits_may", "stays", "invoices"])
def test_a_constraint_that_is_not_enforced_is_named_and_repaired(fleet: Fleet, table: str, mode: str) -> None:
    fleet.everywhere(RULES)
    fleet.run("acme", ALTER.format(table=table, mode=mode))
    broken = {rule for rule, statement in BREAKS.items() if not is_enforced(fleet, statement)}
    assert bool(broken) == (mode != "ENABLE ALWAYS" and table != "invoices")
    report = fleet.check()
    words = [str(each) for odd in report.odd for each in odd.differences]
    assert broken <= {each.partition(": ")[0] for each in words}
    assert not [each for each in words if "not enforced" in each] or mode != "ENABLE ALWAYS"
    fleet.repair(report)
    assert fleet.words() == {}
    assert all(is_enforced(fleet, statement) for statement in BREAKS.values())
