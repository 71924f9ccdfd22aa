"""Descriptions of tenants and their scheduled drops in each isolation, by an ordinary owner of the tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from tenantkit import TenantNotFoundError, TenantUnavailableError, lifecycle, migrations, transfer
from tenantkit.usage import describe
from tests.isolation.contract.application import KEYS, Project, Task
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import KINDS, ROW, Kind

OURS, THEIRS = 300, 100


def fill(session: Session, number: int) -> None:
    session.add_all(Task(title=f"{n} {'x' * 100}", project_id=1) for n in range(number))


def names(session: Session) -> Any:
    return sorted(session.scalars(select(Project.name))), len(session.scalars(select(Task.id)).all())


def assert_described(deployment: Deployment, kind: Kind) -> None:
    operator = deployment.operator
    found, estimated = describe(operator, "acme", count=True), describe(operator, "acme")
    rows = {each.name: each.rows for each in found.tables}
    assert (rows["task"], rows["project"]) == (OURS, 1)
    assert found.rows == sum(rows.values())
    assert abs({each.name: each.rows for each in estimated.tables}["task"] - OURS) <= 60
    sizes: dict[str, Any] = {
        key: {each.name: each.size for each in describe(operator, key, count=True).tables} for key in KEYS
    }
    for each in sizes.values():
        assert all(size is not None and 0 <= size < 2_000_000 for size in each.values())
    assert sizes["acme"]["task"] > sizes["globex"]["task"] > 0
    assert [each.size for each in found.tables] == sorted(sizes["acme"].values(), reverse=True)
    assert (found.revision, found.problem) == (describe(operator, "globex").revision, None)
    assert found.revision is not None
    with closing(kind.make({name: engine.url for name, engine in deployment.engines.items()})) as superuser:
        assert describe(superuser, "acme", count=True) == found, "also where row security does not hold"


@pytest.mark.some_values(kind=5)
@pytest.mark.parametrize("kind", [ROW, *(kind for kind in KINDS if kind is not ROW)], ids=lambda kind: kind.name)
def test_a_tenant_is_described_kept_and_dropped_beside_a_neighbour(
    deploy: Callable[..., Deployment], kind: Kind, tmp_path: Path
) -> None:
    deployment = deploy(kind)
    operator = deployment.operator
    deployment.work("acme", lambda session: fill(session, OURS))
    deployment.work("globex", lambda session: fill(session, THEIRS))
    for engine in deployment.engines.values():
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        engine.dispose()  # the owner may not end a superuser's connection to a database that is dropped
    before = {key: deployment.work(key, names) for key in ("acme", "globex")}
    assert_described(deployment, kind)

    operator.drop("acme", after=timedelta(days=30))
    deployment.application.cache.clear()
    with pytest.raises(TenantUnavailableError, match="drop_scheduled"):
        deployment.work("acme", names)
    assert deployment.work("globex", names) == before["globex"]
    lifecycle.cancel_drop(operator, "acme")
    deployment.application.cache.clear()
    assert deployment.work("acme", names) == before["acme"]

    operator.drop("acme", after=timedelta(days=30))
    deployment.environment.add("later", 'op.execute("SELECT 1")')
    migrations.migrate(operator, jobs=0)
    for key in ("acme", "globex"):
        assert describe(operator, key).history[-1].event == "migrated"
        assert describe(operator, key).revision == "later"
    with deployment.engines["main"].begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET drop_at = now() WHERE key = 'acme'"))
    plan = lifecycle.preview_drop(operator, "acme")
    assert (plan.tenant.key, plan.obstacles) == ("acme", ())
    assert any(word in " ".join(plan.steps) for word in ("tables of the schema", "the database 'tk_"))
    file = tmp_path / "acme.tenant"
    done = lifecycle.drop_due(operator, before=lambda tenant: transfer.backup(operator, tenant.key, file))
    assert ([tenant.key for tenant in done.dropped], done.failures) == (["acme"], {})
    with pytest.raises(TenantNotFoundError):
        operator.get("acme")
    assert deployment.work("globex", names) == before["globex"]
    assert operator.diagnose() == []
    assert transfer.verify(file).tables["task"] == OURS
    gone = describe(operator, "acme")
    assert (gone.tenant, gone.tables) == (None, ())
    assert [entry.event for entry in gone.history][-3:] == ["backed_up", "dropping", "dropped"]

    operator.create("late", **kind.tenants["globex"])
    deployment.environment.add("last", 'op.execute("SELECT 1")')
    migrations.migrate(operator, jobs=0)
    assert describe(operator, "acme").history == gone.history
    assert [entry.event for entry in describe(operator, "late").history] == ["claimed", "created", "migrated"]
    assert [entry.event for entry in describe(operator, "globex").history][-2:] == ["migrated", "migrated"]
