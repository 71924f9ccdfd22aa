"""Sessions whose changes are rolled back, whether or not they were committed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.util.concurrency import greenlet_spawn

from tenantkit.arguments import either, require
from tenantkit.deployment import TENANCY
from tenantkit.sessions.session import TenantSession
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import KEY, TENANT, Tenant

if TYPE_CHECKING:
    from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession

_WRITE = "SET TRANSACTION READ WRITE"
"""The fixtures' database is read-only for all others."""


@contextmanager
def rolled_back(tenancy: Tenancy, tenant: Tenant | str, **options: Any) -> Generator[TenantSession]:
    """Open a session for *tenant* that may commit, and undo all of its changes at the end of the block.

    Its commits end savepoints of one transaction, so other sessions do not see the changes.

    :param options: those of `tenantkit.Tenancy.session`.
    """
    require(tenancy=(tenancy, TENANCY), tenant=(tenant, either(TENANT, KEY)))
    known = tenancy.get(tenant) if isinstance(tenant, str) else tenant
    with tenancy.databases.engine(known.placement.database).connect() as connection:
        transaction = connection.begin()
        connection.exec_driver_sql(_WRITE)
        try:
            with tenancy.session(
                known, bind=connection, join_transaction_mode="create_savepoint", **options
            ) as session:
                yield session
        finally:
            transaction.rollback()


@asynccontextmanager
async def async_rolled_back(
    tenancy: AsyncTenancy, tenant: Tenant | str, **options: Any
) -> AsyncGenerator[AsyncTenantSession]:
    """Open an asynchronous session as `rolled_back` does.

    At the end, the idle connections of the tenancy's databases are closed: the next test may have another event loop.
    """
    from sqlalchemy.ext.asyncio import AsyncEngine  # noqa: PLC0415 - it needs greenlet

    known = await tenancy.get(tenant) if isinstance(tenant, str) else tenant
    try:
        async with AsyncEngine(tenancy.databases.engine(known.placement.database)).connect() as connection:
            transaction = await connection.begin()
            await connection.exec_driver_sql(_WRITE)
            try:
                async with tenancy.session(
                    known, bind=connection, join_transaction_mode="create_savepoint", **options
                ) as session:
                    yield session
            finally:
                await transaction.rollback()
    finally:
        await close_idle_connections(tenancy)


async def close_idle_connections(tenancy: AsyncTenancy) -> None:
    """Close the connections of an asynchronous tenancy, which belong to the event loop."""
    await greenlet_spawn(tenancy.databases.dispose)
