"""Many databases of single tenants are migrated, checked and listed together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine, text
from sqlalchemy.exc import OperationalError

from tenantkit import MigrationError, ProvisioningError, Tenancy, drift, migrations
from tenantkit.placement import fill_first
from tests.isolation.database.conftest import APPLICATION
from tests.isolation.two_databases import Note, Plan
from tests.many_databases.conftest import R2
from tests.migrations.environments import Environment

KEYS = ("acme", "berta", "corp", "dora")


def _heads(tenancy: Tenancy) -> dict[str, str | None]:
    return {each.key: each.revision for each in migrations.status(tenancy).placements}


def test_one_script_is_replayed_in_all_databases_of_tenants(tenancy: Tenancy, environment: Environment) -> None:
    for key in KEYS:
        tenancy.create(key)
    tenancy.create("near", isolation="schema")
    environment.add("r2", R2)
    preview = migrations.preview(tenancy, scripts=True)
    assert sorted(len(group.placements) for group in preview.groups) == [1, len(KEYS)]
    assert preview.would_fail == ()
    report = migrations.migrate(tenancy, max_connections=8)
    engines = {outcome.key: outcome.engine for outcome in report.outcomes}
    assert len(engines) == len(KEYS) + 1
    assert [engines[key] for key in KEYS].count("replay") == len(KEYS) - 2
    assert set(_heads(tenancy).values()) == {"r2"}
    assert not drift.check(tenancy).has_drift


def test_a_database_that_is_gone_fails_its_tenant_only(
    tenancy: Tenancy, environment: Environment, server: Engine
) -> None:
    for key in KEYS[:2]:
        tenancy.create(key)
    with tenancy.session("acme") as session:
        assert session.scalar(text("SELECT count(*) FROM note")) == 0
    name = tenancy.get("berta").placement.database.partition("/")[2]
    tenancy.databases.dispose()
    with server.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}"')
    missing = f'database "{name}" does not exist'
    with tenancy.session("berta") as session, pytest.raises(OperationalError, match=missing):
        session.execute(text("SELECT 1"))
    with tenancy.session("acme") as session:
        assert session.scalar(text("SELECT count(*) FROM note")) == 0
    [finding] = tenancy.diagnose()
    assert finding.subject == f"database main/{name}"
    assert missing in finding.problem
    [berta] = [each for each in migrations.databases(tenancy) if each.error is not None]
    assert berta.name == f"main/{name}"
    environment.add("r2", R2)
    with pytest.raises(MigrationError) as caught:
        migrations.migrate(tenancy)
    [failure] = caught.value.report.failures
    assert failure.key == "berta"
    assert missing in str(failure.error)
    assert _heads(tenancy)["acme"] == "r2"
    assert tenancy.drop("berta").key == "berta"
    assert tenancy.diagnose() == []


@pytest.mark.all_cases
@pytest.mark.parametrize("options", [{"engine": "alembic", "jobs": 2}, {"jobs": 0}, {"engine": "replay", "jobs": 2}])
def test_each_way_to_migrate_reaches_every_database(
    tenancy: Tenancy, environment: Environment, options: dict[str, Any]
) -> None:
    for key in KEYS:
        tenancy.create(key)
    environment.add("r2", R2)
    migrations.migrate(tenancy, **options)
    assert _heads(tenancy) == dict.fromkeys(KEYS, "r2")
    migrations.downgrade(tenancy, "r1", **options)
    assert _heads(tenancy) == dict.fromkeys(KEYS, "r1")
    for key in KEYS:
        assert tenancy.at_revision(key, "r1")


def test_the_server_of_another_named_database_is_chosen_and_its_limit_counts(
    url: URL, make_database: Callable[..., URL], environment: Environment
) -> None:
    options = {"placement": fill_first(1), "migrations": environment.folder}
    with closing(Tenancy({"main": url, "eu": make_database()}, **{**APPLICATION, **options})) as tenancy:
        tenancy.install()
        acme, berta = (tenancy.create(key) for key in ("acme", "berta"))
        assert [each.placement.database for each in (acme, berta)] == [
            f"main/{url.database}_acme",
            f"eu/{url.database}_berta",
        ]
        with pytest.raises(ProvisioningError, match="Every database has its 1 tenants"):
            tenancy.create("corp")
        environment.add("r2", R2)
        migrations.migrate(tenancy)
        for tenant in (acme, berta):
            with tenancy.session(tenant) as session:
                session.add(Plan(name=tenant.key))  # a shared table, on main
                session.commit()
                session.add(Note(text="here"))
                session.commit()
                name = session.scalar(text("SELECT current_database()"))
                assert name == tenant.placement.database.partition("/")[2]
        assert tenancy.diagnose() == []
        for tenant in (acme, berta):
            tenancy.drop(tenant.key)
        assert [each.name for each in migrations.databases(tenancy)] == ["main", "eu"]


def test_a_run_that_died_is_reconciled_with_the_ledger_in_each_database(
    tenancy: Tenancy, environment: Environment
) -> None:
    for key in KEYS[:2]:
        tenancy.create(key)
    environment.add("r2", R2)
    migrations.migrate(tenancy)
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.outcomes SET status = 'planned', to_revision = NULL")
    migrations.migrate(tenancy)
    with tenancy.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT status, to_revision FROM tenantkit.outcomes").all()
    assert [tuple(row) for row in rows] == [("done", "r2")] * 2
