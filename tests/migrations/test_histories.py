"""Two realistic histories: upgrade and downgrade have the same result for tenants as for one schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import URL

from tests.migrations.histories import dashboards, incidents
from tests.migrations.histories.running import run_history


@pytest.mark.all_cases
@pytest.mark.parametrize("engine", ["auto", "alembic"])
@pytest.mark.parametrize("history", [incidents, dashboards], ids=["incidents", "dashboards"])
def test_a_history_has_the_same_result_for_each_tenant_as_for_one_schema(
    history: ModuleType, engine: str, tmp_path: Path, make_database: Callable[..., URL]
) -> None:
    run_history(history, engine, tmp_path / "migrations", make_database)
