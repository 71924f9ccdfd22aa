"""The tenancies of the tracker: one function for each login and kind of application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL

from examples.settings import application_url, database_url, isolation
from examples.tracker.models import SharedBase, TenantBase
from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy

MIGRATIONS = Path(__file__).parents[2] / "migrations"

_TRACKER: dict[str, Any] = {
    "shared": SharedBase.metadata,
    "tenant": TenantBase.metadata,
    "migrations": MIGRATIONS,
    "reserved_keys": ("api", "www"),
    # Of a new member of a tenant with a database of its own: the user is in the main database.
    "cross_database_writes": "separate",
}


def make_tenancy(database: str | URL, **options: Any) -> Tenancy:
    """Return the tracker's tenancy, for Flask and for scripts; *options* are those of `Tenancy`."""
    return Tenancy(database, **{**_TRACKER, **options})


def make_async_tenancy(database: str | URL, **options: Any) -> AsyncTenancy:
    """Return the tracker's tenancy, for FastAPI; *options* are those of `AsyncTenancy`."""
    return AsyncTenancy(database, **{**_TRACKER, **options})


def tenancy() -> Tenancy:
    """Return the tenancy that migrates and creates tenants, for the ``tenantkit`` command and for sign-ups."""
    owner, login = database_url(), application_url().username
    return make_tenancy(owner, isolation=isolation(), grant_to=() if login in {None, owner.username} else login)


def application() -> Tenancy:
    """Return the tenancy of a synchronous application, whose login can only read and write rows."""
    return make_tenancy(application_url())


def async_application() -> AsyncTenancy:
    """Return the tenancy of an asynchronous application."""
    return make_async_tenancy(application_url())
