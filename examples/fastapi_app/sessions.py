"""Dependencies of endpoints."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from tenantkit import Tenancy, TenantSession
from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession
from tenantkit.fastapi import async_shared_session, async_tenant_session, tenant_session


def tenancy_of(request: Request) -> AsyncTenancy:
    """Return the tenancy of `create_app`."""
    tenancy: AsyncTenancy = request.app.state.tenancy
    return tenancy


TenancyDep = Annotated[AsyncTenancy, Depends(tenancy_of)]


def _operator(request: Request) -> Tenancy:
    """Return the tenancy that creates tenants."""
    return cast("Tenancy", request.app.state.operator)


OperatorDep = Annotated[Tenancy, Depends(_operator)]

SessionDep = Annotated[AsyncTenantSession, Depends(async_tenant_session)]
"""A session for the current tenant; uncommitted changes are rolled back."""

SharedSessionDep = Annotated[AsyncSession, Depends(async_shared_session)]
"""A session for the shared tables."""

BlockingSessionDep = Annotated[TenantSession, Depends(tenant_session)]
"""A session for the current tenant, in endpoints that are plain functions; FastAPI runs them in threads."""
