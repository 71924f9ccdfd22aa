"""What hangs ends, and says where. What fails says so at once, as a run that is stopped prints no summary."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator

import pytest

_LIMIT = 600  # seconds
_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr, which pytest takes away while tests run."""
    config.stash[_STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the process of a test that takes too long, with the traceback of each thread.

    Done by a thread of C, as an exception from a signal's handler may not come through: coverage.py's tracer drops
    what is raised within it, and libpq goes on to wait after a signal.
    """
    faulthandler.dump_traceback_later(_LIMIT, exit=True, file=item.config.stash[_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print a failure when it happens, where the report goes to another process."""
    report = yield
    if report.failed and hasattr(item.config, "workerinput"):
        os.write(item.config.stash[_STDERR], f"\n{report.nodeid}, {report.when}:\n{report.longreprtext}\n".encode())
    return report
