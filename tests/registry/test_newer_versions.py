"""Unknown values of a newer version make their tenant unavailable, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from tenantkit import (
    Isolation,
    MigrationError,
    Placement,
    Status,
    Tenancy,
    TenantExistsError,
    TenantUnavailableError,
    drift,
    migrations,
    tenant_context,
)
from tenantkit.asgi import TenantMiddleware
from tenantkit.resolvers import Header
from tests.migrations.environments import Environment
from tests.support.catalog import fingerprint, registered, schemas

NEWER = {
    "status": "UPDATE tenantkit.tenants SET status = 'archived' WHERE key = 'acme'",
    "isolation that does not go with the database": "UPDATE tenantkit.tenants SET isolation = 'database' WHERE key = 'acme'",
    "database of its own without that isolation":
        "UPDATE tenantkit.tenants SET database = 'main/other' WHERE key = 'acme'",
    "unknown isolation": "UPDATE tenantkit.tenants SET isolation = 'cluster' WHERE key = 'acme'",
    "database": "UPDATE tenantkit.tenants SET database = 'eu' WHERE key = 'acme'",
    "database with a schema that another tenant has here":
        "UPDATE tenantkit.tenants SET database = 'eu', schema = 't_beta' WHERE key = 'acme'",
}  # fmt: skip
newer = pytest.mark.parametrize("change", NEWER.values(), ids=NEWER)


@pytest.fixture
def write(engine: Engine) -> Callable[..., None]:
    """Write values of a newer version to the registry."""

    def write(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in (
                "ALTER TABLE tenantkit.tenants DROP CONSTRAINT IF EXISTS tenants_status_check",
                "ALTER TABLE tenantkit.tenants DROP CONSTRAINT IF EXISTS tenants_isolation_check",
                *statements,
            ):
                connection.exec_driver_sql(statement)

    return write


@newer
def test_a_tenant_of_a_newer_version_is_listed_and_not_served(
    any_tenancy: Any, write: Callable[..., None], change: str
) -> None:
    any_tenancy.create("acme", domains=["acme.example.com"])
    any_tenancy.create("beta")
    write(change)
    assert [tenant.key for tenant in any_tenancy.list()] == ["acme", "beta"]
    assert any_tenancy.get_by_domain("acme.example.com") == any_tenancy.get("acme")
    acme = any_tenancy.get("acme")
    for any_status in (False, True):
        with pytest.raises(
            TenantUnavailableError, match=r"'acme' cannot be used here.*(update tenantkit|name it in Tenancy)"
        ):
            any_tenancy.session("acme", any_status=any_status).__enter__()
        with tenant_context(acme), pytest.raises(TenantUnavailableError) as refused:
            any_tenancy.session(any_status=any_status).__enter__()
        assert (refused.value.tenant, refused.value.status) == ("acme", acme.status)
        assert refused.value.reason
    with any_tenancy.session("beta") as session:
        assert session.tenant.key == "beta"


def test_unknown_values_are_returned_unchanged(any_tenancy: Any, write: Callable[..., None]) -> None:
    any_tenancy.create("acme")
    any_tenancy.create("beta")
    write(NEWER["status"], NEWER["unknown isolation"], NEWER["database"])
    acme, beta = any_tenancy.list()
    assert (acme.status, acme.isolation, acme.placement) == ("archived", "cluster", Placement("eu", "t_acme"))
    assert (beta.status, beta.isolation) == (Status.ACTIVE, Isolation.SCHEMA)
    assert isinstance(beta.status, Status)


@newer
def test_a_tenant_of_a_newer_version_is_not_changed(
    any_tenancy: Any, engine: Engine, write: Callable[..., None], change: str
) -> None:
    any_tenancy.create("acme", domains=["acme.example.com"])
    any_tenancy.create("beta")
    write(change)
    before = fingerprint(engine, "t_acme"), fingerprint(engine, "t_beta"), registered(engine)
    for act in (
        lambda: any_tenancy.drop("acme"),
        lambda: any_tenancy.suspend("acme"),
        lambda: any_tenancy.resume("acme"),
        lambda: any_tenancy.start_maintenance("acme"),
        lambda: any_tenancy.update("acme", name="Acme"),
        lambda: any_tenancy.add_domain("acme", "other.example.com"),
        lambda: any_tenancy.remove_domain("acme", "acme.example.com"),
        lambda: any_tenancy.set_primary_domain("acme", "acme.example.com"),
    ):
        with pytest.raises(TenantUnavailableError, match="cannot be used here"):
            act()
    with pytest.raises((TenantExistsError, TenantUnavailableError)):
        any_tenancy.create("acme")
    assert (fingerprint(engine, "t_acme"), fingerprint(engine, "t_beta"), registered(engine)) == before


@pytest.mark.parametrize("status", ["provisioning", "failed", "dropping"])
def test_an_unfinished_operation_of_a_newer_version_is_not_finished(
    tenancy: Tenancy, engine: Engine, write: Callable[..., None], status: str
) -> None:
    tenancy.create("acme")
    tenancy.create("beta")
    write(NEWER["database"], f"UPDATE tenantkit.tenants SET status = '{status}', claim = 'dead' WHERE key = 'acme'")
    before = schemas(engine), registered(engine)
    for act in (tenancy.create, tenancy.drop):
        with pytest.raises(TenantUnavailableError):
            act("acme")
    (finding,) = tenancy.repair()
    assert (finding.subject, finding.repair) == ("acme", None)
    assert "its database 'eu'" in finding.problem
    assert (schemas(engine), registered(engine)) == before


@pytest.mark.some_values(change=3)
@pytest.mark.parametrize("change", [each for name, each in NEWER.items() if name != "status"])
def test_a_migration_refuses_that_tenant_alone(
    make_tenancy: Callable[..., Tenancy], engine: Engine, write: Callable[..., None], change: str, tmp_path: Any
) -> None:
    migrations.init(tmp_path / "migrations")
    environment = Environment(tmp_path / "migrations")
    environment.add("t1", 'op.create_table("note", sa.Column("id", sa.Integer), schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    for key in ("acme", "beta", "gamma"):
        tenancy.create(key)
    environment.add(
        "t2", 'op.execute("ALTER TABLE note ADD COLUMN extra text")', 'op.drop_column("note", "extra", schema="tenant")'
    )
    write(change)
    before = fingerprint(engine, "t_acme")

    preview = migrations.preview(tenancy, scripts=True)
    assert [(outcome.key, preview.would_change) for outcome in preview.refused] == [("acme", 2)]
    for act in (
        lambda: migrations.migrate(tenancy, maintenance=True),
        lambda: migrations.downgrade(tenancy, "t1"),
        lambda: migrations.migrate(tenancy),
        lambda: migrations.stamp(tenancy, "t1"),
    ):
        with pytest.raises(MigrationError) as failed:
            act()
        (failure,) = failed.value.report.failures
        assert (failure.key, len(failed.value.report.migrated)) == ("acme", 2)
        assert re.search(
            "this version of tenantkit does not know|does not go with|name it in Tenancy", failure.error or ""
        )
    status = {placement.key: placement for placement in migrations.status(tenancy).placements}
    assert (status["acme"].state, status["acme"].revision) == ("missing", None)
    assert status["acme"].error
    assert status["beta"].state == "behind"
    report = drift.check(tenancy)
    assert (report.missing, [group.tenants for group in report.groups]) == (("acme",), [2])
    with pytest.raises(TenantUnavailableError):
        tenancy.at_revision("acme", "t1")
    assert fingerprint(engine, "t_acme") == before


@newer
def test_requests_for_that_tenant_are_refused_with_retry_after(
    tenancy: Tenancy, write: Callable[..., None], change: str
) -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    tenancy.create("acme")
    tenancy.create("beta")
    write(change)
    client = TestClient(TenantMiddleware(app, tenancy, resolver=Header("X-Tenant")))
    refused = client.get("/", headers={"X-Tenant": "acme"})
    assert (refused.status_code, refused.json()) == (503, {"detail": "This tenant is unavailable"})
    assert refused.headers["retry-after"]
    assert client.get("/", headers={"X-Tenant": "beta"}).status_code == 204
