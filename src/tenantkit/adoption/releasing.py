"""The end of a registration: the schema stays, and is no tenant's any more."""

from __future__ import annotations

from sqlalchemy import Connection, select

from tenantkit.arguments import require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ProvisioningError
from tenantkit.lifecycle.operation import Operation, explained, operating
from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.registry import store
from tenantkit.registry.referring import referring
from tenantkit.registry.revisions import has_revisions, read_heads
from tenantkit.registry.tables import tenants
from tenantkit.status import COMPLETE
from tenantkit.tenant import KEY, Tenant

_STEP = "releasing"


def release(tenancy: Deployment, key: str) -> Tenant:
    """Remove a tenant from the registry, keep its schema with all in it, and return the tenant as it was.

    The mark of the schema and the tenant's role are removed; so is the version table if `adopt` has made it, and no
    revision has changed the schema since.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises ConfigurationError: if its tables are not in a schema that existed before it.
    :raises ProvisioningError: if the tenant is unfinished, or rows elsewhere refer to it.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY))
    with tenancy.lookups.forgetting(key), operating(tenancy) as connection:
        with connection.begin():
            tenant = store.get(connection, key)
        isolation = tenancy.isolations.of(tenant)

        def work(there: Connection) -> None:
            now = store.lock(connection, tenancy.isolations, key)
            if now.id != tenant.id or now.status not in COMPLETE:
                raise ProvisioningError(key, _STEP, f"the tenant is {now.status}: finish its creation or its removal")
            if tables := referring(connection, now):
                raise ProvisioningError(key, _STEP, f"rows of {first_lines(tables)} refer to it; delete these first")
            isolation.release(there, now)
            _remove_stamp(connection, there, now)
            store.remove(connection, now.id)

        with explained(tenancy, tenant, _STEP):
            Operation(tenancy.databases, connection, _STEP).run(tenant.placement.database, work)
    return tenant


def _remove_stamp(connection: Connection, there: Connection, tenant: Tenant) -> None:
    """Drop the version table if an adoption has made it, and it is as that has left it."""
    stamped = connection.execute(select(tenants.c.stamped).where(tenants.c.id == tenant.id)).scalar_one()
    if stamped is not None and has_revisions(there, tenant) and ",".join(read_heads(there, tenant)[0]) == stamped:
        there.exec_driver_sql(f"DROP TABLE {quote_identifier(tenant.schema)}.alembic_version".replace("%", "%%"))
