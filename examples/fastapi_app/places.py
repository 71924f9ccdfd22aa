"""URLs of tenants."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from examples.fastapi_app.schemas import TenantPlace
from tenantkit import Tenant


class Places:
    """The two addresses of each tenant."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    def path(self, tenant: Tenant) -> str:
        """Return the path of a tenant at the host without a tenant."""
        return f"/t/{tenant.key}"

    def of(self, tenant: Tenant) -> TenantPlace:
        """Return the addresses of *tenant*."""
        return TenantPlace(
            key=tenant.key, name=tenant.name, path=f"{self.path(tenant)}/", host=f"{tenant.key}.{self._domain}"
        )


def _places(request: Request) -> Places:
    places: Places = request.app.state.places
    return places


PlacesDep = Annotated[Places, Depends(_places)]
