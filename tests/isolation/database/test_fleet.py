"""Many databases of single tenants are migrated, checked and listed together."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from tenantkit import MigrationError, Tenancy, drift, migrations
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
