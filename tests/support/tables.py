"""Tables of the documentation that say what tests have found: ``--write-tables`` has the tests write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option to write."""
    parser.addoption(
        "--write-tables", action="store_true", help="write what tests find into the tables of the documentation"
    )


@pytest.fixture
def compare_table(pytestconfig: pytest.Config) -> Callable[[str, str, str], None]:
    """Compare the table *name* of a page with the one that a test has found, or write it."""

    def compare(page: str, name: str, found: str) -> None:
        file = DOCS / page
        before, begin, rest = file.read_text().partition(f"<!-- table: {name} -->\n\n")
        written, end, after = rest.partition("\n<!-- end of the table -->\n")
        assert begin, f"{page} has no table {name!r}"
        assert end, f"{page} does not end its table {name!r}"
        if pytestconfig.getoption("write_tables"):
            file.write_text(f"{before}{begin}{found}{end}{after}")
        else:
            assert written == found, f"docs/{page} says something else. Run: pytest tests/isolation --write-tables"

    return compare


def render(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
