"""Swaps in each isolation, by an ordinary owner of the tables, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from tenantkit import ProvisioningError, TenantMovedError, transfer
from tenantkit.lifecycle import swap
from tests.isolation.contract.application import Project
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import (
    DATABASE,
    DATABASE_LOGIN,
    KINDS,
    LOGIN,
    ROLE,
    ROW,
    SCHEMA,
    SECOND_DATABASE,
    Kind,
)


def add(session: Session) -> None:
    last = max(session.scalars(select(Project.id)))
    session.add(Project(id=last + 1, name=f"project {last + 1}"))


def ids(session: Session) -> list[int]:
    return sorted(session.scalars(select(Project.id)))


PAIRS = [(SCHEMA, None), (SCHEMA, "database"), (SECOND_DATABASE, None), (DATABASE, None), (DATABASE, "schema")]


@pytest.mark.some_values(kind=3)
@pytest.mark.parametrize(("kind", "isolation"), PAIRS, ids=lambda each: getattr(each, "name", each))
def test_a_tenant_and_its_restored_copy_are_swapped_and_back(
    deploy: Callable[..., Deployment], kind: Kind, isolation: str | None, tmp_path: Path
) -> None:
    deployment = deploy(kind)
    operator = deployment.operator
    transfer.backup(operator, "acme", tmp_path / "acme.tenant")
    deployment.work("acme", add)
    restored = transfer.restore(operator, tmp_path / "acme.tenant", isolation=isolation).tenant
    before = operator.get("acme")
    assert swap(operator, "acme", restored.key, dry_run=True).obstacles == ()
    for number in range(3):
        done = swap(operator, "acme", restored.key, back=number == 1)
        places = (before.placement, before.isolation), (restored.placement, restored.isolation)
        ours, theirs = places if number % 2 else reversed(places)
        assert (done.tenant.placement, done.tenant.isolation) == ours
        assert (done.copy.placement, done.copy.isolation) == theirs
        assert [each.repair for each in operator.diagnose()] == [None], "only the copy is listed"
        with pytest.raises(TenantMovedError), operator.session(restored.key, any_status=True) as session:
            add(session)
            session.commit()
        with pytest.raises(TenantMovedError):  # by a process that has not heard
            deployment.work("acme", add)
        deployment.work("acme", add)
        assert deployment.work("acme", ids) == ([1, 2, 3] if number == 1 else [1, 2, 3][: 2 + number // 2])
    operator.drop(restored.key)
    assert operator.diagnose() == []


REFUSED = [(ROW, "has rows in common tables"), *((kind, "guard= gives each") for kind in (ROLE, LOGIN, DATABASE_LOGIN))]


@pytest.mark.parametrize(("kind", "reason"), REFUSED, ids=lambda each: getattr(each, "name", "refused"))
def test_others_are_refused_and_nothing_changes(
    deploy: Callable[..., Deployment], kind: Kind, reason: str, tmp_path: Path
) -> None:
    deployment = deploy(kind)
    operator = deployment.operator
    transfer.backup(operator, "acme", tmp_path / "acme.tenant")
    restored = transfer.restore(operator, tmp_path / "acme.tenant").tenant
    before: list[Any] = operator.list()
    [obstacle] = swap(operator, "acme", restored.key, dry_run=True).obstacles[:1]
    assert reason in obstacle
    with pytest.raises(ProvisioningError, match=reason):
        swap(operator, "acme", restored.key)
    assert operator.list() == before
    deployment.work("acme", add)
    assert operator.diagnose() == []


def test_each_isolation_is_swapped_or_refused() -> None:
    assert {kind.name for kind in KINDS} - {kind.name for kind, _ in [*PAIRS, *REFUSED]} == {"schema, in two databases"}


@pytest.mark.all_cases
def test_a_tenant_whose_database_is_older_than_the_fence_is_swapped(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    deployment = deploy(DATABASE)
    operator = deployment.operator
    transfer.backup(operator, "acme", tmp_path / "acme.tenant")
    copy = transfer.restore(operator, tmp_path / "acme.tenant").tenant
    place = operator.get("acme").placement
    with operator.databases.engine(place.database).begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION tenantkit.fence()")
    assert swap(operator, "acme", copy.key).copy.placement == place
    with pytest.raises(TenantMovedError), operator.session(copy.key, any_status=True) as session:
        add(session)
        session.commit()
