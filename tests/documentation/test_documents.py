"""The documentation is run as a reader types it: hidden blocks prepare nothing."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from sybil import Document
from sybil.example import SybilFailure

from tests.support import documents

pytestmark = pytest.mark.each_value


@pytest.fixture
def project(tmp_path: Path) -> Generator[documents.Project]:
    """A document's folder and shell."""
    project = documents.Project(tmp_path, "postgresql://")
    yield project
    project.close()


def run(project: documents.Project, text: str) -> None:
    """Run the blocks of a document."""
    document = Document(text, str(project.folder / "page.md"))
    for region in sorted(documents.parse(document), key=lambda region: region.start):
        document.add(region)
    document.namespace["project"] = project
    for example in document.examples():
        example.evaluate()


def test_a_block_that_begins_with_the_name_of_a_file_is_that_file(project: documents.Project) -> None:
    run(
        project,
        "```python\n# saas.py\nx = 1\n```\n\n```sh\npython -c 'from saas import x; print(x)'\n```\n\n```text\n1\n```\n",
    )
    assert (project.folder / "saas.py").read_text() == "# saas.py\nx = 1\n"


@pytest.mark.parametrize(
    ("hidden", "visible"),
    [
        ("python\nx = 1", "python\nassert x == 1"),
        ("python\nfrom os import path", "python\nassert path"),
        ("sh\nexport X=1", "sh\ntest $X = 1"),
        ("sh\nX=1", "sh\ntest $X = 1"),
    ],
)
def test_names_of_a_hidden_block_are_removed_after_it(project: documents.Project, hidden: str, visible: str) -> None:
    with pytest.raises((NameError, AssertionError)):
        run(project, f"<!-- hidden: {hidden}\n-->\n\n```{visible}\n```\n")


@pytest.mark.parametrize("hidden", ["echo 'x = 1' > saas.py", "mkdir a; touch a/b", "rm page.txt", "echo >> page.txt"])
def test_a_hidden_block_may_not_write_files(project: documents.Project, hidden: str) -> None:
    (project.folder / "page.txt").write_text("here\n")
    with pytest.raises(AssertionError, match="may not write files"):
        run(project, f"<!-- hidden: sh\n{hidden}\n-->\n")


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("from pathlib import Path\nPath('saas.py').write_text('x = 1')", "may not write files"),
        ("from pathlib import Path\nPath('page.txt').unlink()", "may not write files"),
        ("import os\nos.environ['X'] = '1'", "may not set environment variables"),
    ],
)
def test_a_hidden_block_of_python_may_not_write_files_either(
    project: documents.Project, monkeypatch: pytest.MonkeyPatch, hidden: str, message: str
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("X", raising=False)
    (project.folder / "page.txt").write_text("here\n")
    with pytest.raises(AssertionError, match=message):
        run(project, f"<!-- hidden: python\n{hidden}\n-->\n")
    os.environ.pop("X", None)


def test_a_hidden_block_reads_and_does_not_change_names_of_visible_blocks(project: documents.Project) -> None:
    run(
        project,
        "```python\nx = 1\n```\n\n<!-- hidden: python\nassert x == 1\nx = 2\n-->\n\n```python\nassert x == 1\n```\n\n"
        "```sh\nX=1\necho shown\n```\n\n<!-- hidden: sh\ntest $X = 1\necho checked\n-->\n\n```text\nshown\n```\n",
    )
    with pytest.raises(SybilFailure):
        run(project, "```sh\necho shown\n```\n\n<!-- hidden: sh\necho checked\n-->\n\n```text\nchecked\n```\n")


def test_a_hidden_check_that_fails_is_a_failure(project: documents.Project) -> None:
    for hidden in ("python\nassert False", "sh\nfalse\ntrue"):
        with pytest.raises(AssertionError):
            run(project, f"<!-- hidden: {hidden}\n-->\n")


def test_a_command_is_forked(project: documents.Project) -> None:
    (project.folder / "app.py").write_text("import os\nprint(os.getppid())\n")
    project.run("tenantkit list -a app:nothing || echo $$")
    parent, *_, shell = project.printed.split()
    assert parent != shell
