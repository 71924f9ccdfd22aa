"""Working out what a run has to do: for which tenants, and where each is to go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tenantkit.exceptions import ConfigurationError, TenantNotFoundError
from tenantkit.migrations.apply import plan
from tenantkit.migrations.phases import Phase, limit
from tenantkit.migrations.report import Outcome, join
from tenantkit.migrations.tasks import Command
from tenantkit.tenant import Tenant

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.lines import Heads, Line


def select(fleet: Sequence[Tenant], keys: Collection[str] | None) -> list[Tenant]:
    """Return the tenants with these keys, or all.

    :raises TenantNotFoundError: if one is not among those that can be migrated.
    """
    if keys is None:
        return list(fleet)
    for key in set(keys) - {tenant.key for tenant in fleet}:
        raise TenantNotFoundError(key=key)
    return [tenant for tenant in fleet if tenant.key in keys]


def plan_fleet(
    line: Line,
    command: Command,
    target: str,
    fleet: Sequence[Tenant],
    current: dict[str, Heads],
    phase: Phase | None = None,
) -> tuple[dict[Heads, list[Tenant]], dict[Heads, str], list[Outcome]]:
    """Return the tenants to migrate by where they are, where those are to go, and the failures of hopeless ones.

    What a revision needs is worked out once for all the tenants that are at it.
    """
    targets: dict[Heads, str] = {}
    needs_work: dict[Heads, bool | ConfigurationError] = {}
    groups: dict[Heads, list[Tenant]] = {}
    refused: list[Outcome] = []
    for tenant in fleet:
        heads = current.get(tenant.schema)
        if heads is None:
            refused.append(_refuse(tenant, (), f"the schema {tenant.schema!r} does not exist; see 'tenantkit doctor'"))
            continue
        if heads not in needs_work:
            try:
                wanted = limit(line, target, heads, phase)
                steps = plan(line, command, wanted, heads)
                needs_work[heads] = bool(steps)
                targets[heads] = _absolute(wanted, steps)
            except ConfigurationError as error:
                needs_work[heads] = error
        match needs_work[heads]:
            case ConfigurationError() as reason:
                refused.append(_refuse(tenant, heads, str(reason)))
            case True:
                groups.setdefault(heads, []).append(tenant)
            case _:
                pass
    return groups, targets, refused


def _absolute(target: str, steps: Sequence[MigrationStep]) -> str:
    """Return *target* so that it means the same wherever a tenant is: another run may move it before this one does."""
    if not steps or target[0] not in "+-":
        return target
    there: tuple[str, ...] = steps[-1].to_revisions_no_deps
    return there[0] if len(there) == 1 else "base" if not there else target


def _refuse(tenant: Tenant, heads: Heads, error: str) -> Outcome:
    revision = join(heads) or None
    return Outcome(key=tenant.key, schema=tenant.schema, from_revision=revision, to_revision=revision, error=error)
