"""Finding tenants that an interrupted process left behind, and putting them right."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from tenantkit.exceptions import TenantNotFoundError
from tenantkit.provisioning import schemas
from tenantkit.provisioning.drop import drop
from tenantkit.registry import store
from tenantkit.tenant import MIGRATED, Status, Tenant

_MARKED = text(
    r"""
    SELECT nspname, split_part(obj_description(oid, 'pg_namespace'), ' ', 3)::bigint AS tenant_id
    FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') ~ '^tenantkit tenant \d+$'
    """
)
_UNLOCKED = text("SELECT key FROM tenantkit.tenants WHERE id = :id FOR UPDATE SKIP LOCKED")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    subject: str
    """A tenant's key, or a schema's name."""
    problem: str
    repair: str | None
    """What ``repair`` does about it; ``None`` if a person must decide."""


def diagnose(connection: Connection) -> list[Finding]:
    """Return what is wrong with the tenants; tenants that a live process is at work on are well."""
    with connection.begin():
        tenants = store.find(connection)
        marked = {row.nspname: row.tenant_id for row in connection.execute(_MARKED)}
        findings = [finding for tenant in tenants if (finding := _examine(connection, tenant, marked))]
    known = {tenant.id for tenant in tenants}
    findings += [
        Finding(schema, "its tenant is not in the registry", None)
        for schema, tenant_id in sorted(marked.items())
        if tenant_id not in known
    ]
    return findings


def repair(connection: Connection) -> list[Finding]:
    """Put right what can be, and return what was found before.

    Tenants whose creation never finished are removed; removals are finished.
    """
    findings = diagnose(connection)
    for finding in findings:
        if finding.repair is not None:
            try:
                drop(connection, finding.subject)
            except TenantNotFoundError:
                continue  # whoever else was at it has finished
    return findings


def _examine(connection: Connection, tenant: Tenant, marked: dict[str, int]) -> Finding | None:
    match tenant.status:
        case Status.PROVISIONING | Status.FAILED if _is_unattended(connection, tenant):
            return Finding(tenant.key, "its creation never finished", "remove it, so that the key is free again")
        case Status.DROPPING if _is_unattended(connection, tenant):
            return Finding(tenant.key, "its removal never finished", "finish the removal")
        case status if status in MIGRATED and marked.get(tenant.schema) != tenant.id:
            missing = schemas.read_mark(connection, tenant.schema) is None
            problem = "does not exist" if missing else f"lacks the comment {schemas.mark_of(tenant)!r}"
            return Finding(tenant.key, f"its schema {tenant.schema!r} {problem}", None)
        case _:
            return None


def _is_unattended(connection: Connection, tenant: Tenant) -> bool:
    """Return whether no process holds the tenant's row, as one that creates or drops it does."""
    return connection.execute(_UNLOCKED, {"id": tenant.id}).first() is not None
