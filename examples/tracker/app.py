"""The tenancies of the tracker: one function for each kind of application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL

from examples.settings import database_url
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
    """Return the tenancy of the database that the environment names, for the ``tenantkit`` command."""
    return make_tenancy(database_url())
