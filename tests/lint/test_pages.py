"""Each rule has a page, with an example that the rule finds and one that it accepts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tenantkit import Tenancy
from tenantkit.lint import lint
from tenantkit.lint.rules import RULES
from tenantkit.migrations import downgrade, migrate, status, upgrade_shared
from tests.lint.snippets import revision
from tests.support.notes import SharedBase, TenantBase

pytestmark = pytest.mark.each_value

PAGES = Path(__file__).parents[2] / "docs" / "lint"
NOTES = {"shared": SharedBase.metadata, "tenant": TenantBase.metadata}
BLOCK = re.compile(
    r"^```\{code-block\} python\n:caption: migrations/(\w+)/(\w+\.py)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    assert {page.stem.upper() for page in PAGES.glob("tk*.md")} == RULES.keys()
    overview = (PAGES.parent / "howto" / "lint.md").read_text()
    assert [code.upper() for code in re.findall(r"\(\.\./lint/(tk\d+)\.md\)", overview)] == list(RULES)


@pytest.mark.parametrize("code", RULES)
def test_the_page_shows_what_is_found_and_what_to_do_instead(
    code: str, migrations: Path, nowhere: Callable[..., Tenancy]
) -> None:
    page = (PAGES / f"{code.lower()}.md").read_text()
    assert page.startswith(f"# {code}: {RULES[code].title}\n")
    bad, good = page.split("## Instead")
    assert code in find(bad, migrations, nowhere, code)
    assert find(good, migrations, nowhere, code) == set()


@pytest.mark.some_values(code=8)
@pytest.mark.parametrize("code", RULES)
def test_the_recommended_revisions_can_be_run(
    code: str, migrations: Path, make_tenancy: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(migrations)  # a revision writes a file
    _, good = (PAGES / f"{code.lower()}.md").read_text().split("## Instead")
    (migrations / "shared" / "0002.py").write_text(
        revision(
            """
            op.create_table("colour", sa.Column("name", sa.String, primary_key=True), schema="shared")
            op.execute("INSERT INTO shared.colour VALUES ('red')")
        """,
            name="0002",
        )
    )
    (migrations / "tenant" / "0006.py").write_text(
        revision(
            """
            op.execute("CREATE TABLE note (id int PRIMARY KEY, text text, colour_name text REFERENCES shared.colour)")
            op.execute("CREATE TABLE change (note_id int PRIMARY KEY, count int)")
            op.execute("INSERT INTO note VALUES (1, '', 'red'), (2, 'Some text', NULL)")
        """,
            name="0006",
        )
    )
    tenancy = make_tenancy(**NOTES, migrations=migrations)
    upgrade_shared(tenancy, "head")
    tenancy.create("acme")
    for line, name, source in BLOCK.findall(good):
        (migrations / line / name).write_text(source)
    migrate(tenancy, jobs=0)
    assert status(tenancy).is_current
    downgrade(tenancy, "0006", jobs=0)


def find(text: str, migrations: Path, nowhere: Callable[..., Tenancy], code: str) -> set[str]:
    """Return the findings in the revisions of *text*, after empty earlier ones; the rule *code* is enabled."""
    blocks = BLOCK.findall(text)
    assert blocks
    files = []
    for line, name, source in blocks:
        files.append(migrations / line / name)
        files[-1].write_text(source)
        if (before := re.findall(r'^down_revision = "(.*)"', source, re.MULTILINE)[0]) not in {
            each[1][:4] for each in blocks
        }:
            files.append(migrations / line / f"{before}.py")
            files[-1].write_text(revision("pass", name=before))
    found = {finding.code for finding in lint(nowhere(**NOTES), enable=[code]).findings}
    for file in files:
        file.unlink()
    return found
