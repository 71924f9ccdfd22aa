"""Diagnosis and repair of tenants that an interrupted process left unfinished."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from sqlalchemy import Connection, text

from tenantkit.databases.base import each_database
from tenantkit.databases.reach import in_each
from tenantkit.exceptions import ProvisioningError
from tenantkit.isolation.base import Finding
from tenantkit.lifecycle.drop import begin, finish
from tenantkit.lifecycle.operation import UNFINISHED
from tenantkit.lifecycle.renaming import restore_name
from tenantkit.lifecycle.swapping import settle
from tenantkit.lifecycle.tenant_lock import try_tenant_lock
from tenantkit.postgres import replication
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.retry import after_conflicts
from tenantkit.registry import store, swaps
from tenantkit.registry.directory import Directory
from tenantkit.registry.identity import read_identity
from tenantkit.runs import maintenance
from tenantkit.status import MIGRATED, Status
from tenantkit.tenant import Placement, Tenant

_ABANDONED = text(
    """
    SELECT id FROM tenantkit.tenants
    WHERE key = :key AND status = ANY(:unfinished) FOR NO KEY UPDATE SKIP LOCKED
    """
)


Findings: TypeAlias = "list[Finding]"


def diagnose(directory: Directory, connection: Connection) -> Findings:
    """Return the problems of the tenants, except those on which a live process works."""
    with connection.begin():
        tenants = store.find(connection, status=[*Status])
        examined = [finding for tenant in tenants if (finding := _examine(directory, connection, tenant)) is not None]
        abandoned = [
            Finding(key, "a migration that was interrupted left it in maintenance", "make it active again")
            for key in maintenance.abandoned(connection, directory.databases)
        ]
        unfinished = swaps.find_unfinished(connection)
        swapped = [
            Finding(key, "its swap with another tenant never finished", "finish the swap")
            for tenant_id, (key, _) in unfinished.items()
            if try_tenant_lock(connection, tenant_id)
        ]
        in_swap = {*unfinished, *(other for _, other in unfinished.values())}
        settled = [tenant for tenant in tenants if tenant.id not in in_swap]
        found = _inspect(directory, connection, settled, {tenant.id for tenant in tenants})
        return [*examined, *abandoned, *swapped, *found]


def repair(directory: Directory, connection: Connection) -> Findings:
    """Repair what can be repaired, and return the findings from before.

    It removes tenants whose creation never finished, finishes removals and swaps, makes tenants active that dead runs
    left in maintenance, and gives tenants the roles and privileges that they lack.

    :raises ProvisioningError: the first one, after all other repairs, if a repair failed.
    """
    findings = diagnose(directory, connection)
    failures: list[ProvisioningError] = []
    for finding in findings:
        if finding.repair is not None:
            try:
                remove_abandoned(directory, connection, finding.subject)
                settle(directory, connection, finding.subject)
                restore_name(directory, connection, finding.subject)
            except ProvisioningError as error:
                failures.append(error)
    with connection.begin():
        maintenance.release(connection, directory.databases)
        tenants = store.find(connection, status=[*Status])
    _repair_placements(directory, connection, tenants)
    if failures:
        raise failures[0]
    return findings


def remove_abandoned(directory: Directory, connection: Connection, key: str) -> None:
    """Remove an unfinished tenant, unless a process works on it.

    :raises ProvisioningError: as `drop` does.
    """
    # Check again, under a lock: another process may have finished its work on the tenant since the diagnosis.
    with connection.begin():
        if not _is_abandoned(connection, key):
            return
        tenant = store.get(connection, key)
        begin(directory, connection, tenant)
    finish(directory, connection, tenant)


def _examine(directory: Directory, connection: Connection, tenant: Tenant) -> Finding | None:
    if (problem := directory.isolations.problem(tenant)) is not None:
        return Finding(tenant.key, problem, None)
    unfinished = UNFINISHED.get(tenant.status)
    if unfinished is None or not _is_abandoned(connection, tenant.key):
        return None
    return Finding(tenant.key, unfinished.problem, unfinished.repair)


def _inspect(
    directory: Directory, connection: Connection, tenants: Collection[Tenant], known: Collection[int]
) -> Findings:
    """Return the problems of the placements that should be complete, in each database."""
    complete = _complete(directory, tenants)
    registry = read_identity(connection)

    def inspect(database: str, there: Connection) -> Findings:
        found: Findings = []
        for isolation in directory.isolations:
            found += isolation.inspect(there, complete.get((database, isolation.name), ()), known)
            if isolation.databases is not None and database in directory.databases.keys:
                found += isolation.databases.inspect(there, registry, known)
        found += [
            Finding(f"database {database}", f"a move that was interrupted left the publication {name!r}", "remove it")
            for name in replication.find_abandoned(there)
        ]
        return found

    names = each_database(directory.databases, _places(complete))
    reached = in_each(directory.databases, connection, names, inspect)
    findings = [finding for found in reached.results.values() for finding in found]
    findings += [Finding(f"database {name}", problem, None) for name, problem in reached.unreachable.items()]
    return sorted(dict.fromkeys(findings), key=lambda finding: finding.subject)


def _repair_placements(directory: Directory, connection: Connection, tenants: Collection[Tenant]) -> None:
    complete = _complete(directory, tenants)

    def work(database: str, there: Connection) -> None:
        with there.begin():
            limit_lock_waits(there)
            for isolation in directory.isolations:
                isolation.repair(there, complete.get((database, isolation.name), ()))
            for name in replication.find_abandoned(there):
                replication.drop_publication(there, name)

    # One after the other: databases of one server have the same roles, so their transactions would wait for each other.
    for database in each_database(directory.databases, _places(complete)):
        in_each(directory.databases, connection, [database], partial(after_conflicts(), work))


def _complete(directory: Directory, tenants: Collection[Tenant]) -> Mapping[tuple[str, str], Collection[Tenant]]:
    """Return the tenants whose placements should be complete, by their database and isolation."""
    complete: dict[tuple[str, str], list[Tenant]] = {}
    for tenant in tenants:
        if tenant.status in MIGRATED and directory.isolations.problem(tenant) is None:
            complete.setdefault((tenant.placement.database, tenant.isolation), []).append(tenant)
    return complete


def _places(complete: Mapping[tuple[str, str], Collection[Tenant]]) -> Iterator[Placement]:
    return (tenant.placement for alike in complete.values() for tenant in alike)


def _is_abandoned(connection: Connection, key: str) -> bool:
    """Return whether a tenant is unfinished and no process, which would lock its row, creates or drops it."""
    tenant_id = connection.execute(_ABANDONED, {"key": key, "unfinished": [*UNFINISHED]}).scalar()
    return tenant_id is not None and try_tenant_lock(connection, tenant_id)
