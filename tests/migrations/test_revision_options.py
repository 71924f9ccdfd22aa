"""The options of alembic.ini and of the command apply to new revisions."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, example, given
from hypothesis import strategies as st
from sqlalchemy import Engine

from tenantkit import ConfigurationError, Tenancy
from tenantkit.migrations import init, revision, upgrade_shared
from tests.migrations.environments import Environment, files, write_env
from tests.support.generated import examples

Make = Callable[..., Tenancy]


def options(environment: Environment, text: str, line: str = "tenant", more: str = "") -> None:
    ini = environment.folder.parent / "alembic.ini"
    ini.write_text(ini.read_text().replace(f"[{line}]\n", f"[{line}]\n{dedent(text)}") + dedent(more))


def test_the_file_is_named_and_dated_by_alembic_ini(environment: Environment, make: Make) -> None:
    options(
        environment,
        """
        file_template = %%(year)d_%%(slug)s_%%(rev)s
        truncate_slug_length = 8
        timezone = Asia/Kathmandu
        """,
    )
    for autogenerate in (True, False):
        written = revision(make(), "A message of many words", autogenerate=autogenerate)
        assert written is not None
        year, slug, _ = written.stem.split("_", 2)
        assert (len(year), slug, "message" in written.stem) == (4, "a", False)
        assert "+05:45\n" in written.read_text()
    shared = revision(make(), "A message of many words", shared=True)
    assert shared is not None
    assert shared.stem.endswith("_a_message_of_many_words")


@pytest.mark.parametrize("autogenerate", [True, False])
def test_hooks_for_files_get_the_whole_file(autogenerate: bool, environment: Environment, make: Make) -> None:
    script = environment.folder.parent / "hook.py"
    script.write_text(
        "import sys, pathlib\nfile = pathlib.Path(sys.argv[1])\nfile.write_text(file.read_text() + '# seen')"
    )
    options(
        environment,
        "",
        more=f"""
        [post_write_hooks]
        hooks = mine
        mine.type = exec
        mine.executable = {sys.executable}
        mine.options = {script} REVISION_SCRIPT_FILENAME
        """,
    )
    written = revision(make(), "first", autogenerate=autogenerate, phase="contract")
    assert written is not None
    assert 'phase: str | None = "contract"' in written.read_text()
    assert written.read_text().endswith("# seen")


def test_the_environment_runs_for_empty_revisions_if_alembic_ini_requires_it(
    environment: Environment, make: Make, engine: Engine
) -> None:
    write_env(
        environment,
        "def hook(context, revision, directives): directives[0].rev_id = f'h{len(directives[0].upgrade_ops.ops)}'",
    )
    with engine.begin() as connection:
        before = sa.inspect(connection).get_schema_names()
    first = revision(make(), "first")
    assert first is not None
    assert not first.name.startswith("h0_")
    for line in ("tenant", "shared"):
        options(environment, "revision_environment = true\n", line)
        written = revision(make(), "second", shared=line == "shared")
        assert written is not None
        assert written.name == "h0_second.py"
        assert "phase" not in written.read_text()
    with engine.begin() as connection:
        assert sa.inspect(connection).get_schema_names() == before


@pytest.mark.parametrize("file", ["alembic.ini", "pyproject.toml"])
def test_files_in_folders_of_their_own_are_written_and_found(
    file: str, environment: Environment, make: Make, engine: Engine
) -> None:
    if file == "alembic.ini":
        options(environment, "file_template = %%(year)d/%%(rev)s\nrecursive_version_locations = true\n")
    else:
        (environment.folder.parent / file).write_text(
            '[tool.alembic]\nfile_template = "%%(year)d/%%(rev)s"\nrecursive_version_locations = true\n'
        )
    written = revision(make(), "first", autogenerate=True)
    assert written is not None
    assert written.parent.parent == environment.folder / "tenant"
    assert revision(make(), "again", autogenerate=True) is None
    tenancy = make()
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        assert session.scalar(sa.text("SELECT count(*) FROM note")) == 0


def test_the_encoding_of_alembic_ini_is_used(environment: Environment, make: Make) -> None:
    options(environment, "output_encoding = latin-1\n")
    template = environment.folder / "script.py.mako"
    template.write_text("${'# -*- coding: latin-1 -*-'}\n" + template.read_text())
    written = revision(make(), "Écrit à la main", autogenerate=True)
    assert written is not None
    assert "Écrit à la main" in written.read_text("latin-1")
    assert 'phase: str | None = "expand"' in written.read_text("latin-1")
    make().create("acme")


def test_env_py_reads_options_and_finds_its_modules(environment: Environment, make: Make) -> None:
    (environment.folder.parent / "lib").mkdir()
    (environment.folder.parent / "lib" / "own_options.py").write_text("NAME = 'by option'\n")
    options(environment, "prepend_sys_path = %(here)s/lib:%(here)s\nmine = 5%%\n")
    write_env(
        environment,
        """
        import own_options
        assert context.config.get_main_option("mine") == "5%"
        assert context.config.config_file_name is None
        def hook(context, revision, directives):
            directives[0].message = own_options.NAME
        """,
    )
    written = revision(make(), "first", autogenerate=True)
    assert written is not None
    assert written.stem.endswith("_by_option")
    before = [*sys.path]
    make().create("acme")
    make().create("globex")
    assert sys.path == before
    sys.path.remove(str(environment.folder.parent / "lib"))
    sys.path.remove(str(environment.folder.parent))


def test_a_separate_environment_does_not_use_options_of_the_project(tmp_path: Path, make_tenancy: Make) -> None:
    (tmp_path / "alembic.ini").write_text("[tenant]\nfile_template = theirs\n")
    init(tmp_path / "migrations")
    written = revision(make_tenancy(migrations=tmp_path / "migrations"), "first")
    assert written is not None
    assert written.stem.endswith("_first")


def test_the_error_for_unreadable_options_names_the_line(environment: Environment, make: Make) -> None:
    (environment.folder.parent / "alembic.ini").write_text("no section")
    with pytest.raises(ConfigurationError, match="options for the tenant revisions cannot be read"):
        revision(make(), "first")


def ids(environment: Environment, line: str = "tenant") -> set[str]:
    return {file.stem.split("_")[0] for file in files(environment, line)}


def test_a_branch_begins_at_the_given_head_and_is_continued_by_its_label(environment: Environment, make: Make) -> None:
    assert revision(make(), "one", rev_id="1")
    assert revision(make(), "two", rev_id="2")
    with pytest.raises(ConfigurationError, match="1 is not a head revision; .*--splice"):
        revision(make(), "side", head="1")
    side = revision(make(), "side", head="1", splice=True, branch_label="billing", rev_id="s")
    assert side is not None
    assert "down_revision: str | Sequence[str] | None = '1'" in side.read_text()
    assert "branch_labels: str | Sequence[str] | None = ('billing',)" in side.read_text()
    with pytest.raises(ConfigurationError, match=r"several heads.*--head.*merge heads"):
        revision(make(), "three")
    more = revision(make(), "more", head="billing@head", depends_on="2", rev_id="m")
    assert more is not None
    assert "down_revision: str | Sequence[str] | None = 's'" in more.read_text()
    assert "depends_on: str | Sequence[str] | None = '2'" in more.read_text()
    several = revision(make(), "several", head="billing@head", depends_on=["1", "2"])
    assert several is not None
    assert "depends_on: str | Sequence[str] | None = ['1', '2']" in several.read_text()
    own = revision(make(), "own", head="base", rev_id="o")
    assert own is not None
    assert "down_revision: str | Sequence[str] | None = None" in own.read_text()


@pytest.mark.all_cases
@pytest.mark.parametrize("shared", [False, True])
def test_autogenerate_on_a_branch_includes_objects_of_other_branches(
    shared: bool, environment: Environment, make_tenancy: Make
) -> None:
    schema = "common" if shared else "tenant"
    metadata = sa.MetaData(schema=schema)
    others = sa.MetaData(schema="tenant" if shared else "common")

    def make() -> Tenancy:
        sides = {"shared": metadata, "tenant": others} if shared else {"shared": others, "tenant": metadata}
        return make_tenancy(**sides, migrations=environment.folder)

    def write(name: str, **position: str) -> str:
        sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True))
        written = revision(make(), name, shared=shared, autogenerate=True, **position)
        assert written is not None
        if shared:
            upgrade_shared(make(), "heads")
        return written.read_text()

    sa.Table("other", others, sa.Column("id", sa.Integer, primary_key=True))
    write("a", branch_label="left", rev_id="a")
    write("b", head="base", branch_label="right", rev_id="b")
    text = write("c", head="left@head", depends_on="right")
    assert "create_table('c'" in text
    assert "'a'" in text
    assert "create_table('a'" not in text
    assert revision(make(), "again", shared=shared, autogenerate=True, head="right@head") is None


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ({"head": "zzz"}, "Can't locate revision identified by 'zzz'"),
        ({"depends_on": "zzz"}, "Can't locate revision identified by 'zzz'"),
        ({"rev_id": "1"}, "There is a revision 1 already.*nothing was overwritten"),
        ({"rev_id": "a@b"}, "a@b"),
        ({"branch_label": "left"}, "left"),
    ],
    ids=str,
)
@pytest.mark.parametrize("autogenerate", [True, False])
def test_a_revision_at_an_impossible_place_is_not_written(
    position: dict[str, str], message: str, autogenerate: bool, environment: Environment, make: Make
) -> None:
    assert revision(make(), "one", rev_id="1", branch_label="left")
    before = [(file.name, file.read_text()) for file in files(environment)]
    with pytest.raises(ConfigurationError, match=message):
        revision(make(), "one", autogenerate=autogenerate, **position)
    assert [(file.name, file.read_text()) for file in files(environment)] == before


@pytest.mark.parametrize(
    ("template", "message", "rev_id"),
    [("%%(slug)s", "one", "2"), ("%%(rev)s_%%(slug)s", "two", "1"), ("%%(rev)s", "two", "1")],
)
def test_neither_a_file_nor_a_revision_is_replaced_by_another(
    template: str, message: str, rev_id: str, environment: Environment, make: Make
) -> None:
    (environment.folder.parent / "alembic.ini").write_text(f"[tenant]\nfile_template = {template}\n")
    assert revision(make(), "one", rev_id="1")
    before = [(file.name, file.read_text()) for file in files(environment)]
    with pytest.raises(ConfigurationError, match=f"There is a revision {rev_id} already, or a file .*another id or"):
        revision(make(), message, rev_id=rev_id)
    assert [(file.name, file.read_text()) for file in files(environment)] == before


def test_a_misspelt_option_is_refused(make: Make) -> None:
    with pytest.raises(TypeError, match=r"no option 'depend_on'. Did you mean depends_on=\?"):
        revision(make(), "one", depend_on="1")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="splice="):
        revision(make(), "one", splice="yes")


IDS = ["../x", "sub/x", ".x", "a b", "x\n", "x'", "x\\", "head", "heads", "base", "x" * 33]
"""Paths out of the folder or to where Alembic does not look, names of its own, more than alembic_version holds."""


@pytest.mark.parametrize(
    "position",
    [*({"rev_id": each} for each in IDS), *({"branch_label": each} for each in ("a@b", "a b", "head", "base", "-"))],
    ids=str,
)
def test_an_id_or_label_that_could_not_be_used_is_refused(
    position: dict[str, str], environment: Environment, make: Make
) -> None:
    before = sorted(environment.folder.parent.rglob("*"))
    (parameter,) = position
    with pytest.raises(ConfigurationError, match=f"^{parameter}=.*letters, digits"):
        revision(make(), "one", **position)
    assert sorted(environment.folder.parent.rglob("*")) == before


@examples(20, 200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\ N{u'), min_size=1))
@example(r"Import from C:\users")
@example('Say """no""" to docstrings')
@example("ends with a \\")
def test_any_message_becomes_the_docstring(make: Make, message: str) -> None:
    assume(message.strip() and "\0" not in message)
    written = revision(make(), message)
    assert written is not None
    try:
        documentation = ast.get_docstring(ast.parse(written.read_text("utf-8")), clean=False) or ""
    finally:
        written.unlink()
    # Python reads a carriage return as the end of a line.
    assert documentation.startswith(message.replace("\r\n", "\n").replace("\r", "\n"))
