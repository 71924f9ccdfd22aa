"""The effects of a tenancy's methods on the registry, for each kind of tenancy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ConfigurationError, InvalidDomainError, Status, Tenancy
from tenantkit.runs import maintenance


@pytest.mark.parametrize(
    ("verb", "status"),
    [("suspend", Status.SUSPENDED), ("resume", Status.ACTIVE), ("start_maintenance", Status.MAINTENANCE)],
)
def test_a_repeated_change_of_status_changes_nothing(any_tenancy: Any, verb: str, status: Status) -> None:
    any_tenancy.create("acme")
    if status is Status.ACTIVE:
        any_tenancy.suspend("acme")
    once = getattr(any_tenancy, verb)("acme")
    twice = getattr(any_tenancy, verb)("acme")
    assert once.status is status
    assert twice == once
    assert any_tenancy.get("acme") == once


def test_maintenance_by_an_operator_outlasts_that_of_a_run(tenancy: Tenancy, engine: Engine) -> None:
    tenant = tenancy.create("acme")
    with engine.begin() as connection:
        assert maintenance.enter(connection, tenant.id, 7) is maintenance.Entry.ENTERED
    tenancy.start_maintenance("acme")
    with engine.begin() as connection:
        maintenance.leave(connection, tenant.id, 7, databases=tenancy.databases)
        assert connection.execute(text("SELECT status FROM tenantkit.tenants")).scalar_one() == "maintenance"


RESERVED = ["example.com", "*.apps.example.com", "API.example.net."]


@pytest.mark.parametrize(
    "domain",
    [
        "example.com",
        "Example.COM.",
        "www.example.com",
        "acme.apps.example.com",
        "a.b.apps.example.com",
        "api.example.net",
    ],
)
def test_no_tenant_can_have_a_domain_of_the_application(make_any_tenancy: Callable[..., Any], domain: str) -> None:
    tenancy = make_any_tenancy(reserved_domains=RESERVED)
    tenancy.create("globex", domains=["globex.test"])
    with pytest.raises(InvalidDomainError, match="application's own"):
        tenancy.add_domain("globex", domain)
    with pytest.raises(InvalidDomainError, match="application's own"):
        tenancy.create("acme", domains=["acme.test", domain])
    assert tenancy.get("globex").domains == ("globex.test",)
    assert [tenant.key for tenant in tenancy.list()] == ["globex"]


def test_other_domains_than_those_of_the_application_are_accepted(make_any_tenancy: Callable[..., Any]) -> None:
    tenancy = make_any_tenancy(reserved_domains=RESERVED)
    free = ["acme.example.com", "apps.example.com", "example.com.test", "wwwexample.com", "www.api.example.org"]
    assert set(tenancy.create("acme", domains=free).domains) == set(free)


@pytest.mark.parametrize("domains", ["example.com", ["https://example.com"], ["*"], ["*.*.com"]])
def test_invalid_reserved_domains_are_refused(make_tenancy: Callable[..., Tenancy], domains: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError), match="reserved_domains"):
        make_tenancy(reserved_domains=domains)
