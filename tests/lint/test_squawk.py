"""Findings of squawk, in the lines of revisions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeAlias

import pytest

from tenantkit import Tenancy
from tenantkit.exceptions import ConfigurationError
from tenantkit.lint import lint, squawk
from tests.lint.snippets import revision

Find: TypeAlias = Callable[..., list[tuple[str, int]]]

INDEX = "op.create_index('ix', 'task', ['title'], schema='tenant')"
DROP = "op.drop_column('task', 'title', schema='tenant')"
NOT_NULL = "op.alter_column('task', 'title', nullable=False, schema='tenant')"


@pytest.fixture
def find(migrations: Path, nowhere: Callable[..., Tenancy]) -> Find:
    """Write a revision, and return the rules that are broken, with their lines."""

    def run(text: str, *, enable: Collection[str] = (), ignore: Collection[str] = ()) -> list[tuple[str, int]]:
        (migrations / "tenant" / "r1.py").write_text(text)
        report = lint(nowhere(), enable=enable, ignore=ignore)
        assert report.has_squawk
        return [(finding.code, finding.line) for finding in report.findings]

    return run


def test_findings_have_the_line_of_their_statement(find: Find) -> None:
    upgrade = f"""
        op.execute('''
            UPDATE task -- a comment; and more
            SET title = ';
            '
        ''')
        {INDEX}
        op.execute("ALTER TABLE task RENAME TO job; ALTER TABLE job DROP COLUMN x")
        {NOT_NULL}
    """
    assert find(revision(upgrade)) == [
        ("require-concurrent-index-creation", 14),
        ("ban-drop-column", 15),
        ("renaming-table", 15),
        ("adding-not-nullable-field", 16),
    ]


def test_the_message_has_advice_and_a_link(migrations: Path, nowhere: Callable[..., Tenancy]) -> None:
    (migrations / "tenant" / "r1.py").write_text(revision(INDEX))
    [finding] = lint(nowhere()).findings
    assert "Use `concurrently` to avoid blocking writes. See https://squawkhq.com/docs/require-" in finding.message


def test_objects_of_the_revision_may_be_changed_by_it(find: Find) -> None:
    table = "op.create_table('task', sa.Column('title', sa.Text), schema='tenant')"
    assert find(revision(f"{table}\n{INDEX}")) == []


def test_revisions_run_in_a_transaction_and_blocks_do_not(find: Find) -> None:
    block = "with op.get_context().autocommit_block():\n    op.execute('{}')"
    concurrently = "CREATE INDEX CONCURRENTLY {}ix ON task (title)"
    assert find(revision("op.execute('CREATE TABLE x (a int)')")) == []
    assert find(revision(block.format(concurrently.format("IF NOT EXISTS ")))) == []
    assert find(revision(block.format(concurrently.format("")))) == [("prefer-robust-stmts", 10)]
    assert find(revision(block.format("CREATE TABLE x (a int)"))) == [("prefer-robust-stmts", 10)]


def test_parameters_are_read(find: Find) -> None:
    upgrade = f"""
        task = sa.table("task", sa.column("id"), sa.column("title"), schema="tenant")
        op.bulk_insert(task, [{{"id": 1, "title": "it's"}}])
        op.execute(task.update().where(task.c.id.in_([1, 2])).values(title="100%"))
        {DROP}
    """
    assert find(revision(upgrade)) == [("ban-drop-column", 12)]


def test_sql_that_squawk_cannot_parse_hides_no_other_finding(find: Find) -> None:
    assert find(revision(f"{DROP}\nop.execute('SELEKT 1')\n{INDEX}")) == [
        ("ban-drop-column", 9),
        ("syntax-error", 10),
        ("require-concurrent-index-creation", 11),
    ]


def test_comments_silence_squawk_by_the_names_of_its_rules(find: Find) -> None:
    assert find(revision(f"{DROP}  # tenantkit: noqa: ban-drop-column")) == []
    assert find(revision(f"{DROP}  # tenantkit: noqa: TK006")) == [("ban-drop-column", 9)]
    assert find("# tenantkit: noqa: ban-drop-column, renaming-table\n" + revision(DROP)) == []
    assert find(revision("op.execute('''\n-- squawk-ignore ban-drop-table\nDROP TABLE task''')")) == []


def test_a_contracting_revision_may_drop_objects_but_not_block(find: Find) -> None:
    assert find(revision(f"{DROP}\n{NOT_NULL}", head="phase = 'contract'")) == [("adding-not-nullable-field", 10)]


def test_a_finding_of_squawk_is_not_reported_twice(find: Find) -> None:
    alone = "op.execute('REFRESH MATERIALIZED VIEW totals')"
    upgrade = f"{INDEX}\n{NOT_NULL}\n{alone}"
    assert find(revision(upgrade)) == [
        ("require-concurrent-index-creation", 9),
        ("adding-not-nullable-field", 10),
        ("TK009", 11),
    ]
    others = ["require-concurrent-index-creation", "adding-not-nullable-field"]
    assert find(revision(upgrade), ignore=others) == [("TK009", 11)]


def test_rules_are_ignored_or_enabled_by_name(find: Find) -> None:
    column = "op.add_column('task', sa.Column('number', sa.Integer), schema='tenant')"
    assert find(revision(column)) == []
    assert find(revision(column), enable=["prefer-bigint-over-int"]) == [("prefer-bigint-over-int", 9)]
    unqualified = "op.execute('ALTER TABLE task ADD x text')"  # a rule that is off in squawk by default
    assert find(revision(unqualified), enable=["require-table-schema"]) == [("require-table-schema", 9)]
    assert find(revision(DROP), ignore=["ban-drop-column"]) == []


def test_without_squawk_the_report_has_no_squawk(
    migrations: Path, nowhere: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    (migrations / "tenant" / "r1.py").write_text(revision(DROP))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    report = lint(nowhere())
    assert (report.findings, report.has_squawk) == ((), False)


def test_another_program_of_that_name_is_reported(find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squawk"
    program.write_text("#!/bin/sh\necho 'I am a parrot' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(squawk, "find", lambda: str(program))
    with pytest.raises(ConfigurationError, match=r"squawk does not work: I am a parrot\. Install .*tenantkit\[lint\]"):
        find(revision(DROP))


def test_an_unknown_rule_to_enable_is_reported(find: Find) -> None:
    with pytest.raises(ConfigurationError, match="There is no rule 'nothing', which enable names"):
        find(revision(DROP), enable=["nothing"])


def test_migrations_of_this_repository_are_clean() -> None:
    """With the settings of this repository; the reasons are in pyproject.toml and beside the lines."""
    import tomllib

    from examples.tracker.app import make_tenancy

    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["tenantkit"]["lint"]
    tenancy = make_tenancy("postgresql://192.0.2.1/nothing", listen=False)
    report = lint(tenancy, **settings)
    tenancy.close()
    assert report.findings == ()
    assert report.revisions >= 14
