"""No page shows a tenant what belongs to another."""

from __future__ import annotations

import pytest
from flask import Flask

from examples.conftest import OWNERS, PASSWORD
from tenantkit import Tenancy
from tenantkit.testing import Client, Request, UnprovenWarning, assert_isolated

REQUESTS = [
    Request(method="GET", path="/search?words={title}"),
    Request(method="POST", path="/projects/{key}/tasks/{number}/move", form={"status": "done"}),
    Request(method="POST", path="/projects/{key}/tasks/{number}/comments", form={"body": "Done."}),
]


def log_in(client: Client) -> None:
    assert client.post("/login", form={"email": OWNERS[client.tenant.key], "password": PASSWORD}).status == 302


@pytest.mark.parametrize("isolation", ["schema", "row"], indirect=True)
def test_no_tenant_sees_rows_of_another(app: Flask, tenancy: Tenancy) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    with pytest.warns(UnprovenWarning, match="GET /static/{filename}"):
        report = assert_isolated(tenancy, app, tenants=["acme", "beta"], login=log_in, requests=REQUESTS)
    assert {name for name in report.proven if name.startswith("GET ")} == {
        "GET /activity",
        "GET /members",
        "GET /projects",
        "GET /projects/{key}",
        "GET /projects/{key}/tasks/new",
        "GET /projects/{key}/tasks/{number}",
        "GET /projects/{key}/tasks/{number}/edit",
        "GET /search?words={title}",
    }
    assert report.unproven.keys() == {
        "GET /",  # it leads to the projects
        "GET /sign-up",  # as the rest, not for a tenant
        "GET /static/{filename}",
        "GET /tenants",
        "POST /members/{user_id}/remove",  # members can remove neither themselves nor the owner
        "POST /sign-up",
    }
