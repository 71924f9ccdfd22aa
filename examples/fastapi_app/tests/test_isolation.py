"""No answer of the API shows a tenant what belongs to another."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from examples.conftest import OWNERS, PASSWORD
from tenantkit import Tenancy
from tenantkit.testing import Client, UnprovenWarning, assert_isolated


def log_in(client: Client) -> None:
    credentials = {"email": OWNERS[client.tenant.key], "password": PASSWORD}
    assert client.post("/api/login", json=credentials).status == 200


@pytest.mark.all_cases
@pytest.mark.parametrize("isolation", ["schema", "row"], indirect=True)
def test_no_tenant_sees_rows_of_another(app: FastAPI, tenancy: Tenancy) -> None:
    with pytest.warns(UnprovenWarning, match="GET /api/account"):
        report = assert_isolated(tenancy, app, tenants=["acme", "beta"], login=log_in)
    assert {name for name in report.proven if "/api/" in name} == {
        "GET /api/activity",
        "GET /api/members",
        "GET /api/projects",
        "GET /api/projects/{key}",
        "GET /api/projects/{key}/tasks.ndjson",
        "GET /api/projects/{key}/tasks/{number}",
        "GET /api/tasks",
        "PATCH /api/projects/{key}/tasks/{number}",
        "POST /api/projects/{key}/tasks",
    }
    assert report.unproven.keys() == {
        "ANY /static",  # an application of its own
        "GET /api/account",  # as the next two, for visitors without a tenant
        "POST /api/account/login",
        "POST /api/account/tenants/{key}",
        "POST /api/login",
        "POST /api/sign-up",
    }
