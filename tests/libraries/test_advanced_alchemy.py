"""Advanced Alchemy: repositories and services on a tenant's session."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, MetaData
from sqlalchemy.orm import Mapped

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses what SQLAlchemy 2.1 deprecates
    base: Any = pytest.importorskip("advanced_alchemy.base", reason="'make test-libraries' installs Advanced Alchemy")
    repository: Any = pytest.importorskip("advanced_alchemy.repository")
    service: Any = pytest.importorskip("advanced_alchemy.service")

KEYS = ("acme", "beta")


class TenantBase(base.UUIDAuditBase):
    __abstract__ = True
    metadata = MetaData(schema="tenant", naming_convention=base.UUIDAuditBase.metadata.naming_convention)


class Author(TenantBase):
    name: Mapped[str]


class Authors(repository.SQLAlchemySyncRepository):
    model_type = Author


class AsyncAuthors(service.SQLAlchemyAsyncRepositoryService):
    class Repository(repository.SQLAlchemyAsyncRepository):
        model_type = Author

    repository_type = Repository


def test_a_repository_serves_the_tenant_of_its_session(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(tenant=TenantBase.metadata, shared=None)
    for key in KEYS:
        tenancy.create(key)
        with tenancy.session(key) as session:
            Authors(session=session).add(Author(name=key), auto_commit=True)
    for key in KEYS:
        with tenancy.session(key) as session:
            authors = Authors(session=session)
            assert [author.name for author in authors.get_many()] == [key]
            authors.upsert_many([Author(name=key), Author(name="new")], match_fields=["name"], auto_commit=True)
            assert authors.count() == 2
            assert authors.delete_where(name="new", auto_commit=True)
            assert authors.get_one(name=key).updated_at is not None


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_service_serves_the_tenant_of_its_session(portal: BlockingPortal, database: URL, driver: str) -> None:
    async def work() -> None:
        tenancy = AsyncTenancy(
            database.set(drivername=f"postgresql+{driver}"), tenant=TenantBase.metadata, listen=False
        )
        for key in KEYS:
            await tenancy.create(key)
            async with tenancy.session(key) as session:
                authors = AsyncAuthors(session=session)
                author = await authors.create({"name": key}, auto_commit=True)
                await authors.update({"name": f"{key}!"}, item_id=author.id, auto_commit=True)
                await authors.create_many([{"name": "a"}, {"name": "b"}], auto_commit=True)
        for key in KEYS:
            async with tenancy.session(key) as session:
                found, count = await AsyncAuthors(session=session).get_many_and_count(order_by=("name", False))
                assert {author.name for author in found} == {"a", "b", f"{key}!"}
                assert count == 3
        await tenancy.close()

    portal.call(work)
