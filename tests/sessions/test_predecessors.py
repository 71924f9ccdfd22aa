"""A key may go to another customer; what was kept of the one before must not open the new one's schema."""

from __future__ import annotations

from typing import Any

import pytest

from tenantkit import TenantNotFoundError, tenant_context
from tests.support.models import Project


def test_a_dropped_tenant_does_not_open_the_schema_of_its_successor(any_tenancy: Any) -> None:
    dropped = any_tenancy.create("acme")
    any_tenancy.drop("acme")
    successor = any_tenancy.create("acme")
    with any_tenancy.session("acme") as session:
        session.add(Project(name="the successor's"))
        session.commit()
    with pytest.raises(TenantNotFoundError), any_tenancy.session(dropped):
        pass
    with tenant_context(dropped), pytest.raises(TenantNotFoundError), any_tenancy.session():
        pass
    with any_tenancy.session(successor) as session:
        assert session.get(Project, 1).name == "the successor's"
