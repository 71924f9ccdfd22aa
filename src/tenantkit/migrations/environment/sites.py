"""What the lines and sites of a tenancy are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.target import Site
from tenantkit.migrations.graph.revision_graph import RevisionGraph, Scope

if TYPE_CHECKING:
    from tenantkit.deployment import Deployment


def graph_of(tenancy: Deployment, name: Scope) -> RevisionGraph:
    """Return one of the tenancy's two lines of revisions.

    :raises ConfigurationError: if it has no migration environment.
    """
    if tenancy.migrations is None:
        raise ConfigurationError(
            "This tenancy has no migrations: pass Tenancy(..., migrations='migrations'), "
            "and make the folder with 'tenantkit init'."
        )
    metadata = tenancy.metadata
    own = metadata.tenant if name == "tenant" else metadata.shared or metadata.tenant
    return RevisionGraph(tenancy.migrations.absolute(), name, own.naming_convention)


def tenant_site(tenancy: Deployment, schema: str, *, in_transaction: bool = False) -> Site:
    """Return the site of a tenant's schema."""
    return Site(
        schema=schema, others=tenancy.extra_schemas, placeholder=tenancy.placeholder, in_transaction=in_transaction
    )


def shared_site(tenancy: Deployment) -> Site:
    """Return the site of the shared tables: the first of their schemas holds the version table."""
    first, *others = tenancy.shared_schemas
    return Site(schema=first, others=(*others, *tenancy.extra_schemas), translates=False)
