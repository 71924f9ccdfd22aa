"""The hint of a failure is true for what failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import downgrade, migrate
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
    "42P01": ("op.execute('UPDATE gone SET x = 1')", "does not exist"),
    "3F000": ("op.execute('CREATE TABLE tenant.b ()')", "not with the placeholder"),
    "42P01 ": ("op.execute('UPDATE tenant.a SET x = 1')", "not with the placeholder"),
    "0A000": ("op.alter_column('a', 't', type_=sa.String(9), schema='tenant')", "drop that in the revision first"),
    "2BP01": ("op.drop_column('a', 't', schema='tenant')", "depend on what the revision drops"),
    "25P02": (
        "try:\n    op.execute('SELECT 1 / 0')\nexcept Exception:\n    pass\nop.execute('SELECT 1')",
        "begin_nested",
    ),
    "25001": ("op.execute('CREATE INDEX CONCURRENTLY ix ON a (x)')", "autocommit_block"),
    "42804": ("op.execute('ALTER TABLE a ALTER COLUMN x TYPE date')", "postgresql_using"),
    "42883": ("op.execute('SELECT gone(1)')", "extra_schemas"),
    "42601": ("op.execute('no sql')", "syntax error"),
    "22P02": ('op.execute("INSERT INTO a SELECT t::int FROM a")', "rows do not fit"),
    "23505": ("op.execute(\"INSERT INTO a VALUES (1, 'one')\")", "rows break"),
    "55006": (
        (
            "op.execute('CREATE TABLE b (x int REFERENCES a DEFERRABLE INITIALLY DEFERRED)')\n"
            "op.execute('INSERT INTO b VALUES (1)')\nop.execute('ALTER TABLE b ADD COLUMN y int')"
        ),
        "SET CONSTRAINTS ALL IMMEDIATE",
    ),
}


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Tenancy:
    environment.add("one", BASE)
    tenancy = migrated_tenancy()
    for key in ("k0", "k1", "k2"):
        tenancy.create(key)
    return tenancy


@pytest.mark.parametrize("state", FAILURES)
def test_what_to_do_is_true_for_what_failed(state: str, fleet: Tenancy, environment: Environment) -> None:
    body, words = FAILURES[state]
    environment.add("two", body)
    with pytest.raises(MigrationError) as raised:
        migrate(fleet)
    (group,) = raised.value.report.failure_groups
    assert (group.sqlstate, len(group.keys)) == (state.strip(), 3)
    assert words in (group.hint or "")


def test_a_new_label_of_an_enum_has_to_be_committed_first(fleet: Tenancy, environment: Environment) -> None:
    environment.add(
        "two", "op.execute(\"ALTER TYPE mood ADD VALUE 'new'\")\nop.execute(\"INSERT INTO moody VALUES ('new')\")"
    )
    with pytest.raises(MigrationError) as raised:
        migrate(fleet)
    (group,) = raised.value.report.failure_groups
    assert group.sqlstate == "55P04"
    assert "before the one that uses it" in (group.hint or "")


def test_a_step_that_an_earlier_attempt_has_done_is_not_blamed_on_others(
    fleet: Tenancy, environment: Environment
) -> None:
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


def test_a_step_back_over_branches_says_to_name_a_revision(fleet: Tenancy, environment: Environment) -> None:
    environment.add("left", "pass", after="one")
    environment.add("right", "pass", after="one")
    environment.add("joined", "pass", after=("left", "right"))
    migrate(fleet)
    with pytest.raises((MigrationError, ConfigurationError), match="name the revision"):
        downgrade(fleet, "-1")
