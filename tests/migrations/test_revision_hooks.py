"""Hooks of env.py apply to new revisions, as with plain Alembic."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from tenantkit import ConfigurationError, Tenancy
from tenantkit.migrations import downgrade, migrate, revision
from tests.migrations.environments import Environment, files, write_env
from tests.migrations.shapes import shape

Make = Callable[..., Tenancy]

COOKBOOK = """
def hook(context, revision, directives):
    script = directives[0]
    if script.upgrade_ops.is_empty():
        directives[:] = []
"""
"""From Alembic's cookbook, "Don't Generate Empty Migrations with Autogenerate"."""


@pytest.mark.parametrize("line", ["tenant", "shared"])
def test_the_cookbooks_hook_against_empty_revisions_finds_nothing_to_write(
    line: str, environment: Environment, make: Make
) -> None:
    write_env(environment, COOKBOOK)
    if line == "tenant":
        assert revision(make(), "first", autogenerate=True)
    before = files(environment, line)
    assert revision(make(), "again", shared=line == "shared", autogenerate=True) is None
    assert files(environment, line) == before


def test_a_hook_against_empty_revisions_keeps_new_sequences(
    environment: Environment, make: Make, metadata: sa.MetaData
) -> None:
    write_env(environment, COOKBOOK)
    assert revision(make(), "first", autogenerate=True)
    sa.Sequence("ticket_seq", metadata=metadata)
    written = revision(make(), "second", autogenerate=True)
    assert written is not None
    assert "CREATE SEQUENCE ticket_seq" in written.read_text()
    assert revision(make(), "third", autogenerate=True) is None


def test_a_hook_changes_the_operations_and_the_message_of_a_revision(environment: Environment, make: Make) -> None:
    write_env(
        environment,
        """
        def hook(context, revision, directives):
            directives[0].rev_id = "0001"
            directives[0].message = "by the hook"
            directives[0].upgrade_ops.ops.append(ops.ExecuteSQLOp("SELECT 1 AS added"))
        """,
    )
    written = revision(make(), "first", autogenerate=True)
    assert written is not None
    assert written.name == "0001_by_the_hook.py"
    assert "SELECT 1 AS added" in written.read_text()


def test_a_column_that_a_hook_removes_is_removed_with_its_type(
    environment: Environment, make: Make, metadata: sa.MetaData
) -> None:
    assert revision(make(), "first", autogenerate=True)
    make().create("acme")
    kind = sa.Enum("a", "b", name="kind")
    sa.Table("left_out", metadata, sa.Column("kind", kind))
    sa.Table("kept", metadata, sa.Column("level", sa.Enum("low", "high", name="level")))
    write_env(
        environment,
        """
        def hook(context, revision, directives):
            for part in (directives[0].upgrade_ops, directives[0].downgrade_ops):
                part.ops[:] = [each for each in part.ops if each.table_name != "left_out"]
        """,
    )
    written = revision(make(), "second", autogenerate=True)
    assert written is not None
    assert "DROP TYPE level" in written.read_text()
    assert "kind" not in written.read_text()
    tenancy = make()
    for _ in range(2):
        migrate(tenancy, jobs=0)
        downgrade(tenancy, "-1", jobs=0)


@pytest.mark.all_cases
def test_a_hook_divides_a_revision_and_all_parts_are_written(
    environment: Environment, make: Make, metadata: sa.MetaData, engine: Engine
) -> None:
    assert revision(make(), "first", autogenerate=True)
    make().create("acme")
    with engine.begin() as connection:
        before = shape(connection, "t_acme")
    level = sa.Enum("low", "high", name="level")
    for name in ("one", "two"):
        sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("level", level))
    metadata.tables["tenant.note"].append_column(sa.Column("text", sa.Text))
    write_env(
        environment,
        """
        def hook(context, revision, directives):
            script = directives[0]
            parts = []
            for number, operation in enumerate(script.upgrade_ops.ops):
                head = f"part{number - 1}" if number else "head"
                parts.append(ops.MigrationScript(
                    f"part{number}", ops.UpgradeOps([operation]), ops.DowngradeOps([operation.reverse()]),
                    message=f"part {number}", head=head, splice=True, version_path=script.version_path,
                ))
            directives[:] = parts
        """,
    )
    written = revision(make(), "second", autogenerate=True)
    assert written is not None
    assert written.name == "part2_part_2.py"
    assert [each.name for each in files(environment) if each.name.startswith("part")] == [
        f"part{number}_part_{number}.py" for number in range(3)
    ]
    write_env(environment, "", "")
    assert revision(make(), "again", autogenerate=True) is None
    tenancy = make()
    for _ in range(2):
        migrate(tenancy, jobs=0)
        with engine.begin() as connection:
            assert "enum level low,high" in shape(connection, "t_acme")
        downgrade(tenancy, "-3", jobs=0)
        with engine.begin() as connection:
            assert shape(connection, "t_acme") == before


def test_a_hook_may_remove_all_operations(environment: Environment, make: Make) -> None:
    write_env(environment, "def hook(context, revision, directives): directives.clear()")
    assert revision(make(), "first", autogenerate=True) is None
    assert files(environment) == []


def test_a_rewriter_is_a_hook(environment: Environment, make: Make) -> None:
    write_env(
        environment,
        """
        from alembic.autogenerate import rewriter
        hook = rewriter.Rewriter()
        @hook.rewrites(ops.CreateTableOp)
        def with_owner(context, revision, operation):
            operation.columns.append(sa.Column("made_by", sa.Text))
            return operation
        """,
    )
    written = revision(make(), "first", autogenerate=True)
    assert written is not None
    assert "made_by" in written.read_text()


@pytest.mark.parametrize("line", ["tenant", "shared"])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def hook(context, revision, directives): raise SystemExit(0)", "would end the process"),
        ("import sys\ndef hook(*_): sys.exit()", "would end the process"),
        ("def hook(*_): raise ValueError('by the hook')", "ValueError: by the hook"),
        ("def hook(context, revision, directives): directives[1]", "IndexError: list index out of range"),
        ("raise SystemExit(0)", "would end the process|env.py"),
    ],
)
def test_a_hook_that_fails_or_exits_is_an_error(
    line: str, code: str, message: str, environment: Environment, make: Make
) -> None:
    write_env(environment, code)
    with pytest.raises(ConfigurationError, match=message):
        revision(make(), "first", shared=line == "shared", autogenerate=True)
    assert files(environment, line) == []


@pytest.mark.parametrize("line", ["tenant", "shared"])
def test_an_environment_that_compares_nothing_is_an_error(line: str, environment: Environment, make: Make) -> None:
    (environment.folder / "env.py").write_text("")
    with pytest.raises(ConfigurationError, match=r"env.py does not call run_environment\(\)"):
        revision(make(), "first", shared=line == "shared", autogenerate=True)
    assert files(environment, line) == []


FAILS = "def hook(*_): raise ValueError('by the hook')\n"
ONCE = """
import pathlib
def hook(*_): pass
called = pathlib.Path(__file__).with_name("called")
if not called.exists():
    called.touch()
    {run}
"""
UNUSUAL = {
    "errors are caught": (f"{FAILS}try:\n    {{run}}\nexcept BaseException:\n    pass", "ValueError: by the hook"),
    "not called again": (ONCE, r"env.py does not call run_environment\(\)"),
    "an exit afterwards": ("def hook(*_): pass\n{run}\nraise SystemExit(0)", "raised SystemExit"),
    "an end afterwards": ("import os\ndef hook(*_): pass\n{run}\nos._exit(0)", r"called os._exit\(\)"),
    "an end by the hook": ("import os\ndef hook(*_): os._exit(0)\n{run}", r"called os._exit\(\)"),
    "a connection of its own": (
        "def hook(*_): pass\n{run}\ncontext.configure(url='postgresql://')",
        "context.configure",
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.parametrize("autogenerate", [True, False], ids=["autogenerate", "revision_environment"])
def test_nothing_is_written_if_the_environment_does_not_end_as_it_should(
    autogenerate: bool, name: str, environment: Environment, make: Make
) -> None:
    code, message = UNUSUAL[name]
    if not autogenerate:
        (environment.folder.parent / "alembic.ini").write_text("[tenant]\nrevision_environment = true\n")
    head = "from alembic import context\nfrom tenantkit.migrations import run_environment\n"
    run = "run_environment(process_revision_directives=hook)"
    (environment.folder / "env.py").write_text(head + code.format(run=run))
    with pytest.raises(ConfigurationError, match=message):
        revision(make(), "first", autogenerate=autogenerate)
    assert files(environment) == []
