"""The end of a registration: the schema stays, or its objects move to another, and is no tenant's any more."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import Connection, select

from tenantkit.adoption.locking import execute, lock_tables, obstacle_of_foreign
from tenantkit.adoption.objects import read_objects
from tenantkit.arguments import NAME, number, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ProvisioningError
from tenantkit.isolation import schemas
from tenantkit.isolation.mentions import find_mentions
from tenantkit.isolation.relabel import obstacle_in, replace_in_paths
from tenantkit.lifecycle.operation import Operation, explained, operating
from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.registry import store, swaps
from tenantkit.registry.referring import referring
from tenantkit.registry.revisions import has_revisions, read_heads
from tenantkit.registry.tables import tenants
from tenantkit.runs.claims import claim
from tenantkit.status import COMPLETE
from tenantkit.tenant import KEY, Tenant

_STEP = "releasing"


def release(tenancy: Deployment, key: str, *, to: str | None = None, patience: float = 10) -> Tenant:
    """Remove a tenant from the registry, keep its schema with all in it, and return the tenant as it was.

    The mark of the schema and the tenant's role are removed; so is the version table if `adopt` has made it, and no
    revision has changed the schema since.

    :param to: a schema to which all that is in the tenant's moves, as before `adopt_tables`; the tenant's is removed.
    :param patience: with *to*, seconds to try to lock the tables for.
    :raises TenantNotFoundError: if there is no such tenant.
    :raises ConfigurationError: if its tables are not in a schema that existed before it.
    :raises ProvisioningError: if the tenant, or a swap of it, is unfinished, rows elsewhere refer to it, or its objects
        cannot move.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY), to=(to, optional(NAME)), patience=(patience, number(least=0)))
    end = time.monotonic() + patience
    with tenancy.lookups.forgetting(key), operating(tenancy) as connection:
        with connection.begin():
            tenant = store.get(connection, key)
        isolation = tenancy.isolations.of(tenant)

        def work(there: Connection) -> None:
            now = store.lock(connection, tenancy.isolations, key)
            if now.id != tenant.id or now.status not in COMPLETE:
                raise ProvisioningError(key, _STEP, f"the tenant is {now.status}: finish its creation or its removal")
            if swaps.is_unfinished(connection, now.id):  # each of the two schemas may have the mark of the other
                raise ProvisioningError(key, _STEP, "its swap was interrupted; run 'tenantkit doctor --repair' first")
            if tables := referring(connection, now):
                raise ProvisioningError(key, _STEP, f"rows of {first_lines(tables)} refer to it; delete these first")
            isolation.release(there, now)
            _remove_stamp(connection, there, now)
            if to is not None:
                _move_back(there, now, to, end)
            store.remove(connection, now.id)

        with explained(tenancy, tenant, _STEP):
            Operation(tenancy.databases, connection, _STEP).run(tenant.placement.database, work)
    return tenant


def _remove_stamp(connection: Connection, there: Connection, tenant: Tenant) -> None:
    """Drop the version table if an adoption has made it, and it is as that has left it."""
    stamped = connection.execute(select(tenants.c.stamped).where(tenants.c.id == tenant.id)).scalar_one()
    if stamped is not None and has_revisions(there, tenant) and ",".join(read_heads(there, tenant)[0]) == stamped:
        there.exec_driver_sql(f"DROP TABLE {quote_identifier(tenant.schema)}.alembic_version".replace("%", "%%"))


def _move_back(there: Connection, tenant: Tenant, schema: str, end: float) -> None:
    """Move all objects of the tenant's schema, which has no mark any more, to *schema*, and drop the empty one."""
    for obstacle in _find_obstacles(there, tenant, schema):
        raise ProvisioningError(tenant.key, _STEP, obstacle)
    objects, _ = read_objects(there, tenant.schema)
    lock_tables(there, objects, end)
    execute(there, [each.move_to(quote_identifier(schema)) for each in objects])
    replace_in_paths(
        there, tenant.schema, lambda path: [schema if name == tenant.schema else name for name in path], within=schema
    )
    execute(there, [f"DROP SCHEMA {quote_identifier(tenant.schema)}"])


def _find_obstacles(there: Connection, tenant: Tenant, schema: str) -> Iterator[str]:
    own = schemas.read_mark(there, tenant.schema)
    if own:
        yield f"its schema {tenant.schema!r} has the comment {own!r}, so it is not the tenant's alone"
    if own is None:
        yield f"its schema {tenant.schema!r} does not exist"
    if (obstacle := obstacle_of_foreign(there, schema)) is not None:
        yield obstacle
    if not claim(there, tenant.schema):
        yield f"a migration, or a backup, is at work on the schema {tenant.schema!r}; wait until it ends"
    if (named := obstacle_in(tenant.schema, find_mentions(there, tenant.schema))) is not None:
        yield named
