"""The registry's copy of the ledgers of other databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.databases.base import joint, reaches
from tenantkit.databases.reach import in_each
from tenantkit.runs import ledger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment


def reconcile(tenancy: Deployment, connection: Connection) -> None:
    """Copy outcomes that runs did not live to record in the registry, from the databases of their placements.

    A run that lives records the same. Databases that are down are left for the next run.
    """
    planned = ledger.unsettled(connection, joint(tenancy.databases))
    keys = {(row.run_id, row.tenant_id) for row in planned}
    names = {row.database for row in planned if reaches(tenancy.databases, row.database)}
    found = in_each(tenancy.databases, connection, names, lambda _, there: ledger.find_local(there, keys))
    for rows in found.results.values():
        for row in rows:
            ledger.record(connection, **row)
