"""The hint of a failure is correct for its cause."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import downgrade, migrate
from tenantkit.migrations.results.hints import _HINTS, hint_for
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

BASE = """
op.create_table("a", sa.Column("x", sa.Integer, primary_key=True), sa.Column("t", sa.Text), schema="tenant")
op.execute("INSERT INTO a VALUES (1, 'one')")
op.execute("CREATE VIEW v AS SELECT t FROM a")
op.execute("CREATE TYPE mood AS ENUM ('good')")
op.execute("CREATE TABLE moody (x mood)")
"""

FAILURES = {
    "42701": ("op.add_column('a', sa.Column('t', sa.Text), schema='tenant')", "exists already"),
    "42P07": ("op.execute('CREATE TABLE a ()')", "exists already"),
    "42710": ("op.execute(\"CREATE TYPE mood AS ENUM ('x')\")", "exists already"),
    "42703": ("op.drop_column('a', 'gone', schema='tenant')", "does not exist"),
    "42704": ("op.execute('DROP TYPE gone')", "does not exist"),
    "42723": (
        "for _ in range(2):\n    op.execute(\"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'\")",
        "exists already",
    ),
    "42P01": ("op.execute('UPDATE gone SET x = 1')", "does not exist"),
    "3F000": ("op.execute('CREATE TABLE tenant.b ()')", "not with the placeholder"),
    "42P01 ": ("op.execute('UPDATE tenant.a SET x = 1')", "not with the placeholder"),
    "42P01  ": ("op.execute('UPDATE shared.countrys SET name = NULL')", "no such table, or no such schema"),
    "42P01   ": ("op.execute('UPDATE shared.\"my countries\" SET name = NULL')", "no such table, or no such schema"),
    "0A000": ("op.alter_column('a', 't', type_=sa.String(9), schema='tenant')", "drop that in the revision first"),
    "2BP01": ("op.drop_column('a', 't', schema='tenant')", "depend on the object that the revision drops"),
    "25P02": (
        "try:\n    op.execute('SELECT 1 / 0')\nexcept Exception:\n    pass\nop.execute('SELECT 1')",
        "begin_nested",
    ),
    "25001": ("op.execute('CREATE INDEX CONCURRENTLY ix ON a (x)')", "autocommit_block"),
    "42804": ("op.execute('ALTER TABLE a ALTER COLUMN x TYPE date')", "postgresql_using"),
    "42804 ": (
        (
            "op.execute('CREATE TABLE b (x int DEFAULT 0)')\n"
            "op.alter_column('b', 'x', type_=sa.Boolean, postgresql_using='x::boolean', schema='tenant')"
        ),
        "drop its default before",
    ),
    "42804  ": ("op.execute('UPDATE a SET x = now()')", "write a cast"),
    "42804   ": ("op.execute('CREATE TABLE b (x text REFERENCES a (x))')", "both columns the same type"),
    "42883": ("op.execute('SELECT gone(1)')", "extra_schemas"),
    "42601": ("op.execute('no sql')", "syntax error"),
    "22P02": ('op.execute("INSERT INTO a SELECT t::int FROM a")', "one of the tenants' rows"),
    "22P02 ": ("op.execute(\"INSERT INTO moody VALUES ('typo')\")", "one in the revision"),
    "22023": ("op.execute('ALTER TABLE a SET (fillfactor = 5)')", "one in the revision"),
    "23502": ("op.execute('ALTER TABLE a ADD COLUMN y int NOT NULL')", "the tenants' own"),
    "23505": ("op.execute(\"INSERT INTO a VALUES (1, 'one')\")", "the tenants' own"),
    "23514": ("op.execute('ALTER TABLE a ADD CHECK (x > 5)')", "the tenants' own"),
    "23503": (
        "op.execute('CREATE TABLE b (x int REFERENCES a)')\nop.execute('INSERT INTO b VALUES (9)')",
        "those that the revision writes",
    ),
    "42501": ("op.execute('SET LOCAL ROLE pg_monitor')\nop.execute('CREATE TABLE b ()')", "run as the owner"),
    "57014": (
        "op.execute(\"SET LOCAL statement_timeout = '20ms'\")\nop.execute('SELECT pg_sleep(9)')",
        "statement_timeout",
    ),
    "57P01": ("op.execute('SELECT pg_terminate_backend(pg_backend_pid())')", "ended the connection"),
    "55P04": (
        "op.execute(\"ALTER TYPE mood ADD VALUE 'new'\")\nop.execute(\"INSERT INTO moody VALUES ('new')\")",
        "before the one that uses it",
    ),
    "55006": (
        (
            "op.execute('CREATE TABLE b (x int REFERENCES a DEFERRABLE INITIALLY DEFERRED)')\n"
            "op.execute('INSERT INTO b VALUES (1)')\nop.execute('ALTER TABLE b ADD COLUMN y int')"
        ),
        "SET CONSTRAINTS ALL IMMEDIATE",
    ),
}
"""Failures by SQLSTATE (with spaces for further cases of one): the revision's code, and words of the hint."""

NOT_PROVOKED: dict[str | None, str | None] = {
    "08006": "connection was lost",
    "23ABC": "Rows violate",
    "40001": "Another transaction changed the same rows",
    "40P01": "waited for each other's locks",
    "42P06": "exists already",
    "53100": "disk is full",
    "53200": "too little memory",
    "53300": "no connection left",
    "55P03": "holds a lock for longer than lock_timeout",
    "P0001": None,
    None: None,
}


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(BASE, ("k0", "k1", "k2"))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Tenancy:
    environment.add("one", BASE)
    return migrated_tenancy()


@pytest.mark.some_values(state=11)
@pytest.mark.parametrize("state", FAILURES)
def test_the_hint_is_correct_for_the_failure(state: str, fleet: Tenancy, environment: Environment) -> None:
    body, words = FAILURES[state]
    environment.add("two", body)
    with pytest.raises(MigrationError) as raised:
        migrate(fleet)
    (group,) = raised.value.report.failure_groups
    assert (group.sqlstate, len(group.keys)) == (state.strip(), 3)
    assert words in (group.hint or "")


@pytest.mark.parametrize("state", NOT_PROVOKED)
def test_the_hint_is_found_by_the_sqlstate(state: str | None) -> None:
    words = NOT_PROVOKED[state]
    hint = hint_for(state, "x")
    assert (hint is None) if words is None else (words in (hint or ""))


def test_each_hint_is_tested() -> None:
    assert [
        each for each in _HINTS if not any((state or "").startswith(each) for state in {**FAILURES, **NOT_PROVOKED})
    ] == []


def test_a_step_of_an_earlier_attempt_has_a_hint_of_its_own(fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", ADD_OUTSIDE)
    with pytest.raises(MigrationError, match="division by zero"):
        migrate(fleet)
    with pytest.raises(MigrationError) as raised:
        migrate(fleet)
    (group,) = raised.value.report.failure_groups
    assert group.sqlstate == "42701"
    assert "an earlier attempt" in (group.hint or "")


ADD_OUTSIDE = """
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE a ADD COLUMN y int")
op.execute("SELECT 1 / 0")
"""


def test_the_error_of_a_relative_downgrade_over_branches_advises_to_name_a_revision(
    fleet: Tenancy, environment: Environment
) -> None:
    environment.add("left", "pass", after="one")
    environment.add("right", "pass", after="one")
    environment.add("joined", "pass", after=("left", "right"))
    migrate(fleet)
    with pytest.raises((MigrationError, ConfigurationError), match="name the revision"):
        downgrade(fleet, "-1")
