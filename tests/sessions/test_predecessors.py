"""A key may be given to another customer; values of its first tenant do not reach the new schema."""

from __future__ import annotations

from typing import Any

import pytest

from tenantkit import TenantMismatchError, tenant_context
from tests.support.models import Project


def test_a_value_of_a_dropped_tenant_does_not_reach_the_next_schema(any_tenancy: Any) -> None:
    dropped = any_tenancy.create("acme")
    with any_tenancy.session("acme") as open_since_before:
        any_tenancy.drop("acme")
        successor = any_tenancy.create("acme")
        with pytest.raises(TenantMismatchError, match="Look the tenant up again"):
            open_since_before.get(Project, 1)
    with any_tenancy.session("acme") as session:
        session.add(Project(name="the successor's"))
        session.commit()
    with pytest.raises(TenantMismatchError, match="Look the tenant up again"), any_tenancy.session(dropped):
        pass
    with tenant_context(dropped), pytest.raises(TenantMismatchError), any_tenancy.session():
        pass
    with any_tenancy.session(successor) as session:
        assert session.get(Project, 1).name == "the successor's"


def test_each_tenant_with_one_key_has_a_schema_of_its_own(any_tenancy: Any) -> None:
    names = []
    for _ in range(3):
        names.append(any_tenancy.create("acme").schema)
        any_tenancy.drop("acme")
    names.append(any_tenancy.create("acme-2").schema)
    assert names == ["t_acme", "t_acme~2", "t_acme~3", "t_acme-2"]
