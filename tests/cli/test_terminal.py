"""Commands at a terminal: questions, progress, help, completion; and the imports of each command."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
from sqlalchemy import URL, Engine, text

from tenantkit.cli.lazy import LazyCommand
from tenantkit.cli.table import COMMANDS, DOMAIN_COMMANDS, RUNS_COMMANDS
from tests.cli.project import Project
from tests.cli.test_fleet import revisions
from tests.support.processes import is_asleep, until_asleep


def keys(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT key FROM tenantkit.tenants ORDER BY key")))


def test_drop_asks_for_the_key_and_removes_the_tenant_when_it_is_typed(fleet: Project, project_engine: Engine) -> None:
    terminal = fleet.at_terminal("drop", "acme", "--json")
    terminal.wait_for("Type 'acme' to continue: ")
    terminal.type("acme")
    done = terminal.result()
    assert (done.code, done.json["key"]) == (0, "acme")
    assert "This permanently deletes 'acme' with all of its data in the schema 't_acme'." in done.err
    assert keys(project_engine) == ["initech", "umbrella"]


@pytest.mark.parametrize("answer", ["", "initech", "y"])
def test_drop_does_nothing_after_any_other_answer(fleet: Project, project_engine: Engine, answer: str) -> None:
    done = fleet.invoke("drop", "acme", typed=answer)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("Type 'acme' to continue: Nothing was done.\n")
    assert keys(project_engine) == ["acme", "initech", "umbrella"]


def test_an_interrupted_question_counts_as_no(fleet: Project, project_engine: Engine) -> None:
    terminal = fleet.at_terminal("drop", "acme", is_measured=False)
    terminal.wait_for("Type 'acme' to continue: ")
    terminal.interrupt_question()
    done = terminal.result()
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("Nothing was done.\n")
    assert "acme" in keys(project_engine)


def test_migrate_shows_a_bar_and_failures_on_stderr_and_data_on_stdout(fleet: Project) -> None:
    fails = "op.execute(\"DO $$ BEGIN IF current_schema() = 't_initech' THEN RAISE 'no luck'; END IF; END $$\")"
    fleet.add_revision("t3", "t2", fails)
    done = fleet.at_terminal("migrate", "--json", "--jobs", "0").result()
    assert done.code == 1
    assert done.json["failed"] == 1
    assert "Migrating" in done.err
    assert "3/3" in done.err
    assert "failed initech RaiseException: no luck" in done.err
    assert "[1/3]" not in done.err


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("t3", "run the same command again for the others."),
        (
            "+1",
            "for the others, run the command with a revision's id and --tenants, because +1 would take those that are",
        ),
    ],
)
def test_an_interrupted_migration_ends_at_once_and_prints_how_to_continue(
    fleet: Project, project_engine: Engine, target: str, advice: str
) -> None:
    fleet.add_revision("t3", "t2", 'op.execute("CREATE TABLE slow ()")\n    op.execute("SELECT pg_sleep(60)")')
    terminal = fleet.at_terminal("migrate", target, "--jobs", "2", is_measured=False)
    until_asleep(project_engine)
    terminal.interrupt()
    done = terminal.result()
    assert done.code == 130
    assert f"Interrupted. 'tenantkit status' shows which tenants are done; {advice}" in done.err
    assert "Traceback" not in done.err
    assert not is_asleep(project_engine)
    assert revisions(project_engine, "acme") == ["t2"]


def test_help_lists_every_command_and_each_has_an_example(bare_project: Project) -> None:
    overview = bare_project.invoke("--help")
    assert overview.code == 0
    commands = [[str(command.name)] for command in COMMANDS]
    commands += [["domain", str(command.name)] for command in DOMAIN_COMMANDS]
    commands += [["runs", str(command.name)] for command in RUNS_COMMANDS]
    assert len(commands) == 36
    for command in commands:
        assert command[0] in overview.out
        described = bare_project.invoke(*command, "--help")
        assert described.code == 0
        assert f"tenantkit {' '.join(command)} " in described.out.partition("Example")[2].replace("\n", " ") + " "


@pytest.mark.parametrize("command", [*COMMANDS, *DOMAIN_COMMANDS, *RUNS_COMMANDS], ids=lambda command: command.help)
def test_the_list_of_commands_has_the_summary_that_a_commands_own_help_begins_with(command: LazyCommand) -> None:
    loaded = command.load()
    assert loaded.name == command.name
    assert " ".join(loaded.help.split("\n\n")[0].split()) == command.help


def test_without_a_command_help_is_shown_and_the_exit_code_is_2(bare_project: Project) -> None:
    done = bare_project.invoke()
    assert done.code == 2
    assert "Usage: tenantkit" in done.out
    assert done.err == ""


def test_version_prints_the_version(bare_project: Project) -> None:
    done = bare_project.run("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("tenantkit 0.")


def test_an_unknown_command_is_an_error_of_one_line(bare_project: Project) -> None:
    done = bare_project.invoke("migrat")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: No such command 'migrat'. Did you mean 'migrate'?")
    assert done.err.count("\n") == 1


@pytest.mark.all_cases
def test_a_command_imports_only_the_packages_that_it_uses(fleet: Project) -> None:
    code = """
import sys
from tenantkit.cli import main
try:
    main()
except SystemExit as exited:
    print(exited.code or 0, *(name in sys.modules for name in ("alembic", "tenantkit.migrations.executors")))
"""
    seen = {}
    for command in ("--help", "list", "status", "stamp head --yes"):
        words = command.split()
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        seen[words[0]] = done.stdout.splitlines()[-1]
    assert seen == {
        "--help": "0 False False",
        "list": "0 False False",
        "status": "0 True False",
        "stamp": "0 True True",
    }


@pytest.mark.all_cases
def test_garbage_collection_starts_after_the_import_and_skips_imported_objects(fleet: Project) -> None:
    fleet.write(
        "watched.py",
        "import atexit, gc\n"
        "print(gc.get_threshold()[0] > 0, file=__import__('sys').stderr)\n"
        "atexit.register(lambda: print(gc.get_threshold()[0] > 0, gc.get_freeze_count() > len(gc.get_objects())))\n"
        "from shop.app import tenancy\n",
    )
    command = [sys.executable, "-m", "tenantkit", "-a", "watched:tenancy", "show", "acme"]
    done = subprocess.run(command, cwd=fleet.folder, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[0] == "False"
    assert done.stdout.splitlines()[-1] == "True True"


@pytest.mark.parametrize("arguments", ["--help", "migrat", "show acme"])
@pytest.mark.parametrize("own", ["gc.disable()", "gc.set_threshold(5000)", "pass"])
def test_a_script_that_calls_a_command_collects_garbage_as_before(fleet: Project, own: str, arguments: str) -> None:
    code = (
        f"import gc, sys\n{own}\nfrom tenantkit.__main__ import main\n"
        "before = gc.isenabled(), gc.get_threshold()\n"
        "try:\n    main()\nexcept SystemExit:\n    assert (gc.isenabled(), gc.get_threshold()) == before"
    )
    words = arguments.split()
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=fleet.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("own", ["gc.disable()", "gc.set_threshold(5000)"])
def test_an_application_keeps_its_settings_of_the_garbage_collector(fleet: Project, own: str) -> None:
    shows = "import atexit, gc\natexit.register(lambda: print(gc.isenabled(), gc.get_threshold()[0]))\n"
    fleet.write("tuned.py", f"{shows}{own}\nfrom shop.app import tenancy\n")
    command = [sys.executable, "-m", "tenantkit", "-a", "tuned:tenancy", "show", "acme"]
    done = subprocess.run(command, cwd=fleet.folder, capture_output=True, text=True, check=True)
    default = gc.get_threshold()[0]
    assert done.stdout.splitlines()[-1] == ("True 5000" if "5000" in own else f"False {default}")


def complete(project: Project, words: str, url: URL | None = None) -> list[str]:
    environment = {
        "_TENANTKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        **({} if url is None else {"DATABASE_URL": url.render_as_string(hide_password=False)}),
    }
    done = project.run(environment=environment)
    assert (done.code, done.err) == (0, "")
    return done.out.split()


def test_a_shell_completes_commands_and_keys(fleet: Project) -> None:
    assert complete(fleet, "tenantkit mi") == ["migrate"]
    assert complete(fleet, "tenantkit show ac") == ["acme"]
    assert complete(fleet, "tenantkit drop ") == ["acme", "initech", "umbrella"]


def test_completion_prints_no_error_if_keys_cannot_be_read(project: Project, project_url: URL) -> None:
    assert complete(project, "tenantkit show ac", project_url.set(database="nowhere")) == []
