"""What the tests of the package, of the examples and of the documentation have in common."""

from __future__ import annotations

from typing import Any

import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from typing_extensions import override
from xdist.scheduler import LoadScopeScheduling

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


class _Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Hands tests out to several processes one by one, but a document as a whole: its blocks build on one another."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.endswith(".md") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Have several processes (``-n 2``) share the tests."""
    return _Scheduler(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the blocks of each document back in their order, and the longest document first."""
    blocks = [item for item in items if isinstance(item, SybilItem)]
    blocks.sort(key=lambda block: (-block.path.stat().st_size, block.path, block.example.start))
    items[:] = [*blocks, *(item for item in items if not isinstance(item, SybilItem))]
