"""The revision graphs and targets of a tenancy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.graph.revision_graph import RevisionGraph, Scope
from tenantkit.tenant import MAIN_DATABASE, Placement

if TYPE_CHECKING:
    from tenantkit.deployment import Deployment
    from tenantkit.isolation.tenant_column import TenantColumn


def graph_of(tenancy: Deployment, name: Scope) -> RevisionGraph:
    """Return the shared or the tenant revisions of a tenancy.

    :raises ConfigurationError: if it has no migration environment.
    """
    if tenancy.migrations is None:
        raise ConfigurationError(
            "This tenancy has no migrations: pass Tenancy(..., migrations='migrations'), "
            "and create the folder with 'tenantkit init'."
        )
    metadata = tenancy.metadata
    own = metadata.tenant if name == "tenant" else metadata.shared or metadata.tenant
    return RevisionGraph(tenancy.migrations.absolute(), name, own.naming_convention)


def scratch_target(tenancy: Deployment, schema: str, column: TenantColumn | None = None) -> MigrationTarget:
    """Return the target for a schema in the main database that is like a tenant's but belongs to none.

    With *column*, it is like a common schema that the column divides.
    """
    placement = Placement(MAIN_DATABASE, schema)
    return MigrationTarget(
        placement=placement, others=tenancy.extra_schemas, placeholder=tenancy.placeholder, column=column
    )


def shared_target(tenancy: Deployment) -> MigrationTarget:
    """Return the target for the shared tables: the first of their schemas holds the version table."""
    first, *others = tenancy.shared_schemas
    placement = Placement(MAIN_DATABASE, first)
    return MigrationTarget(placement=placement, others=(*others, *tenancy.extra_schemas), translates=False)
