"""Finding tenants that an interrupted process left behind, and putting them right."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from sqlalchemy import Connection, text

from tenantkit.databases.base import connected, joined
from tenantkit.exceptions import ProvisioningError
from tenantkit.isolation.base import Finding
from tenantkit.lifecycle.attendance import is_unattended
from tenantkit.lifecycle.drop import finish, require_removable
from tenantkit.lifecycle.operation import UNFINISHED
from tenantkit.registry import store
from tenantkit.registry.directory import Directory
from tenantkit.runs import maintenance
from tenantkit.status import MIGRATED, Status
from tenantkit.tenant import Tenant

_UNATTENDED = text(
    """
    SELECT id FROM tenantkit.tenants
    WHERE key = :key AND status = ANY(:unfinished) FOR UPDATE SKIP LOCKED
    """
)


Findings: TypeAlias = "list[Finding]"


def diagnose(directory: Directory, connection: Connection) -> Findings:
    """Return what is wrong with the tenants; tenants that a live process is at work on are well."""
    with connection.begin():
        tenants = store.find(connection)
        examined = [finding for tenant in tenants if (finding := _examine(directory, connection, tenant)) is not None]
        abandoned = [
            Finding(key, "a migration that was interrupted left it in maintenance", "make it active again")
            for key in maintenance.abandoned(connection, directory.databases)
        ]
        return [*examined, *abandoned, *_inspect(directory, connection, tenants)]


def repair(directory: Directory, connection: Connection) -> Findings:
    """Put right what can be, and return what was found before.

    Tenants whose creation never finished are removed; removals are finished; tenants that dead runs left in
    maintenance are active again.

    :raises ProvisioningError: the first, once everything else is done, of those that a person must see to.
    """
    findings = diagnose(directory, connection)
    failures: list[ProvisioningError] = []
    for finding in findings:
        if finding.repair is not None:
            try:
                _remove(directory, connection, finding.subject)
            except ProvisioningError as error:
                failures.append(error)
    with connection.begin():
        maintenance.release(connection, directory.databases)
    if failures:
        raise failures[0]
    return findings


def _remove(directory: Directory, connection: Connection, key: str) -> None:
    # Looked at again, and locked: since it was found, whoever was at work on it may have finished.
    with connection.begin():
        if not _is_unattended(connection, key):
            return
        tenant = store.get(connection, key)
        with joined(directory.databases, tenant.placement.database, connection) as there:
            require_removable(directory, connection, there, tenant)
        if tenant.status is not Status.DROPPING:
            tenant = store.transition(connection, directory.isolations, key, Status.DROPPING)
    finish(directory, connection, tenant)


def _examine(directory: Directory, connection: Connection, tenant: Tenant) -> Finding | None:
    if (problem := directory.isolations.problem(tenant)) is not None:
        return Finding(tenant.key, problem, None)
    unfinished = UNFINISHED.get(tenant.status)
    if unfinished is None or not _is_unattended(connection, tenant.key):
        return None
    return Finding(tenant.key, unfinished.problem, unfinished.repair)


def _inspect(directory: Directory, connection: Connection, tenants: Collection[Tenant]) -> Findings:
    """Return what is wrong with the placements of tenants that should have complete ones, in each database."""
    isolations, known = directory.isolations, {tenant.id for tenant in tenants}
    complete: dict[tuple[str, str], list[Tenant]] = {}
    for tenant in tenants:
        if tenant.status in MIGRATED and isolations.problem(tenant) is None:
            complete.setdefault((tenant.placement.database, tenant.isolation), []).append(tenant)
    findings: list[Finding] = []
    for database in directory.databases.keys:
        with connected(directory.databases, database, connection) as there:
            for isolation in isolations:
                findings += isolation.inspect(there, complete.get((database, isolation.name), ()), known)
    return sorted(dict.fromkeys(findings), key=lambda finding: finding.subject)


def _is_unattended(connection: Connection, key: str) -> bool:
    """Return whether a tenant is unfinished and no process holds its row, as one that creates or drops it does."""
    tenant_id = connection.execute(_UNATTENDED, {"key": key, "unfinished": [*UNFINISHED]}).scalar()
    return tenant_id is not None and is_unattended(connection, tenant_id)
