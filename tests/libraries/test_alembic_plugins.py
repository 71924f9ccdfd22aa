"""alembic_utils and alembic-postgresql-enum: their operations use the placeholder for the tenant's schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.migrations.histories import plugins
from tests.migrations.histories.running import run_history

pytest.importorskip("alembic_utils", reason="'make test-libraries' installs alembic_utils")
pytest.importorskip("alembic_postgresql_enum", reason="'make test-libraries' installs alembic-postgresql-enum")


@pytest.mark.parametrize("engine", ["alembic", "auto"])
def test_a_history_of_plug_ins_has_the_same_effect_on_five_tenants_as_on_one_schema(
    engine: str, tmp_path: Path, make_database: Callable[..., URL]
) -> None:
    run_history(plugins, engine, tmp_path / "migrations", make_database)
