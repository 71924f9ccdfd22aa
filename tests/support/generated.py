"""Settings of Hypothesis for all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings


def pytest_configure(config: pytest.Config) -> None:
    """Let examples take their time: on a loaded machine that says nothing about the code."""
    settings.register_profile("tenantkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("tenantkit")
