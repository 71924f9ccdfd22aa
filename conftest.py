"""What the tests of the package, of the examples and of the documentation have in common."""

from __future__ import annotations

import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem

from tests.support import documents

pytest_plugins = ["tests.support.databases"]

project = documents.project

pytest_collect_file = Sybil(
    parsers=[documents.parse],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    fixtures=["project"],
    setup=documents.name_module,
    teardown=documents.close_tenancies,
).pytest()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the blocks of each document back in their order: they build on one another."""
    blocks = [item for item in items if isinstance(item, SybilItem)]
    blocks.sort(key=lambda block: (block.path, block.example.start))
    items[:] = [*(item for item in items if not isinstance(item, SybilItem)), *blocks]
