"""Ways to name the application, and a separate error for each way that fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tenantkit.cancellation import SIGNALS
from tenantkit.cli import globals_first
from tests.cli.project import Project
from tests.support.processes import unmeasured

pytestmark = pytest.mark.each_value

CONSOLE_SCRIPT = """
from importlib.metadata import entry_points
[script] = entry_points(group="console_scripts", name="tenantkit")
script.load()()
"""


@pytest.mark.parametrize(
    "reference",
    ["shop.app:make_tenancy", "shop.app:tenancy", "shop.app:group.tenancy"],
    ids=["factory", "sync", "async"],
)
@pytest.mark.parametrize("way", ["before", "behind", "environment"])
def test_every_way_to_name_an_application_works(
    fleet: Project, monkeypatch: pytest.MonkeyPatch, reference: str, way: str
) -> None:
    (fleet.folder / "pyproject.toml").unlink()
    if way == "environment":
        monkeypatch.setenv("TENANTKIT_APP", reference)
    arguments = {"before": ["-a", reference, "list"], "behind": ["list", f"--app={reference}"]}.get(way, ["list"])
    done = fleet.invoke(*arguments, "--json")
    assert [tenant["key"] for tenant in done.json] == ["acme", "initech", "umbrella"]


def test_the_option_wins_over_the_environment_and_that_over_pyproject(
    fleet: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANTKIT_APP", "nowhere:at_all")
    assert "no module 'nowhere'" in fleet.invoke("list").err
    assert fleet.invoke("list", "-a", "shop.app:tenancy").code == 0


def test_pyproject_is_found_from_a_folder_below_and_its_folder_is_where_paths_begin(fleet: Project) -> None:
    fleet.write("docs/deep/notes.txt", "")
    fleet.write("docs/pyproject.toml", "[project]\nname = 'docs'")
    script = Project.run
    below = type("Below", (), {"folder": fleet.folder / "docs" / "deep"})()
    done = script(below, "status", "--json")
    assert done.code == 0, done.err
    assert done.json["heads"] == ["t2"]


def test_without_a_name_the_error_lists_the_ways_to_name_one(bare_project: Project) -> None:
    bare_project.write("pyproject.toml", "[tool.other]")
    done = bare_project.invoke("list")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    for way in ("-a package.module:attribute", "TENANTKIT_APP", "[tool.tenantkit]"):
        assert way in done.err


@pytest.mark.parametrize("reference", ["shop", "shop.app", "shop.app:", ":tenancy", ".shop:tenancy", "..:tenancy"])
def test_a_malformed_name_is_a_usage_error(bare_project: Project, reference: str) -> None:
    done = bare_project.invoke("list", "-a", reference)
    assert (done.code, done.out) == (2, "")
    assert "Write it as package.module:attribute, or as path/to/module.py:attribute." in done.err


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere:x", "There is no module 'nowhere'"),
        ("shop.nowhere:x", "There is no module 'shop.nowhere'"),
        ("shop.app:tenanci", "'shop.app' has no attribute 'tenanci'. It has shop.app:tenancy."),
        ("shop:x", "'shop' has no attribute 'x'. Correct the name after the colon."),
        ("shop.app:OPTIONS", "'shop.app:OPTIONS' is a dict, not a Tenancy or AsyncTenancy."),
        ("shop.app:Invoice", "'shop.app:Invoice' is a DeclarativeAttributeIntercept, not a Tenancy"),
        ("shop.broken:x", "importing 'shop.broken:x' raised ZeroDivisionError: division by zero."),
        ("shop.needs:x", "importing 'shop.needs:x' raised ModuleNotFoundError: No module named 'not_installed'."),
        ("shop.factories:needs_argument", "calling 'shop.factories:needs_argument' raised TypeError"),
        ("shop.factories:misconfigured", "error: The database URL cannot be parsed."),
        ("shop.factories:later", "'shop.factories:later' is an async function, which no command awaits."),
        ("shop.misconfigured:x", "error: The database URL cannot be parsed."),
        ("shop.exits:x", "importing 'shop.exits:x' raised SystemExit: 0. Run"),
        ("shop.factories:exits", "calling 'shop.factories:exits' raised SystemExit. Run"),
        ("shop.talks:x", "importing 'shop.talks:x' raised ValueError: No luck. Try again. Run"),
        ("shop.silent:x", "importing 'shop.silent:x' raised Silent. Run"),
        (
            "shop.factories:later_on.tenancy",
            "reading 'shop.factories:later_on.tenancy' raised RuntimeError: not yet. Run",
        ),
        ("./shop/nowhere.py:x", "shop/nowhere.py', which './shop/nowhere.py:x' names."),
        ("/:x", "There is no file '/', which '/:x' names."),
        ("./:x", "which './:x' names."),
    ],
)
def test_an_application_that_cannot_be_loaded_is_an_error_of_one_line(
    project: Project, reference: str, message: str
) -> None:
    project.write("shop/broken.py", "1 / 0")
    project.write("shop/needs.py", "import not_installed")
    project.write("shop/exits.py", "import sys\nsys.exit(0)")
    project.write("shop/silent.py", "class Silent(Exception):\n    def __str__(self): 1 / 0\nraise Silent")
    project.write("shop/talks.py", "raise ValueError('No luck.\\n\\nTry again...')")
    project.write(
        "shop/factories.py",
        "def needs_argument(one): ...\n"
        "def exits():\n    raise SystemExit\n"
        "async def later(): ...\n"
        "class Later:\n    @property\n    def tenancy(self): raise RuntimeError('not yet')\n"
        "later_on = Later()\n"
        "def misconfigured():\n    from tenantkit import Tenancy\n    return Tenancy('://secret', tenant=None)",
    )
    project.write("shop/misconfigured.py", "from shop.factories import misconfigured\nx = misconfigured()")
    done = project.invoke("list", "-a", reference)
    assert (done.code, done.out) == (1, "")
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "reference",
    [
        "./shop/app.py:tenancy",
        "shop/app.py:tenancy",
        "shop/app:tenancy",
        "{here}/shop/app.py:tenancy",
        "./front:tenancy",
    ],
)
def test_an_application_is_found_by_the_path_of_its_file(fleet: Project, reference: str) -> None:
    fleet.write("front/__init__.py", "from .wiring import tenancy")
    fleet.write("front/wiring.py", "from shop.app import tenancy")
    done = fleet.invoke("list", "-a", reference.format(here=fleet.folder), "--json")
    assert (done.code, [tenant["key"] for tenant in done.json]) == (0, ["acme", "initech", "umbrella"])


def test_an_application_named_by_path_imports_modules_of_its_folder(fleet: Project) -> None:
    fleet.write("scripts/models_of_saas.py", "from shop.app import OPTIONS")
    fleet.write(
        "scripts/saas.py",
        "import os\nfrom models_of_saas import OPTIONS\nfrom tenantkit import Tenancy\n"
        "tenancy = Tenancy(os.environ['DATABASE_URL'], **OPTIONS)",
    )
    assert fleet.invoke("show", "acme", "-a", "./scripts/saas.py:tenancy").code == 0


@pytest.mark.all_cases
def test_python_m_is_the_same_command_line(fleet: Project) -> None:
    module = [sys.executable, "-m", "tenantkit"]
    done = subprocess.run([*module, "show", "acme"], cwd=fleet.folder, capture_output=True, text=True, check=True)
    assert done.stdout == fleet.run("show", "acme").out
    wrong = subprocess.run([*module, "nope"], cwd=fleet.folder, capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, "error: No such command 'nope'. See 'tenantkit --help'.\n")


def test_an_interrupted_import_of_the_application_shows_no_traceback(bare_project: Project) -> None:
    bare_project.write("shop/slow.py", "import time\nprint('loading', flush=True)\ntime.sleep(60)")
    terminal = bare_project.at_terminal("list", "-a", "shop.slow:x", is_measured=False)
    terminal.wait_for("loading\n")
    terminal.interrupt()
    done = terminal.result()
    assert (done.code, done.out, done.err.replace("^C", "")) == (130, "", "loading\n")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("module", ["sqlalchemy", "typer"])
@pytest.mark.parametrize("start", [["-m", "tenantkit"], ["-c", CONSOLE_SCRIPT]], ids=["module", "script"])
def test_a_signal_while_the_command_line_is_imported_ends_it(
    start: list[str], module: str, number: int, tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text(f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(60)")
    environment = {**unmeasured(), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, *start], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


def test_verbose_shows_where_an_application_broke(project: Project) -> None:
    broken = project.write("shop/broken.py", "1 / 0")
    done = project.invoke("list", "-a", "shop.broken:x", "-v")
    assert done.code == 1
    assert f'File "{broken}", line 1' in done.err
    assert done.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[tool.tenantkit", "cannot be read"),
        ("[tool.tenantkit]\napp = 1", "app is no string"),
        ("[tool]\ntenantkit = 5", "'tenantkit' is no table. Write [tool.tenantkit]"),
        ("tool = ['tenantkit']", "'tool' is no table"),
        ("[[tool.tenantkit]]\napp = 'shop.app:tenancy'", "'tenantkit' is no table"),
    ],
)
def test_a_broken_pyproject_is_named(bare_project: Project, content: str, message: str) -> None:
    file: Path = bare_project.write("pyproject.toml", content)
    done = bare_project.invoke("list")
    assert done.code == 1
    assert str(file) in done.err
    assert message in done.err


@pytest.mark.parametrize("command", ["list", "lint"])
def test_a_removed_working_folder_is_named(
    command: str, bare_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    done = bare_project.invoke(command)
    assert done.err == "error: The current folder does not exist any more. Go to the project's folder.\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["list", "-a", "x:y", "--json", "-v"], ["-a", "x:y", "-v", "list", "--json"]),
        (["list", "--app=x:y"], ["--app=x:y", "list"]),
        (["show", "--", "-v"], ["show", "--", "-v"]),
        (["list", "-a"], ["-a"]),
    ],
)
def test_global_options_are_accepted_before_and_after_each_command(given: list[str], expected: list[str]) -> None:
    assert globals_first(given) == expected


@pytest.mark.parametrize("option", ["-a", "--app"])
def test_an_option_without_its_value_is_named(project: Project, option: str) -> None:
    done = project.invoke("list", option)
    assert (done.code, done.out) == (2, "")
    assert f"Option '{option}' requires an argument" in done.err
