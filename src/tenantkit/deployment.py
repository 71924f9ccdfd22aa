"""An application's registry, tables and migrations: the part of a `tenantkit.Tenancy` that services work with."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

from sqlalchemy import Table

from tenantkit.arguments import instance
from tenantkit.databases.base import Databases
from tenantkit.databases.shared_keys import leave_out_shared_keys
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.isolations import Isolations
from tenantkit.isolation.roles import TenantRoles
from tenantkit.placement import PlacementPolicy
from tenantkit.registry.applications import Application
from tenantkit.registry.directory import Directory
from tenantkit.registry.tables import SCHEMA
from tenantkit.tables import Metadata, Tables, classify, shared_schemas

LOADED_AT = time()
"""When this process loaded tenantkit. It may run older code than files that were changed later have."""


class Deployment(Directory):
    """One application's tenants, tables and migrations, without sessions.

    A `tenantkit.Tenancy` is one. Functions for operators, such as `tenantkit.migrations.migrate`, take it.
    """

    tenant_roles: TenantRoles | None = None
    """The roles of its tenants, if ``guard=`` gives them any."""
    placement_policy: PlacementPolicy | None = None
    """Chooses the database of each new tenant; without it, all are in the main one."""
    reserved_keys: frozenset[str] = frozenset()
    """Keys that no tenant may have, besides the built-in ones."""

    def __init__(
        self,
        databases: Databases,
        isolations: Isolations,
        application: Application,
        *,
        metadata: Metadata,
        extra_schemas: tuple[str, ...],
        engine_options: Mapping[str, Any],
        **registry: Any,
    ) -> None:
        """Connect nothing yet; *registry* has the other options of `Directory`."""
        self.metadata = metadata
        self.extra_schemas = extra_schemas
        self.engine_options = engine_options
        self._checked_tables = 0
        self._divided: tuple[list[tuple[Table, int, int]], Tables] | None = None
        """The tables, by those that were declared with numbers of their columns and constraints."""
        super().__init__(databases, isolations, application, **registry)
        databases.prepare(lambda engine: leave_out_shared_keys(engine, lambda: self.main_schemas), main=False)

    @property
    def placeholder(self) -> str | None:
        """The schema that tenant tables are declared with."""
        return self.application.placeholder

    @property
    def tables(self) -> Tables:
        """The application's tables, divided into shared and tenant ones.

        :raises ConfigurationError: if they are declared in a way that could not work.
        """
        declared = [
            (table, len(table.columns), len(table.constraints))
            for metadata in self.metadata
            if metadata is not None
            for table in metadata.tables.values()
        ]
        if self._divided is None or self._divided[0] != declared:  # models may be imported after the tenancy
            found = classify(*self.metadata, placeholder=self.placeholder, by_revisions=self.migrations is not None)
            self.isolations.row_column.prepare(found.tenant)
            self._divided = declared, found
        return self._divided[1]

    @property
    def shared_schemas(self) -> tuple[str, ...]:
        """The real schemas of shared tables, the one that the shared metadata names first."""
        return shared_schemas(self.metadata, self.tables)

    @property
    def main_schemas(self) -> tuple[str, ...]:
        """The schemas that only the main database has: those of shared tables, and of the registry."""
        return (*self.shared_schemas, SCHEMA)

    def check_tables_once(self) -> None:
        """Check the tables that were declared since the last check: models may be imported after the tenancy."""
        shared, tenant = self.metadata
        count = len(tenant.tables) if shared is None else len(tenant.tables) + len(shared.tables)
        if count != self._checked_tables:
            if not self.tables.tenant:
                raise ConfigurationError("No tenant tables are declared. Import your models before opening a session.")
            self._checked_tables = count


def _advise_tenancy(name: str, value: object) -> str | None:
    return f"Of an AsyncTenancy, pass {name}.sync." if isinstance(getattr(value, "sync", None), Deployment) else None


TENANCY = instance(Deployment, "a Tenancy", _advise_tenancy)
