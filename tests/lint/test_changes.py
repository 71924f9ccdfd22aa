"""The rules find nothing in the operations for large tables, which they advise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tenantkit import Tenancy
from tenantkit.lint import lint
from tests.lint.conftest import Lint
from tests.lint.snippets import revision

pytestmark = pytest.mark.each_value

CHANGES = {
    "required": """
        column = sa.Column("y", sa.Integer, server_default="1", nullable=False)
        op.add_required_column("note", column, sa.column("id"), schema="tenant")
    """,
    "check": 'op.create_check_constraint_concurrently("ck", "note", "id > 0", schema="tenant")',
    "key to shared": """
        op.create_foreign_key_concurrently(
            "fk", "note", "country", ["c"], ["code"], source_schema="tenant", referent_schema="shared"
        )
    """,
    "index": 'op.create_index_concurrently("ix", "note", ["id"], schema="tenant")',
    "no index": 'op.drop_index_concurrently("ix", "note", schema="tenant")',
    "backfill": 'op.backfill("note", {"y": 1}, "y IS NULL", schema="tenant")',
    "validate": 'op.validate_constraint("ck", "note", schema="tenant")',
}


FORBIDDING = frozenset({"check", "key to shared"})
"""Changes that forbid values of the code before a deployment."""


def phase_of(change: str) -> str:
    return f"phase = {'contract' if change in FORBIDDING else 'expand'!r}"


@pytest.mark.parametrize("change", CHANGES)
def test_operations_for_large_tables_have_no_findings(change: str, lint_file: Lint) -> None:
    assert lint_file(revision(CHANGES[change], head=phase_of(change))) == []


@pytest.mark.parametrize("change", sorted(FORBIDDING))
def test_an_operation_that_forbids_values_is_no_expansion(change: str, lint_file: Lint) -> None:
    assert {each.code for each in lint_file(revision(CHANGES[change], head="phase = 'expand'"))} == {"TK006"}


@pytest.mark.parametrize("change", CHANGES)
def test_squawk_does_not_check_the_steps_of_operations_for_large_tables(
    change: str, migrations: Path, nowhere: Callable[..., Tenancy]
) -> None:
    (migrations / "tenant" / "r1.py").write_text(revision(CHANGES[change], head=phase_of(change)))
    report = lint(nowhere())
    assert report.has_squawk
    assert report.findings == ()


def test_a_required_column_without_a_default_is_no_expansion(lint_file: Lint) -> None:
    change = 'op.add_required_column("note", sa.Column("y", sa.Integer, nullable=False), 1, schema="tenant")'
    [found] = lint_file(revision(change, head='phase = "expand"'))
    assert (found.code, "forbids NULL" in found.message) == ("TK006", True)
    assert lint_file(revision(change, head='phase = "contract"')) == []


def test_null_forbidden_in_an_existing_column_is_no_expansion(lint_file: Lint) -> None:
    change = """
        op.alter_column("note", "y", server_default="1", schema="tenant")
        op.alter_column("note", "y", nullable=False, schema="tenant")
    """
    found = lint_file(revision(change, head='phase = "expand"'))
    assert {each.code for each in found} == {"TK006", "TK009"}


def test_null_may_be_forbidden_after_a_check_of_an_earlier_revision(lint_file: Lint, migrations: Path) -> None:
    check = 'op.create_check_constraint_concurrently("ck", "note", "y IS NOT NULL", schema="tenant")'
    (migrations / "tenant" / "r0.py").write_text(revision(check, name="r0"))
    change = 'op.alter_column("note", "{}", nullable=False, schema="tenant")'
    assert lint_file(revision(change.format("y"), down="r0")) == []
    assert {each.code for each in lint_file(revision(change.format("z"), down="r0"))} == {"TK009"}


@pytest.mark.parametrize(
    ("earlier", "is_found"),
    [
        ("CREATE TABLE note (id serial, n int NOT NULL)", False),
        ("CREATE TABLE note (id int, n int NOT NULL, PRIMARY KEY (id))", False),
        ("CREATE TABLE note (id int PRIMARY KEY, m int NOT NULL); ALTER TABLE note RENAME m TO n", False),
        ("CREATE TABLE old (id int PRIMARY KEY, n int NOT NULL); ALTER TABLE old RENAME TO note", False),
        ("CREATE TABLE note (id int, n int); ALTER TABLE note ADD PRIMARY KEY (id), ALTER n SET NOT NULL", False),
        ("CREATE TABLE note (id int PRIMARY KEY); ALTER TABLE note ADD n int NOT NULL", False),
        ("CREATE TABLE note (id int PRIMARY KEY, n int)", True),
        ("CREATE TABLE note (id int PRIMARY KEY, n int NOT NULL); ALTER TABLE note ALTER n DROP NOT NULL", True),
        ("CREATE TABLE note (id int PRIMARY KEY, n int NOT NULL); ALTER TABLE note DROP n, ADD n int", True),
        ("CREATE TABLE note (id int, n int NOT NULL); DROP TABLE note; CREATE TABLE note (id int, n int)", True),
        (
            "CREATE TABLE note (id int, n int NOT NULL); ALTER TABLE note RENAME n TO m; ALTER TABLE note ADD n int",
            True,
        ),
        ("SELECT 1", True),
    ],
)
def test_a_generated_column_is_not_null_if_the_columns_it_reads_are(
    earlier: str, is_found: bool, lint_file: Lint, migrations: Path
) -> None:
    (migrations / "tenant" / "r0.py").write_text(revision(f"op.execute({earlier!r})", name="r0"))
    change = "op.execute('ALTER TABLE note ADD x int NOT NULL GENERATED ALWAYS AS (id * 2 + n) STORED')"
    found = lint_file(revision(change, head="phase = 'expand'", down="r0"))
    assert ("TK006" in {each.code for each in found}) is is_found


def test_a_column_whose_not_null_the_revision_drops_may_be_null(lint_file: Lint, migrations: Path) -> None:
    table = "op.execute('CREATE TABLE note (n int NOT NULL)')"
    (migrations / "tenant" / "r0.py").write_text(revision(table, name="r0"))
    change = """
        op.execute("ALTER TABLE note ALTER n DROP NOT NULL")
        op.execute("ALTER TABLE note ADD x int NOT NULL GENERATED ALWAYS AS (n * 2) STORED")
    """
    found = lint_file(revision(change, head="phase = 'expand'", down="r0"))
    assert "TK006" in {each.code for each in found}


@pytest.mark.parametrize(("states", "is_found"), [("'a', 'b', 'c'", False), ("'a'", True), ("'b', 'c'", True)])
def test_a_check_that_is_replaced_may_allow_more(
    states: str, is_found: bool, lint_file: Lint, migrations: Path
) -> None:
    columns = "sa.Column('state', sa.Text), sa.CheckConstraint(\"state IN ('a', 'b')\", name='ck')"
    (migrations / "tenant" / "r0.py").write_text(
        revision(f"op.create_table('note', {columns}, schema='tenant')", name="r0")
    )
    change = f"""
        op.drop_constraint("ck", "note", schema="tenant")
        op.execute("ALTER TABLE note ADD CONSTRAINT ck CHECK (state IN ({states})) NOT VALID")
    """
    found = lint_file(revision(change, head="phase = 'expand'", down="r0"))
    assert {each.code for each in found} == ({"TK006"} if is_found else set())


def test_a_check_that_excludes_more_forbids_more(lint_file: Lint, migrations: Path) -> None:
    check = 'op.execute("ALTER TABLE note ADD CONSTRAINT ck CHECK ({}) NOT VALID")'
    drop = 'op.drop_constraint("ck", "note", schema="tenant")'
    for before, now in (
        ("state NOT IN ('a')", "state NOT IN ('a', 'b')"),
        ("NOT state IN ('a')", "NOT state IN ('a', 'b')"),
        ("size > 1 AND state IN ('a')", "size > 2 AND state IN ('a', 'b')"),
    ):
        (migrations / "tenant" / "r0.py").write_text(revision(check.format(before), name="r0"))
        found = lint_file(revision(f"{drop}\n{check.format(now)}", head="phase = 'expand'", down="r0"))
        assert [each.code for each in found] == ["TK006"], now


@pytest.mark.parametrize("timing", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("before", ["RETURN NEW", "RAISE 'no'", "RETURN NULL"])
@pytest.mark.parametrize("now", ["RETURN NEW", "RAISE 'no'", "RETURN NULL"])
def test_a_replaced_trigger_function_that_raises_or_drops_rows_forbids_them(
    timing: str, before: str, now: str, lint_file: Lint, migrations: Path
) -> None:
    function = "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; END $$"
    trigger = f"CREATE TRIGGER t {timing} INSERT ON note FOR EACH ROW EXECUTE FUNCTION f()"
    (migrations / "tenant" / "r0.py").write_text(
        revision(f'op.execute("""{function.format(before)}; {trigger}""")', name="r0")
    )
    found = lint_file(revision(f'op.execute("""{function.format(now)}""")', head="phase = 'expand'", down="r0"))
    is_found = before != now and ("RAISE" in now or (now == "RETURN NULL" and timing == "BEFORE"))
    assert [each.code for each in found] == (["TK006"] if is_found else [])


def test_a_replaced_function_of_no_earlier_trigger_forbids_nothing(lint_file: Lint) -> None:
    function = "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$"
    assert lint_file(revision(f'op.execute("""{function}""")', head="phase = 'expand'")) == []


def test_an_operation_for_large_tables_beside_others_is_found(lint_file: Lint) -> None:
    change = 'op.add_column("note", sa.Column("z", sa.Integer), schema="tenant")\n' + CHANGES["index"]
    assert [found.code for found in lint_file(revision(change))] == ["TK005"]
