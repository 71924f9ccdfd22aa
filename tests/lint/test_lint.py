"""Checks of revisions, and silenced findings."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tenantkit import Tenancy
from tenantkit.exceptions import ConfigurationError
from tenantkit.lint import lint
from tests.lint.conftest import Lint
from tests.lint.snippets import revision

pytestmark = pytest.mark.each_value

NAMES_SCHEMA = "op.execute('TRUNCATE public.task')"


def codes(lint_file: Lint, upgrade: str, **options: str) -> list[str]:
    head = options.pop("head", "")
    return [finding.code for finding in lint_file(revision(upgrade, head=head), **options)]


# Execution of upgrade()


def test_a_query_finds_no_rows_and_later_lines_are_checked(lint_file: Lint) -> None:
    upgrade = """
        connection = op.get_bind()
        for row in connection.execute(sa.text("SELECT id, name FROM project")).mappings().all():
            connection.execute(sa.text("UPDATE project SET name = 'x' WHERE id = :id"), {"id": row["id"]})
        if not sa.inspect(connection).has_table("task") and connection.scalar(sa.text("SELECT id FROM project")) is None:
            op.execute("DELETE FROM public.task")
    """
    assert set(codes(lint_file, upgrade)) == {"TK001", "TK007"}


def test_a_query_of_a_session_finds_no_rows_too(lint_file: Lint) -> None:
    head = "from sqlalchemy.orm import Session\nfrom tests.support.models import Task"
    upgrade = """
        with Session(op.get_bind()) as session:
            for task in session.scalars(sa.select(Task).order_by(Task.id)):
                task.title = task.title.lower()
            session.flush()
        op.execute("DELETE FROM public.task")
    """
    assert set(codes(lint_file, upgrade, head=head)) == {"TK001", "TK007"}


def test_code_that_needs_a_row_is_reported_at_its_line(lint_file: Lint) -> None:
    upgrade = f"""
        op.execute("DROP TABLE public.a")
        number = op.get_bind().scalars(sa.text("SELECT id FROM project")).one()
        {NAMES_SCHEMA}
    """
    found = {(finding.code, finding.line) for finding in lint_file(revision(upgrade))}
    assert found == {("TK001", 9), ("TK007", 10), ("TK000", 10)}


def test_a_connection_in_a_function_of_another_module_is_found(
    lint_file: Lint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_steps.py").write_text(
        "from alembic import op\ndef tidy(): op.get_bind().exec_driver_sql('DELETE FROM task')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    [finding] = lint_file(revision("our_steps.tidy()", head="import our_steps"))
    assert (finding.code, finding.line) == ("TK007", 9)
    assert "instead of an operation of Alembic" in finding.message
    del sys.modules["our_steps"]


def test_values_that_differ_between_runs_are_found(lint_file: Lint) -> None:
    head = "from itertools import count\nnumbers = count()"
    [finding] = lint_file(revision("op.execute(f'SELECT {next(numbers)}')", head=head))
    assert (finding.code, finding.line) == ("TK007", 10)
    assert "This differs each time" in finding.message


def test_chance_in_parameters_is_found(lint_file: Lint) -> None:
    upgrade = """
        task = sa.table("task", sa.column("title"), schema="tenant")
        op.bulk_insert(task, [{"title": next(numbers)}])
    """
    assert codes(lint_file, upgrade, head="from itertools import count\nnumbers = count()") == ["TK007"]


def test_chance_in_the_downgrade_is_not_checked(lint_file: Lint) -> None:
    text = (
        revision("pass", head="import random")
        .replace("    pass\n", "    print(random.random())\n")
        .replace("upgrade():\n    print(random.random())", "upgrade():\n    pass")
    )
    assert "random.random()" in text
    assert lint_file(text) == []


def test_chance_is_found_in_functions_that_upgrade_calls(lint_file: Lint) -> None:
    head = "import random\ndef deeper():\n    return random.random() > 2\ndef other():\n    return deeper()"
    [finding] = lint_file(revision("other()", head=head))
    assert (finding.code, finding.line) == ("TK007", 5)
    assert lint_file(revision("pass", head=head)) == []


def test_a_revision_with_an_engine_of_its_own_is_not_run(lint_file: Lint, tmp_path: Path) -> None:
    upgrade = f"open({str(tmp_path / 'ran')!r}, 'w').close()\nsa.create_engine('postgresql://192.0.2.1/x')"
    found = lint_file(revision(upgrade))
    assert [(each.line, each.code) for each in found] == [(9, "TK011"), (10, "TK000"), (10, "TK011")]
    assert "was not checked, because it makes an engine of its own" in found[1].message
    assert not (tmp_path / "ran").exists()


def test_operations_that_env_registers_are_known(migrations: Path, lint_file: Lint) -> None:
    env = migrations / "env.py"
    env.write_text(
        """
from alembic.operations import MigrateOperation, Operations
from tenantkit.migrations import run_environment

@Operations.register_operation("empty_everything")
class Empty(MigrateOperation):
    @classmethod
    def empty_everything(cls, operations):
        return operations.invoke(cls())

@Operations.implementation_for(Empty)
def empty(operations, operation):
    operations.execute("TRUNCATE public.task")

run_environment()
"""
    )
    assert codes(lint_file, "op.empty_everything()") == ["TK001"]


def test_a_broken_env_is_reported(migrations: Path, lint_file: Lint) -> None:
    (migrations / "env.py").write_text("1 / 0")
    with pytest.raises(ConfigurationError, match=r"env\.py failed: ZeroDivisionError"):
        lint_file(revision("pass"))


def test_a_parameters_default_that_looks_like_the_clock_is_not_called(lint_file: Lint) -> None:
    upgrade = "op.create_table('x', sa.Column('at', sa.DateTime, default=datetime.now), schema='tenant')"
    assert codes(lint_file, upgrade, head="from datetime import datetime") == []


# Rules that need several lines


def test_a_key_must_not_be_validated_in_the_transaction_that_adds_it(lint_file: Lint) -> None:
    upgrade = """
        op.execute("ALTER TABLE task ADD CONSTRAINT fk FOREIGN KEY (c) REFERENCES shared.country NOT VALID")
        op.execute("ALTER TABLE task ADD CONSTRAINT ck CHECK (true) NOT VALID")
        op.execute("ALTER TABLE task VALIDATE CONSTRAINT ck")
        op.execute("ALTER TABLE task VALIDATE CONSTRAINT fk")
    """
    check, key = lint_file(revision(upgrade))
    assert (check.code, check.line, key.code, key.line) == ("TK009", 11, "TK003", 12)
    assert "ck is checked for every row while reads and writes of task wait: the lock of line 10" in check.message
    assert "fk is validated in the transaction that adds it" in key.message


def test_a_key_may_be_validated_outside_of_the_transaction_that_adds_it(lint_file: Lint) -> None:
    upgrade = """
        op.execute("ALTER TABLE task ADD CONSTRAINT fk FOREIGN KEY (c) REFERENCES shared.country NOT VALID")
        with op.get_context().autocommit_block():
            op.execute("ALTER TABLE task VALIDATE CONSTRAINT fk")
    """
    assert codes(lint_file, upgrade) == ["TK005"]


LOCKS = "op.execute('ALTER TABLE task ADD x int')"
BLOCK = "with op.get_context().autocommit_block():\n    "


@pytest.mark.parametrize(
    ("before", "is_held"),
    [
        (LOCKS, True),
        (f"{LOCKS}\n{BLOCK}op.execute('SELECT 1')", False),
        (f"{BLOCK}{LOCKS}", False),
    ],
)
def test_a_lock_is_held_until_the_end_of_its_transaction(before: str, is_held: bool, lint_file: Lint) -> None:
    assert ("TK009" in codes(lint_file, f"{before}\nop.execute('UPDATE task SET x = 1')")) == is_held


def test_a_name_that_sqlalchemy_refuses_is_one_finding(lint_file: Lint) -> None:
    assert codes(lint_file, f"op.create_index('{'x' * 64}', 'task', ['title'], schema='tenant')") == ["TK004"]


@pytest.mark.parametrize(
    "other", ["op.execute('DELETE FROM task')", "op.drop_column('task', 'title', schema='tenant')"]
)
def test_steps_that_commit_by_themselves_need_a_revision_of_their_own(other: str, lint_file: Lint) -> None:
    block = "with op.get_context().autocommit_block():\n    op.execute('VACUUM task')\n"
    for upgrade, line in ((block + other, 10), (f"{other}\n{block}", 11)):
        [finding] = lint_file(revision(upgrade))
        assert (finding.code, finding.line) == ("TK005", line)
        assert "committed separately" in finding.message
    assert lint_file(revision(f"{block}op.execute('SELECT 1')")) == []


def test_every_statement_of_a_string_is_checked(lint_file: Lint) -> None:
    upgrade = """
        op.execute("UPDATE task SET title = ';'; DELETE FROM task; TRUNCATE public.task")
    """
    assert codes(lint_file, upgrade) == ["TK001"]


# Applications of other kinds


def test_tenant_tables_without_a_schema_are_known(
    migrations: Path, nowhere: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import Column, Integer, MetaData, Table

    shared, tenant = MetaData(schema="public"), MetaData()
    Table("country", shared, Column("code", Integer, primary_key=True))
    Table("task", tenant, Column("id", Integer, primary_key=True))
    monkeypatch.setattr("tenantkit.lint.squawk.find", lambda: None)

    def found(upgrade: str, line: str, **options: tuple[str, ...]) -> list[str]:
        (migrations / line / "r1.py").write_text(revision(upgrade))
        tenancy = nowhere(shared=shared, tenant=tenant, placeholder=None, **options)
        codes = [finding.code for finding in lint(tenancy).findings]
        (migrations / line / "r1.py").unlink()
        return codes

    assert found("op.add_column('task', sa.Column('x', sa.Integer))", "tenant") == []
    assert found("op.add_column('country', sa.Column('x', sa.Integer), schema='public')", "tenant") == ["TK002"]
    assert found("op.add_column('country', sa.Column('x', sa.Integer), schema='public')", "shared") == []
    assert found("op.add_column('task', sa.Column('x', sa.Integer))", "shared") == ["TK002"]
    # A name without a schema can be found in the shared schema only if that is on the path.
    assert found("op.execute('DELETE FROM country')", "tenant") == []
    assert found("op.execute('DELETE FROM country')", "tenant", extra_schemas=("public",)) == ["TK002"]
    Table("country", tenant, Column("code", Integer, primary_key=True))
    assert found("op.execute('DELETE FROM country')", "tenant", extra_schemas=("public",)) == []
    assert found("op.execute('DELETE FROM country')", "shared") == []


def test_extra_schemas_may_be_named(lint_file: Lint) -> None:
    upgrade = "op.execute('SELECT extensions.gen_salt()')"
    assert codes(lint_file, upgrade) == ["TK001"]
    assert lint_file(revision(upgrade), extra_schemas=("extensions",)) == []


def test_an_outside_call_that_is_caught_is_found(lint_file: Lint) -> None:
    upgrade = f"""
        try:
            open("/tmp/x", "w")
        except Exception:
            pass
        {NAMES_SCHEMA}
    """
    assert codes(lint_file, upgrade) == ["TK011", "TK001"]


def test_the_unchecked_rest_of_a_revision_that_is_not_replayed_is_reported(
    migrations: Path, nowhere: Callable[..., Tenancy]
) -> None:
    text = revision(f"open('/tmp/x', 'w')\n{NAMES_SCHEMA}", head="replay = False")
    (migrations / "tenant" / "r1.py").write_text(text)
    report = lint(nowhere())
    assert report.findings == ()
    assert [(each.code, each.line) for each in report.unseen] == [("TK000", 9)]


# Comments that silence


def test_a_comment_above_the_imports_silences_the_file(lint_file: Lint) -> None:
    text = revision(NAMES_SCHEMA)
    for comment in ("# tenantkit: noqa", "# tenantkit: noqa: TK001", "#tenantkit:NOQA: tk002,  tk001 - why"):
        assert lint_file(f"{comment}\n{text}") == []
        assert lint_file(f'"""What it does."""\n\n{comment}\n\n{text}') == []
        assert [finding.code for finding in lint_file(f"import sys\n{comment}\n{text}")] == ["TK001"]


def test_a_comment_above_a_statement_or_at_its_end_silences_it(lint_file: Lint) -> None:
    assert codes(lint_file, f"# tenantkit: noqa: TK001\n# because\n{NAMES_SCHEMA}") == []
    assert codes(lint_file, "op.execute(\n    'TRUNCATE public.task'\n)  # tenantkit: noqa: TK001") == []
    assert codes(lint_file, "op.execute(  # tenantkit: noqa: TK001\n    'TRUNCATE public.task'\n)") == []
    assert codes(lint_file, f"# tenantkit: noqa: TK001\nop.execute('SELECT 1')\n{NAMES_SCHEMA}") == ["TK001"]


def test_a_comment_silences_only_the_named_rules(lint_file: Lint) -> None:
    assert codes(lint_file, f"{NAMES_SCHEMA}  # tenantkit: noqa: TK002") == ["TK001"]
    assert codes(lint_file, f"{NAMES_SCHEMA}  # noqa: TK001") == ["TK001"]
    assert codes(lint_file, f"{NAMES_SCHEMA}  # tenantkit: noqa") == []
    assert codes(lint_file, "op.execute('TRUNCATE public.task -- # tenantkit: noqa')") == ["TK001"]


def test_a_comment_at_a_call_or_inside_the_function_silences_it(lint_file: Lint) -> None:
    head = "def empty(table):\n    op.execute(f'TRUNCATE public.{table}')"
    assert codes(lint_file, "empty('task')", head=head) == ["TK001"]
    assert codes(lint_file, "empty('task')  # tenantkit: noqa: TK001", head=head) == []
    assert codes(lint_file, "empty('task')", head=f"{head}  # tenantkit: noqa: TK001") == []


def test_rules_can_be_ignored_completely(
    migrations: Path, nowhere: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.lint.squawk.find", lambda: None)
    (migrations / "tenant" / "r1.py").write_text(revision(NAMES_SCHEMA))
    for name in ("TK001", "tk001"):
        report = lint(nowhere(), ignore=[name])
        assert (report.findings, report.revisions, report.has_squawk) == ((), 1, False)


@pytest.mark.parametrize("has_squawk", [False, True])
@pytest.mark.parametrize("option", ["ignore", "enable"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("zzz", "There is no rule 'zzz'"),
        ("prefer-bigint", "Did you mean prefer-bigint-over-int or prefer-bigint-over-smallint?"),
        ("require-concurent-index-creation", "Did you mean require-concurrent-index-creation"),
        ("TK01", "Did you mean TK010"),
        ("TK099", "Did you mean TK009"),
        ("", "There is no rule ''"),
    ],
)
def test_a_misspelt_rule_is_an_error_that_names_the_nearest(
    name: str,
    says: str,
    option: str,
    has_squawk: bool,
    nowhere: Callable[..., Tenancy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not has_squawk:
        monkeypatch.setattr("tenantkit.lint.squawk.find", lambda: None)
    with pytest.raises(ConfigurationError, match=re.escape(says)) as caught:
        lint(nowhere(), **{option: [name]})
    assert option in str(caught.value)


def test_a_rule_of_a_newer_squawk_is_passed_to_it(
    nowhere: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.lint.squawk._KNOWN", frozenset())
    assert lint(nowhere(), ignore=["ban-drop-column"], enable=["require-table-schema"]).has_squawk
