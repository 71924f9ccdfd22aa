"""A page about another library runs if that library is installed, and is skipped otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Document

from tests.support import documents

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "# Page\n\n<!-- needs: {} -->\n\n```python\nassert True\n```\n\n```sh\ntrue\n```\n"


def read(page: str) -> Document:
    document = Document(page, "page.md")
    for region in documents.parse(document):
        document.add(region)
    return document


def test_without_its_library_a_page_is_skipped_with_the_reason() -> None:
    (only,) = read(PAGE.format("sybil, no_such_library, no_other_library"))
    with pytest.raises(pytest.skip.Exception, match=r"no_such_library, no_other_library; 'make test-libraries'"):
        only.evaluate()


def test_with_its_library_a_whole_page_is_run() -> None:
    assert len(list(read(PAGE.format("sybil")))) == 2


def test_every_page_of_a_library_is_short_and_in_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    pages = list((DOCS / "howto" / "use-with").glob("*.md"))
    assert pages
    for page in pages:
        text = page.read_text()
        assert text.count("\n") <= 80, page
        assert "<!-- needs: " in text, page
        assert "<!-- hidden: " not in text, page
        assert f"\nhowto/use-with/{page.stem}\n" in index
        assert f"(howto/use-with/{page.name})" in index
