"""The revisions in the documentation have no findings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tenantkit import Tenancy
from tenantkit.lint import lint
from tests.lint.snippets import revision
from tests.support.notes import SharedBase, TenantBase

pytestmark = pytest.mark.each_value

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    file
    for file in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if file.parent.name not in {"lint", "_build"} and "migrations/" in file.read_text()
)
BLOCK = re.compile(
    r"^```(?:\{code-block\} )?python\n(?::caption: |# )[\w/]*migrations/(shared|tenant)/(\w+\.py)\n\n?(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
BAD_ON_PURPOSE = {("lint.md", "0002_categories.py"): "t_acme"}
"""By document and file, with a word of the version with findings."""
OTHER_SHARED_SCHEMAS = ["dispatch_core"]
"""The schemas of shared tables in documents with another one than ``shared``."""


def revisions() -> list[tuple[str, str, str, str]]:
    return [
        (file.name, line, name, source)
        for file in DOCUMENTS
        for line, name, source in BLOCK.findall(file.read_text())
        if BAD_ON_PURPOSE.get((file.name, name), "\0") not in source
    ]


def test_there_are_revisions_in_the_documentation() -> None:
    assert len(revisions()) >= 10


@pytest.mark.parametrize(("document", "line", "name", "source"), revisions(), ids=lambda value: str(value)[:40])
def test_a_revision_of_the_documentation_has_no_findings(
    document: str, line: str, name: str, source: str, migrations: Path, nowhere: Callable[..., Tenancy]
) -> None:
    (migrations / line / name).write_text(source)
    for before in re.findall(r'^down_revision.* = "(.*)"', source, re.MULTILINE):
        (migrations / line / "before.py").write_text(revision("pass", name=before))
    tenancy = nowhere(shared=SharedBase.metadata, tenant=TenantBase.metadata, extra_schemas=OTHER_SHARED_SCHEMAS)
    assert lint(tenancy).findings == (), document
