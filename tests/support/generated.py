"""Settings of Hypothesis for all tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.cases import number_of


def pytest_configure(config: pytest.Config) -> None:
    """Let examples take their time: on a loaded machine that says nothing about the code."""
    settings.register_profile("few", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    for size in ("more", "all"):
        settings.register_profile(size, settings.get_profile("few"))
    settings.load_profile(config.getoption("cases"))


def examples(few: int, many: int, **options: Any) -> Callable[[Any], Any]:
    """Give a test *few* examples by default, and *many* where all cases run; *options* are those of Hypothesis.

    With ``--cases=more``, it gets a number between them: the root of their product.
    """
    number = number_of(settings.get_current_profile_name(), few, many)
    in_both_sizes = pytest.mark.usefixtures("all_cases")
    return lambda test: in_both_sizes(settings(max_examples=number, **options)(test))
