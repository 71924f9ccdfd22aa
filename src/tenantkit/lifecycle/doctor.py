"""Finding tenants that an interrupted process left behind, and putting them right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, text

from tenantkit.exceptions import ProvisioningError
from tenantkit.isolation import schemas
from tenantkit.lifecycle.attendance import is_unattended
from tenantkit.lifecycle.drop import finish, require_removable
from tenantkit.registry import store
from tenantkit.runs import maintenance
from tenantkit.status import MIGRATED, Status
from tenantkit.tenant import Tenant, unsupported

_MARKED = text(
    r"""
    SELECT nspname, split_part(obj_description(oid, 'pg_namespace'), ' ', 3)::bigint AS tenant_id
    FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') ~ '^tenantkit tenant \d+$'
    """
)
_UNATTENDED = text(
    """
    SELECT id FROM tenantkit.tenants
    WHERE key = :key AND status IN ('provisioning', 'failed', 'dropping') FOR UPDATE SKIP LOCKED
    """
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    subject: str
    """A tenant's key, or a schema's name."""
    problem: str
    repair: str | None
    """What ``repair`` does about it; ``None`` if a person must decide."""


Findings: TypeAlias = "list[Finding]"


def diagnose(connection: Connection) -> Findings:
    """Return what is wrong with the tenants; tenants that a live process is at work on are well."""
    with connection.begin():
        tenants = store.find(connection)
        marked = {row.nspname: row.tenant_id for row in connection.execute(_MARKED)}
        findings = [finding for tenant in tenants if (finding := _examine(connection, tenant, marked))]
        findings += [
            Finding(key, "a migration that was interrupted left it in maintenance", "make it active again")
            for key in maintenance.abandoned(connection)
        ]
    known = {tenant.id for tenant in tenants}
    findings += [
        Finding(schema, "its tenant is not in the registry", None)
        for schema, tenant_id in sorted(marked.items())
        if tenant_id not in known
    ]
    return findings


def repair(connection: Connection) -> Findings:
    """Put right what can be, and return what was found before.

    Tenants whose creation never finished are removed; removals are finished; tenants that dead runs left in
    maintenance are active again.

    :raises ProvisioningError: the first, once everything else is done, of those that a person must see to.
    """
    findings = diagnose(connection)
    failures: list[ProvisioningError] = []
    for finding in findings:
        if finding.repair is not None:
            try:
                _remove(connection, finding.subject)
            except ProvisioningError as error:
                failures.append(error)
    with connection.begin():
        maintenance.release(connection)
    if failures:
        raise failures[0]
    return findings


def _remove(connection: Connection, key: str) -> None:
    # Looked at again, and locked: since it was found, whoever was at work on it may have finished.
    with connection.begin():
        if not _is_unattended(connection, key):
            return
        tenant = store.get(connection, key)
        require_removable(connection, tenant)
        if tenant.status is not Status.DROPPING:
            tenant = store.transition(connection, key, Status.DROPPING)
    finish(connection, tenant)


def _examine(connection: Connection, tenant: Tenant, marked: dict[str, int]) -> Finding | None:
    if (problem := unsupported(tenant)) is not None:
        return Finding(tenant.key, problem, None)
    match tenant.status:
        case Status.PROVISIONING | Status.FAILED if _is_unattended(connection, tenant.key):
            return Finding(tenant.key, "its creation never finished", "remove it, so that the key is free again")
        case Status.DROPPING if _is_unattended(connection, tenant.key):
            return Finding(tenant.key, "its removal never finished", "finish the removal")
        case status if status in MIGRATED and marked.get(tenant.schema) != tenant.id:
            missing = schemas.read_mark(connection, tenant.schema) is None
            problem = "does not exist" if missing else f"lacks the comment {schemas.mark_of(tenant)!r}"
            return Finding(tenant.key, f"its schema {tenant.schema!r} {problem}", None)
        case _:
            return None


def _is_unattended(connection: Connection, key: str) -> bool:
    """Return whether a tenant is unfinished and no process holds its row, as one that creates or drops it does."""
    tenant_id = connection.execute(_UNATTENDED, {"key": key}).scalar()
    return tenant_id is not None and is_unattended(connection, tenant_id)
