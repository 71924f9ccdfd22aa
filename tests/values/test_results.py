"""Results of the package can be pickled, for task queues and process pools."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import MetaData

from tenantkit import MigrationError, Tenancy, drift, lint, migrations
from tenantkit.asyncio import AsyncTenancy
from tests.migrations.environments import Environment


@pytest.fixture
def environment(environment: Environment) -> Environment:
    environment.add("t1", 'op.create_table("note", sa.Column("id", sa.Integer), schema="tenant")')
    return environment


def test_every_result_can_be_pickled_and_copied(make_tenancy: Callable[..., Tenancy], environment: Environment) -> None:
    tenancy = make_tenancy(migrations=environment.folder)
    for key in ("acme", "beta", "gamma", "delta"):
        tenancy.create(key)
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE t_acme.note ADD COLUMN extra varchar(5) DEFAULT 'x'")
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'failed' WHERE key = 'delta'")
    environment.add("t2", 'op.execute("ALTER TABLE note ADD COLUMN extra text")')
    results: dict[str, Any] = {
        "preview": migrations.preview(tenancy, scripts=True),
        "drift": drift.check(tenancy, models=True),
        "lint": lint.lint(tenancy),
        "findings": tenancy.diagnose(),
    }
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(tenancy)
    results |= {
        "error": failed.value.report,
        "groups": failed.value.report.failure_groups,
        "downgrade": migrations.downgrade(tenancy, "t1"),
        "status": migrations.status(tenancy),
        "runs": migrations.list_runs(tenancy),
        "run": migrations.get_run(tenancy, 1),
        "failed": migrations.failed(tenancy),
        "tables": tenancy.tables.placeholder,
        "advance": migrations.StepProgress(key="acme", step="backfill of note", rows=1, percent=2),
        "waiting": migrations.Waiting(key="acme", blockers=(migrations.Blocker(pid=7),)),
        "wave": migrations.Wave(run_id=1, number=1, count=2, outcomes=failed.value.report.outcomes),
    }
    assert results["drift"].odd
    assert results["findings"]
    for name, result in results.items():
        for found in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):  # noqa: S301
            assert (found, repr(found)) == (result, repr(result)), name
    odd = results["drift"].odd[0]
    assert pickle.loads(pickle.dumps(odd)).script("acme") == odd.script("acme")  # noqa: S301


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", [Tenancy, AsyncTenancy])
def test_a_tenancy_cannot_be_copied_and_says_what_can(kind: Any, way: Callable[[Any], Any]) -> None:
    tenancy = kind("postgresql+psycopg://nobody@127.0.0.1:1/nothing", tenant=MetaData(schema="tenant"))
    with pytest.raises(TypeError, match=f"A {kind.__name__} cannot be pickled or copied.*pass tenants, or their keys"):
        way(tenancy)
