"""Running the documentation: what becomes of each kind of code block.

- `python` runs here; all blocks of a document share their names.
- A block with a caption, or with the name of a file as its first comment, is a file, written to the document's own
  folder.
- `sh` runs in a bash of the document's own, in that folder; it fails if a command does.
- A block marked `<!-- installs -->` runs in a copy of the source tree, and only if `TENANTKIT_TEST_INSTALL` is set,
  because it needs the network.
- A block marked `<!-- run by CI -->` is a step of `.ci/run` instead.
- A document marked `<!-- needs: quart -->` is skipped where that module is not installed; `make test-libraries`
  installs all of them.
- A document marked `<!-- all cases -->` takes long: `make test-more` runs it, `make test` does not.
- `text` is part of what the `sh` block before it printed; `...` stands for anything.
- A hidden block may only check what the visible ones have made: what it defines, and what it exports, is gone after it,
  and it writes no files.

`DATABASE_URL` names an empty database of the document's own. Nothing else is prepared.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Lexeme, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.typing import Evaluator

from tenantkit import Tenancy
from tests.support import commands
from tests.support.commands.server import interpreter_settings
from tests.support.ports import free_port

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>installs|run by CI) -->\n\n)?"
    r"(?P<fence>```+)(?:\{code-block\} )?(?P<language>[a-z]+)\n(?::caption: (?P<caption>[^\n]+)\n\n?)?"
    r"(?P<source>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# (?P<caption>[\w./-]+\.\w+)\n")
_NEEDS = re.compile(r"^<!-- needs: (?P<modules>[\w, ]+) -->$", re.MULTILINE)
_ALL_CASES = "\n<!-- all cases -->\n"
_HIDDEN = re.compile(r"^<!-- hidden: (?P<language>[a-z]+)\n(?P<source>.*?)^-->$", re.MULTILINE | re.DOTALL)
_PORT_IN_DOCUMENTS = "8000"
_END = "--- end of block ---\n"


class Project:
    """A document's folder, database and shell."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.printed = ""
        programs = folder.with_name(f"{folder.name}-programs")
        programs.mkdir()
        commands.write_script(programs)
        self._environment = {
            "DATABASE_URL": url,
            "HOME": os.environ.get("HOME", str(folder)),
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            # A page's own pytest would take the rights of the server's account to the folder of this one away.
            "PYTEST_DEBUG_TEMPROOT": str(folder.parent),
            # All that Python reads when it starts: else commands could not be forked.
            **interpreter_settings(os.environ),
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        }
        self._shell: subprocess.Popen[str] | None = None

    def run(self, script: str) -> None:
        """Run a script in the document's shell, and keep what it prints."""
        shell = self._shell = self._shell or self._open_shell()
        assert shell.stdin
        assert shell.stdout
        script = script.replace(_PORT_IN_DOCUMENTS, str(self.port))
        shell.stdin.write(f"failed=\n{script}\nprintf '\\n%s\\n{_END}' \"$failed\"\n")
        shell.stdin.flush()
        lines: list[str] = []
        for line in shell.stdout:
            if line == _END:
                break
            lines.append(line)
        printed, _, failed = "".join(lines).removesuffix("\n").rpartition("\n")
        self.printed = printed.replace(str(self.port), _PORT_IN_DOCUMENTS).rstrip()
        assert not failed, f"{failed}\n{self.printed}"

    def files(self) -> dict[Path, str]:
        """Return what stands in the folder, except for what programs keep there for themselves."""
        kept = ("__pycache__", ".tenantkit", ".venv")
        return {
            file: file.read_text()
            for file in self.folder.rglob("*")
            if file.is_file() and file.suffix != ".log" and not {*file.parts} & {*kept}
        }

    def close(self) -> None:
        """End the shell, and what it left in the background."""
        if self._shell is not None:
            try:
                self._shell.communicate("kill $(jobs -p) 2>/dev/null; wait\n", timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(self._shell.pid, signal.SIGKILL)
                raise

    def _open_shell(self) -> subprocess.Popen[str]:
        shell = subprocess.Popen(
            ["bash", "--norc"],
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        assert shell.stdin
        shell.stdin.write("trap 'failed=\"exit code $? of: $BASH_COMMAND\"' ERR\n")
        shell.stdin.write(f"type curl >/dev/null 2>&1 || curl() {{ {sys.executable} -c '{_CURL}' \"$@\"; }}\n")
        return shell


_CURL = """
import sys, time, urllib.error, urllib.request
url = next(each for each in sys.argv[1:] if each.startswith("http"))
data = sys.argv[sys.argv.index("--data") + 1].encode() if "--data" in sys.argv else None
for left in range(60 if "--retry-connrefused" in sys.argv else 0, -1, -1):
    try: response = urllib.request.urlopen(url, data)
    except urllib.error.HTTPError as error: response = error
    except urllib.error.URLError:
        if not left: raise
        time.sleep(1)
        continue
    break
print(response.read().decode(), end="")
"""
"""For a machine without curl, as much of it as the documents use."""


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, make_template: Any, request: pytest.FixtureRequest
) -> Generator[Project]:
    """The surroundings of one document."""
    url = make_template().render_as_string(hide_password=False)
    named = re.search(r"^cd \.\./(\w+)$", request.path.read_text(), re.MULTILINE)
    folder = tmp_path_factory.mktemp(request.path.stem) / (named[1] if named else "project")
    folder.mkdir()
    project = Project(folder, url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        patch.chdir(project.folder)
        patch.syspath_prepend(project.folder)
        yield project
    project.close()
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]  # another document has another one of this name


def parse(document: Document) -> Iterable[Region]:
    """Find the code blocks of a document, for Sybil; of one whose modules are missing, nothing but that."""
    if (needs := _NEEDS.search(document.text)) and (missing := _missing(needs["modules"])):
        yield Region(needs.start(), needs.end(), missing, _skip)
        return
    for pattern in (_BLOCK, _HIDDEN):
        for match in pattern.finditer(document.text):
            block = match.groupdict()
            if block.get("mark") == "run by CI":
                continue
            if pattern is _BLOCK and (file := _FILE.match(block["source"])):
                block |= file.groupdict()
            hidden = "hidden " if pattern is _HIDDEN else ""
            kind = block.get("mark") or (block.get("caption") and "file") or hidden + block["language"]
            source = Lexeme(block["source"], 0, document.text.count("\n", match.start(), match.start("source")) - 1)
            yield Region(match.start(), match.end(), source, _EVALUATORS[kind], block)


def _missing(modules: str) -> list[str]:
    return [module for module in modules.split(", ") if importlib.util.find_spec(module) is None]


def takes_long(document: Document) -> bool:
    """Whether the document is left out by default."""
    return _ALL_CASES in document.text


def name_module(namespace: dict[str, Any]) -> None:
    """Let the blocks believe that they are a script."""
    namespace["__name__"] = "__main__"


def close_tenancies(namespace: dict[str, Any]) -> None:
    """Close the connections of a document's tenancies."""
    for tenancy in [each for each in namespace.values() if isinstance(each, Tenancy)]:
        tenancy.close()


def _write(example: Example) -> None:
    project: Project = example.namespace["project"]
    file = project.folder / str(example.region.lexemes["caption"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(example.parsed)


def _skip(example: Example) -> None:
    pytest.skip(f"needs {', '.join(example.parsed)}; 'make test-libraries' installs what the pages of libraries need")


def _run(example: Example) -> None:
    example.namespace["project"].run(example.parsed)


def _check_in_shell(example: Example) -> None:
    project: Project = example.namespace["project"]
    before = project.files()
    printed = project.printed
    project.run(f"(set -e\n{example.parsed})")
    project.printed = printed
    assert project.files() == before, "A hidden block may not write files."


def _check_in_python(example: Example) -> None:
    project: Project = example.namespace["project"]
    files, names, variables = project.files(), dict(example.namespace), dict(os.environ)
    try:
        _python(example)
    finally:
        example.namespace.clear()
        example.namespace.update(names)
    assert project.files() == files, "A hidden block may not write files."
    assert dict(os.environ) == variables, "A hidden block may not set environment variables."


def _install(example: Example) -> None:
    if "TENANTKIT_TEST_INSTALL" not in os.environ:
        pytest.skip("installs from the network; set TENANTKIT_TEST_INSTALL=1 to run it")
    project: Project = example.namespace["project"]
    clone = project.folder.parent / "clone"
    shutil.copytree(_ROOT / "src", clone / "src")
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(_ROOT / name, clone)
    project.run(f"cd {clone}\n{example.parsed}")


def _compare(example: Example) -> str | None:
    printed: str = example.namespace["project"].printed
    words = [re.escape(word).replace(re.escape("..."), ".*") for word in example.parsed.split()]
    if re.search(r"\s+".join(words), printed, re.DOTALL):
        return None
    return f"The command before this printed:\n{printed}"


_python = PythonEvaluator()

_EVALUATORS: dict[str, Evaluator] = {
    "python": _python,
    "hidden python": _check_in_python,
    "file": _write,
    "sh": _run,
    "hidden sh": _check_in_shell,
    "installs": _install,
    "text": _compare,
}
