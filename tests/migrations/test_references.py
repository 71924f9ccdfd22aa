"""Shared tables that refer to a tenant in the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import URL, Column, Engine, ForeignKey, Integer, MetaData, Table, Text, insert, inspect, select

from tenantkit import ConfigurationError, ProvisioningError, Status, Tenancy
from tenantkit.migrations import migrate, revision, upgrade_shared
from tenantkit.registry.tables import tenants
from tests.migrations.environments import Environment
from tests.support.catalog import schemas


def declare(target: Any = tenants.c.id, kind: Any = Integer, **options: Any) -> tuple[MetaData, MetaData, Table]:
    shared, tenant = MetaData(schema="shared"), MetaData(schema="tenant")
    membership = Table(
        "membership",
        shared,
        Column("id", Integer, primary_key=True),
        Column("tenant", kind, ForeignKey(target, **options)),
    )
    Table("note", tenant, Column("id", Integer, primary_key=True))
    return shared, tenant, membership


def join(tenancy: Tenancy, membership: Table, *values: Any) -> None:
    with tenancy.shared_session() as session:
        session.execute(insert(membership), [{"tenant": value} for value in values])
        session.commit()


@pytest.mark.parametrize("target", ["id", "key"])
@pytest.mark.parametrize("ondelete", [None, "RESTRICT"])
def test_a_tenant_that_shared_rows_refer_to_is_not_dropped(
    make_tenancy: Callable[..., Tenancy], engine: Engine, target: str, ondelete: str | None
) -> None:
    shared, tenant, membership = declare(tenants.c[target], Text if target == "key" else Integer, ondelete=ondelete)
    shared.create_all(engine)
    tenancy = make_tenancy(shared=shared, tenant=tenant)
    acme, other = tenancy.create("acme"), tenancy.create("other")
    join(tenancy, membership, getattr(acme, target), getattr(other, target))
    with pytest.raises(ProvisioningError, match="rows of shared.membership refer to it; delete these first"):
        tenancy.drop("acme")
    assert tenancy.get("acme").status is Status.ACTIVE
    assert "t_acme" in schemas(engine)
    with engine.begin() as connection:
        connection.execute(membership.delete().where(membership.c.tenant == getattr(acme, target)))
    tenancy.drop("acme")
    assert "t_acme" not in schemas(engine)


@pytest.mark.parametrize(("ondelete", "left"), [("CASCADE", [2]), ("SET NULL", [None, 2])])
def test_shared_rows_are_deleted_with_their_tenant_by_on_delete_cascade(
    make_tenancy: Callable[..., Tenancy], engine: Engine, ondelete: str, left: list[int | None]
) -> None:
    shared, tenant, membership = declare(ondelete=ondelete)
    shared.create_all(engine)
    tenancy = make_tenancy(shared=shared, tenant=tenant)
    join(tenancy, membership, tenancy.create("acme").id, tenancy.create("other").id)
    tenancy.drop("acme")
    with engine.begin() as connection:
        found = connection.execute(select(membership.c.tenant)).scalars()
        assert sorted(found, key=lambda value: value or 0) == left


def test_autogenerate_writes_the_key_and_ignores_the_registry(
    environment: Environment, make_tenancy: Callable[..., Tenancy], empty_database: URL
) -> None:
    shared, tenant, _ = declare(ondelete="CASCADE")
    tenancy = make_tenancy(database=empty_database, shared=shared, tenant=tenant, migrations=environment.folder)
    tenancy.install()
    written = revision(tenancy, "first", shared=True, autogenerate=True)
    assert written
    assert "tenantkit.tenants.id" in written.read_text()
    assert "'tenants'" not in written.read_text()
    upgrade_shared(tenancy)
    assert revision(tenancy, "again", shared=True, autogenerate=True) is None
    assert revision(tenancy, "first", autogenerate=True)
    migrate(tenancy, jobs=0)
    (key,) = inspect(tenancy.engine).get_foreign_keys("membership", schema="shared")
    assert (key["referred_schema"], key["referred_table"]) == ("tenantkit", "tenants")


def test_the_error_of_a_reference_by_name_advises_the_column(make_tenancy: Callable[..., Tenancy]) -> None:
    shared, tenant, _ = declare("tenantkit.tenants.id")
    with pytest.raises(ConfigurationError, match="from tenantkit.registry.tables import tenants"):
        make_tenancy(shared=shared, tenant=tenant)
