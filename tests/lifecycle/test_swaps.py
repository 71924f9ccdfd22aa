"""A tenant gets the tables of its copy while it is served: what was committed is kept, and writes elsewhere fail."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text

from tenantkit import ProvisioningError, Status, Tenancy, TenantMovedError
from tenantkit.lifecycle import swap
from tests.support import processes
from tests.support.models import Project


def names(tenancy: Any, key: str) -> list[str]:
    with tenancy.session(key, any_status=True) as session:
        return sorted(session.scalars(select(Project.name)))


def test_swap(any_tenancy: Any) -> None:
    any_tenancy.create("acme", seed=processes.seed, domains=["acme.example.com"])
    any_tenancy.create("copy")
    any_tenancy.suspend("copy")
    with any_tenancy.session("copy", any_status=True) as session:
        session.add(Project(name="restored"))
        session.commit()
    done = any_tenancy.run(swap, "acme", "copy") if hasattr(any_tenancy, "run") else swap(any_tenancy, "acme", "copy")
    assert (done.tenant.schema, done.copy.schema) == ("t_copy", "t_acme")
    assert names(any_tenancy, "acme") == ["restored"]
    print(any_tenancy.diagnose())
