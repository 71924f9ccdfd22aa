"""Fault tests in two sizes: by default a few faults of each kind, with ``--all-faults`` all of them."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the large size."""
    parser.addoption("--all-faults", action="store_true", help="inject all faults, not just a few of each kind")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "faults: injects faults, more of them with --all-faults")
    config.addinivalue_line("markers", "all_faults: runs only with --all-faults")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the large size."""
    if config.getoption("all_faults"):
        return
    left_out = [item for item in items if item.get_closest_marker("all_faults")]
    items[:] = [item for item in items if not item.get_closest_marker("all_faults")]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def all_faults(pytestconfig: pytest.Config) -> bool:
    """Whether all faults are to be injected."""
    return bool(pytestconfig.getoption("all_faults"))
