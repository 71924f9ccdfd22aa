"""A baseline builds what the revisions have built, for every operation that revisions have."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from sqlalchemy import URL, MetaData, NullPool, create_engine

from tenantkit import Tenancy
from tenantkit.baseline import squash
from tenantkit.migrations import init
from tests.migrations.environments import Environment
from tests.migrations.histories import dashboards, incidents
from tests.migrations.parity import operations
from tests.migrations.shapes import differences, look
from tests.migrations.test_parity import CASES, ENV, tenancy_of


@pytest.mark.all_cases
def test_a_baseline_builds_the_result_of_every_operation(all_cases: bool, empty_database: URL, tmp_path: Path) -> None:
    url = empty_database
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA shared CREATE TABLE country (code text PRIMARY KEY)")
    wrong: dict[str, list[str]] = {}
    for number, (case, code) in enumerate(CASES.items()):
        if number % (6 if all_cases else 48):
            continue
        folder = tmp_path / "migrations"
        shutil.rmtree(folder, ignore_errors=True)
        (tmp_path / "alembic.ini").unlink(missing_ok=True)
        init(folder)
        (folder / "env.py").write_text(ENV)
        ini = folder.parent / "alembic.ini"
        ini.write_text(ini.read_text().replace("[tenant]", "[tenant]\nmy_setting = configured"))
        environment = Environment(folder)
        environment.add("one", f"S = 'tenant'\n{operations.BASE}")
        environment.add("two", f"S = 'tenant'\n{dedent(code)}")
        with closing(tenancy_of(url, folder, "tenant")) as tenancy:
            tenancy.install()
            tenancy.create(f"before{number}")
            squash(tenancy)
            tenancy.create(f"after{number}")
            with engine.connect() as connection:
                before, after = (
                    look(connection, tenancy.get(key).schema) for key in (f"before{number}", f"after{number}")
                )
            if found := [line for line in differences(after, before) if " NOT NULL " not in line]:
                wrong[case] = found
            tenancy.drop(f"before{number}")
            tenancy.drop(f"after{number}")
    assert wrong == {}


@pytest.mark.all_cases
@pytest.mark.parametrize("history", [incidents, dashboards], ids=["incidents", "dashboards"])
def test_a_realistic_history_is_replaced_by_its_result(
    history: ModuleType, empty_database: URL, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    init(folder)
    env = folder / "env.py"
    env.write_text(f"{history.IMPORTS}\n{env.read_text()}")
    for revision in history.REVISIONS:
        revision.write(Environment(folder))
    metadata = MetaData(schema="tenant", naming_convention=history.CONVENTION)
    for key in ("before", "after"):
        with closing(Tenancy(empty_database, tenant=metadata, migrations=folder, listen=False)) as tenancy:
            tenancy.install()
            tenancy.create(key)
            if key == "before":
                assert squash(tenancy).left_out == ()
    with create_engine(empty_database, poolclass=NullPool).connect() as connection:
        before, after = (look(connection, f"t_{key}") for key in ("before", "after"))
    assert [line for line in differences(after, before) if " NOT NULL " not in line] == []
