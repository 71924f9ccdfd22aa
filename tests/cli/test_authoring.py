"""The commands init and revision."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.project import Project
from tests.support.commands import SCRIPT


def test_init_creates_an_environment_and_prints_the_next_steps(bare_project: Project) -> None:
    done = bare_project.invoke("init", "database/schema")
    assert done.code == 0
    assert (bare_project.folder / "database/schema/env.py").is_file()
    assert "Created database/schema/env.py" in done.out.splitlines()
    assert "tenantkit revision --shared --autogenerate" in done.out


def test_init_needs_no_application_and_lists_files_as_json(bare_project: Project) -> None:
    (bare_project.folder / "pyproject.toml").unlink()
    files = bare_project.invoke("init", "elsewhere/migrations", "--json").json
    assert files
    assert all((bare_project.folder / file).exists() for file in files)


def test_init_overwrites_nothing(bare_project: Project) -> None:
    env = bare_project.write("migrations/env.py", "# mine")
    done = bare_project.invoke("init")
    assert (done.code, done.out) == (1, "")
    assert "exists already, and nothing was overwritten" in done.err
    assert env.read_text() == "# mine"


@pytest.mark.parametrize("folder", ["new/../other", "new/../new/../other", "../{here}/new/../other"])
def test_init_overwrites_nothing_by_a_path_with_detours(bare_project: Project, folder: str) -> None:
    ini = bare_project.folder / "alembic.ini"
    before = ini.read_text()
    done = bare_project.invoke("init", folder.format(here=bare_project.folder.name))
    assert done.code == 0, done.err
    assert ini.read_text() == before
    assert (bare_project.folder / "other" / "alembic.ini").is_file()


def test_init_suggests_a_folder_that_is_free(bare_project: Project) -> None:
    assert "for example 'tenantkit init tenant_migrations'" in bare_project.invoke("init").err
    assert bare_project.invoke("init", "tenant_migrations").code == 0


def test_init_creates_an_environment_in_the_current_folder(bare_project: Project) -> None:
    (bare_project.folder / "alembic.ini").unlink()
    done = bare_project.invoke("init", ".")
    assert done.code == 0, done.err
    assert "script_location = %(here)s/.\n" in (bare_project.folder / "alembic.ini").read_text()
    again = bare_project.invoke("init", ".")
    assert (again.code, again.out) == (1, "")
    assert "for example 'tenantkit init tenant_migrations'" in again.err


def test_an_alembic_ini_that_the_locale_cannot_hold_is_said_to_be(project: Project) -> None:
    ini = project.folder / "alembic.ini"
    ini.write_text(ini.read_text() + "# caf\u00e9\n", "utf-8")
    done = project.run("revision", "-m", "x", environment={"LC_ALL": "C"})
    assert (done.code, done.out) == (1, "")
    assert "alembic.ini cannot be read: Alembic expects the encoding of the locale" in done.err
    assert "LC_ALL=C.UTF-8" in done.err


@pytest.mark.parametrize("folder", ["", "shop/app.py", "shop/app.py/migrations", "/proc/nothing"])
def test_init_reports_a_path_that_cannot_be_a_folder(bare_project: Project, folder: str) -> None:
    before = sorted(bare_project.folder.rglob("*"))
    done = bare_project.invoke("init", folder)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert ("cannot be made" if folder else "it takes a path") in done.err
    assert sorted(bare_project.folder.rglob("*")) == before


def test_init_keeps_the_configuration_of_an_existing_alembic_project(project: Project) -> None:
    theirs = "[alembic]\nscript_location = alembic\n"
    ini = project.write("alembic.ini", theirs)
    env = project.write("alembic/env.py", "# theirs")
    done = project.invoke("init", "tenant_migrations")
    assert done.code == 0
    assert "Created tenant_migrations/alembic.ini" in done.out.splitlines()
    assert (
        "Kept alembic.ini; plain Alembic commands for tenants take -c tenant_migrations/alembic.ini"
        in done.out.splitlines()
    )
    assert (ini.read_text(), env.read_text()) == (theirs, "# theirs")

    project.edit_app('"migrations": "migrations"', '"migrations": "tenant_migrations"')
    for _ in range(2):
        revision = project.invoke("revision", "-m", "One of two")
        assert revision.out, revision.err
        file = Path(revision.out.strip())
        file.write_text(re.sub(r"down_revision: .*", "down_revision = None", file.read_text()))
    command = "alembic -c tenant_migrations/alembic.ini -n tenant merge heads"
    assert f"Join them with '{command}'" in project.invoke("migrate", "--jobs", "0").err
    program = [str(SCRIPT.with_name("alembic")), *command.split()[1:], "-m", "Both"]
    merged = subprocess.run(program, cwd=project.folder, capture_output=True, check=False)
    assert merged.returncode == 0, merged.stderr
    assert len(list((project.folder / "tenant_migrations" / "tenant").glob("*.py"))) == 3


def test_revision_prints_the_path_of_an_empty_one(project: Project) -> None:
    done = project.invoke("revision", "-m", "Add things")
    assert done.code == 0
    file = Path(done.out.strip())
    assert file.parent == project.folder / "migrations" / "tenant"
    assert "down_revision" in file.read_text()
    assert done.out.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", ""),
        ("-m", " "),
        *(("-m", "x", option, "") for option in ("--head", "--rev-id", "--branch-label", "--depends-on")),
    ],
)
def test_revision_refuses_empty_texts(project: Project, arguments: tuple[str, ...]) -> None:
    files = {*project.folder.rglob("*.py")}
    done = project.invoke("revision", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "it takes" in done.err
    assert {*project.folder.rglob("*.py")} == files


def test_a_second_autogenerate_finds_no_differences(project: Project) -> None:
    project.edit_app("note: Mapped[str | None]", "note: Mapped[str | None]\n    paid: Mapped[bool | None]")
    done = project.invoke("revision", "-m", "Paid", "--autogenerate", "--json")
    assert done.code == 0, done.err
    assert "paid" in Path(done.json["path"]).read_text()
    again = project.invoke("revision", "-m", "Paid", "--autogenerate")
    assert (again.code, again.out) == (0, "")
    assert again.err.endswith("Nothing to write: the models have no differences from the revisions.\n")
    assert project.invoke("revision", "-m", "Paid", "--autogenerate", "--json").json == {
        "path": None,
        "paths": [],
        "notes": [],
    }


@pytest.mark.parametrize("kind", ["{}", "ARRAY({})", "String().with_variant({}, 'postgresql')"])
@pytest.mark.parametrize(
    ("line", "base", "written"),
    [("tenant", "TenantBase", '"priority"'), ("shared", "SharedBase", '"shared"."priority"')],
)
def test_revision_names_labels_of_an_enum_that_autogenerate_does_not_write(
    project: Project, line: str, base: str, written: str, kind: str
) -> None:
    enum = kind.format("Enum('low', 'high', name='priority')")
    models = f"""
from sqlalchemy import ARRAY, Enum, String
class Task({base}):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    priority: Mapped[str] = mapped_column({enum})

OPTIONS ="""
    project.edit_app("\nOPTIONS =", models)
    options = ["--shared"] if line == "shared" else []
    first = project.invoke("revision", "-m", "Tasks", "--autogenerate", *options)
    assert (first.code, first.err) == (0, "")
    assert project.invoke("migrate").code == 0

    project.edit_app("'low', 'high'", "'urgent', 'medium', 'high', \"it's\"")
    done = project.invoke("revision", "-m", "Labels", "--autogenerate", *options)
    assert (done.code, done.out) == (0, "")
    assert [note.partition(": ")[2] for note in done.err.splitlines()[:3]] == [
        repr_of(f"ALTER TYPE {written} ADD VALUE 'urgent' BEFORE 'high'"),
        repr_of(f"ALTER TYPE {written} ADD VALUE 'medium' BEFORE 'high'"),
        repr_of(f"ALTER TYPE {written} ADD VALUE 'it''s'"),
    ]
    assert done.err.splitlines()[3:] == [
        "The models do not have the label 'low' of the type priority, and PostgreSQL cannot remove one."
    ]
    steps = "\n    ".join(note.partition(": ")[2] for note in done.err.splitlines()[:3])
    head = Path(first.out.strip()).name.partition("_")[0]
    project.add_revision("labels", head, steps, line)
    migrated = project.invoke("migrate")
    assert migrated.code == 0, migrated.err
    again = project.invoke("revision", "-m", "Labels", "--autogenerate", "--json", *options)
    assert (again.json["path"], len(again.json["notes"])) == (None, 1)


def repr_of(statement: str) -> str:
    return f"op.execute({statement!r})"


def test_revision_takes_alembics_options_for_branches(project: Project) -> None:
    side = project.invoke(
        "revision", "-m", "Side", "--head", "t1", "--splice", "--branch-label", "billing", "--rev-id", "b1"
    )
    assert side.code == 0, side.err
    refused = project.invoke("revision", "-m", "More")
    assert (refused.code, refused.out) == (1, "")
    assert "there are several heads" in refused.err
    assert "--head" in refused.err
    more = project.invoke(
        "revision", "-m", "More", "--head", "billing@head", "--depends-on", "t2", "--depends-on", "t1", "--json"
    )
    text = Path(more.json["path"]).read_text()
    assert "down_revision: str | Sequence[str] | None = 'b1'" in text
    assert "depends_on: str | Sequence[str] | None = ['t2', 't1']" in text


THINGS = """
from alembic.autogenerate import comparators
from alembic.operations.ops import ExecuteSQLOp

class Thing:
    def __init__(self, schema):
        self.schema = schema

class Ask(ExecuteSQLOp):
    def reverse(self):
        return self

@comparators.dispatch_for("schema")
def compare(context, upgrade_ops, schemas):
    # As alembic_utils asks, for objects of all schemas.
    for schema in ("tenant", "shared", "tenantkit", "public", "other"):
        parents = {"schema_name": schema, "table_name": "Not applicable"}
        name = f"{schema}.thing"
        if context.run_name_filters(name, "thing", parents):
            upgrade_ops.ops.append(Ask(f"SELECT 'name in {schema}'"))
        if context.run_object_filters(Thing(schema), name, "thing", False, None):
            upgrade_ops.ops.append(Ask(f"SELECT 'object in {schema}'"))
"""


@pytest.mark.parametrize("line", ["tenant", "shared"])
def test_other_packages_compare_objects_of_their_sides_schemas_only(line: str, project: Project) -> None:
    project.write("shop/things.py", THINGS)
    env = "import shop.things\nfrom tenantkit.migrations import run_environment\nrun_environment()\n"
    project.write("migrations/env.py", env)
    if line == "shared":
        assert project.run("migrate", "--shared-only").code == 0
    options = ["--shared"] if line == "shared" else []
    done = project.run("revision", "-m", "Things", "--autogenerate", *options)
    assert done.code == 0, done.err
    found = re.findall(r"(\w+) in (\w+)", Path(done.out.strip()).read_text())
    assert sorted(found) == sorted([("name", line), ("object", line)] * 2)


def test_revision_prints_each_file_of_a_hook(project: Project) -> None:
    project.write(
        "migrations/env.py",
        """
from alembic.operations import ops
from tenantkit.migrations import run_environment

def hook(context, revision, directives):
    [script] = directives
    for name, head in (("p1", "head"), ("p2", "p1")):
        part = ops.MigrationScript(name, script.upgrade_ops, script.downgrade_ops, message=name, head=head)
        directives.append(part)
    del directives[0]

run_environment(process_revision_directives=hook)
""",
    )
    project.edit_app("note: Mapped[str | None]", "note: Mapped[str | None]\n    paid: Mapped[bool]")
    done = project.invoke("revision", "-m", "Paid", "--autogenerate")
    assert done.code == 0, done.err
    assert [Path(line).name for line in done.out.splitlines()] == ["p1_p1.py", "p2_p2.py"]


def test_a_shared_revision_is_written_to_the_shared_folder(project: Project) -> None:
    done = project.invoke("revision", "-m", "Currencies", "--shared")
    assert Path(done.out.strip()).parent.name == "shared"


def test_the_error_for_an_application_without_migrations_names_init(project: Project) -> None:
    project.edit_app(', "migrations": "migrations"', "")
    for command in (("migrate", "head"), ("status",), ("revision", "-m", "x"), ("stamp", "head")):
        done = project.invoke(*command)
        assert (done.code, done.out) == (1, "")
        assert "create the folder with 'tenantkit init'" in done.err
