"""A tenant is moved into another isolation or database, and back; what cannot be moved is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenantkit import ProvisioningError, TenantMovedError, transfer
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import DATABASE, ROW, SCHEMA, SECOND_DATABASE, Kind
from tests.isolation.test_swaps import REFUSED, add, ids

MOVES = [(SCHEMA, "database"), (SECOND_DATABASE, "database"), (DATABASE, "schema")]


@pytest.mark.parametrize(("kind", "isolation"), MOVES, ids=lambda each: getattr(each, "name", each))
def test_a_tenant_is_moved_and_back(deploy: Callable[..., Deployment], kind: Kind, isolation: str) -> None:
    deployment = deploy(kind)
    operator = deployment.operator
    before = operator.get("acme")
    deployment.work("acme", ids)
    assert transfer.move(operator, "acme", isolation=isolation, dry_run=True).obstacles == ()
    done = transfer.move(operator, "acme", isolation=isolation)
    assert (done.tenant.isolation, done.former and done.former.placement) == (isolation, before.placement)
    with pytest.raises(TenantMovedError):  # by a process that has not heard
        deployment.work("acme", add)
    deployment.work("acme", add)
    back = transfer.move(operator, "acme", back=True)
    assert (back.tenant.isolation, back.tenant.placement) == (before.isolation, before.placement)
    with pytest.raises(TenantMovedError):
        deployment.work("acme", add)
    deployment.work("acme", add)
    assert deployment.work("acme", ids) == [1, 2, 3]
    transfer.finish_move(operator, "acme")
    assert operator.diagnose() == []


REASONS = [(kind, "shares, or would share, tables" if kind is ROW else reason) for kind, reason in REFUSED]


@pytest.mark.parametrize(("kind", "reason"), REASONS, ids=lambda each: getattr(each, "name", "refused"))
def test_others_are_refused_and_nothing_changes(deploy: Callable[..., Deployment], kind: Kind, reason: str) -> None:
    deployment = deploy(kind)
    operator = deployment.operator
    before = operator.list()
    other = "schema" if operator.get("acme").isolation == "database" else "database"
    [obstacle] = transfer.move(operator, "acme", isolation=other, dry_run=True).obstacles[:1]
    assert reason in obstacle
    with pytest.raises(ProvisioningError, match=reason):
        transfer.move(operator, "acme", isolation=other)
    assert operator.list() == before
    deployment.work("acme", add)
    assert operator.diagnose() == []
