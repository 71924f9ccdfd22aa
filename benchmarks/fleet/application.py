"""The application whose fleet is migrated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

from benchmarks.fleet.models import declare
from tenantkit import Tenancy
from tenantkit.naming import schema_name

_URL, _FOLDER, _TENANTS, _TABLES = (f"BENCHMARK_FLEET_{name}" for name in ("URL", "FOLDER", "TENANTS", "TABLES"))


@dataclass(frozen=True)
class Fleet:
    """Some tenants in one database, and the folder of their migrations."""

    url: URL
    folder: Path
    tenants: int
    tables: int

    @property
    def keys(self) -> list[str]:
        """The tenants' keys."""
        return [f"fleet{number:04}" for number in range(1, self.tenants + 1)]

    @property
    def schemas(self) -> list[str]:
        """The tenants' schemas."""
        return [schema_name(key) for key in self.keys]

    @property
    def migrations(self) -> Path:
        """The migration environment of tenantkit."""
        return self.folder / "migrations"

    @property
    def dsn(self) -> str:
        """The URL for psycopg itself."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a process that works on this fleet."""
        return {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TENANTKIT_APP": f"{__name__}:tenancy",
            _URL: self.url.render_as_string(hide_password=False),
            _FOLDER: str(self.folder),
            _TENANTS: str(self.tenants),
            _TABLES: str(self.tables),
        }

    def tenancy(self, **options: Any) -> Tenancy:
        """Return the tenancy; *options* are those of `Tenancy`."""
        return Tenancy(self.url, tenant=declare("tenant", self.tables), migrations=self.migrations, **options)


def fleet_of_environment() -> Fleet:
    """Return the fleet that the parent process named."""
    return Fleet(
        make_url(os.environ[_URL]), Path(os.environ[_FOLDER]), int(os.environ[_TENANTS]), int(os.environ[_TABLES])
    )


def tenancy() -> Tenancy:
    """Return the tenancy for the command line."""
    return fleet_of_environment().tenancy()
