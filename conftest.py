"""Configuration of pytest for the tests of the package, of the examples and of the documentation."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from typing_extensions import override
from xdist.scheduler import LoadScopeScheduling

from tests.support import documents

pytest_plugins = [
    "pytester",
    *(
        f"tests.support.{name}"
        for name in (
            "bytecode",
            "cases",
            "collector",
            "databases",
            "extensions",
            "generated",
            "greenlets",
            "hangs",
            "signals",
            "tables",
        )
    ),
]

project = documents.project

pytest_collect_file = Sybil(
    parsers=[documents.parse],
    patterns=["README.md", "docs/*.md", "docs/*/*.md", "docs/*/*/*.md"],
    fixtures=["project"],
    setup=documents.name_module,
    teardown=documents.close_tenancies,
).pytest()


class _Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Distributes tests to several processes one by one, but a document as a whole: its blocks depend on each other."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.endswith(".md") else nodeid

    @override
    def remove_node(self, node: Any) -> str | None:
        """Return the test during which a process died, and give its pending tests to the others.

        xdist's own would distribute units that are done already, after which a process waits forever.
        """
        units = self.assigned_work.pop(node)
        pending: list[tuple[dict[str, bool], str]] = [
            (unit, nodeid) for unit in units.values() for nodeid, is_done in unit.items() if not is_done
        ]
        if not pending:
            return None
        unit, crashed = pending[0]
        unit[crashed] = True
        self.workqueue.update({scope: unit for scope, unit in units.items() if not all(unit.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    @override
    def _reschedule(self, node: Any) -> None:
        if node in self.registered_collections:  # a process that replaces another registers its collection first
            super()._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Distribute the tests to several processes (``-n 2``)."""
    return _Scheduler(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Have one process more than there are processors (``-n auto``): tests wait for servers and other processes."""
    return (yield) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Restore the order of each document's blocks, the longest document first, and mark blocks of long documents."""
    blocks = [item for item in items if isinstance(item, SybilItem)]
    for block in blocks:
        if documents.takes_long(block.example.document):
            block.add_marker("all_cases")
    blocks.sort(key=lambda block: (-block.path.stat().st_size, block.path, block.example.start))
    items[:] = [*blocks, *(item for item in items if not isinstance(item, SybilItem))]
