"""The sessions that endpoints ask for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from tenantkit import TenantSession
from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession


def tenancy_of(request: Request) -> AsyncTenancy:
    """Return the tenancy that `create_app` was given."""
    tenancy: AsyncTenancy = request.app.state.tenancy
    return tenancy


TenancyDep = Annotated[AsyncTenancy, Depends(tenancy_of)]


async def _session(tenancy: TenancyDep) -> AsyncGenerator[AsyncTenantSession]:
    async with tenancy.session() as session:
        yield session


async def _shared_session(tenancy: TenancyDep) -> AsyncGenerator[AsyncSession]:
    async with tenancy.shared_session() as session:
        yield session


def _blocking_session(tenancy: TenancyDep) -> Generator[TenantSession]:
    with tenancy.sync.session() as session:
        yield session


SessionDep = Annotated[AsyncTenantSession, Depends(_session)]
"""A session for the current tenant; what is not committed is rolled back."""

SharedSessionDep = Annotated[AsyncSession, Depends(_shared_session)]
"""A session for the shared tables."""

BlockingSessionDep = Annotated[TenantSession, Depends(_blocking_session)]
"""A session for the current tenant, in endpoints that are plain functions; FastAPI runs them in threads."""
