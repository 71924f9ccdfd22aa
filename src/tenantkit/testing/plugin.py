"""The entry point of the pytest plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures. They are imported only now, after plugins that measure coverage have started."""
    config.pluginmanager.import_plugin("tenantkit.testing.fixtures")
