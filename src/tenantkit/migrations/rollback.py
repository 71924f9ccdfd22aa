"""Taking back what a run did."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.history import get_run
from tenantkit.migrations.planning import Plan, Work, heads_of, refuse, without_schema
from tenantkit.migrations.report import Outcome, join, split
from tenantkit.registry import ledger

if TYPE_CHECKING:
    from tenantkit.migrations.lines import Heads, Line
    from tenantkit.tenancy import Tenancy
    from tenantkit.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Deed:
    """What a run did to a tenant."""

    before: Heads
    after: Heads


def find_deeds(tenancy: Tenancy, run_id: int, keys: Collection[str] | None) -> dict[str, Deed]:
    """Return what a run did to the tenants with these keys, or to all.

    :raises ConfigurationError: if there is no such run, if it did nothing, or if it was no migration.
    """
    run, _ = get_run(tenancy, run_id)
    if run.command != "migrate":
        raise ConfigurationError(f"Run {run_id} was a {run.command}, and only a migration can be taken back.")
    with tenancy.engine.connect() as connection:
        # Of some, only a part was done: they failed, or the run was stopped or killed.
        rows = [row for row in ledger.find_outcomes(connection, run_id) if row.to_revision and _moved_by(row)]
    deeds = {row.key: Deed(split(row.from_revision), split(row.to_revision)) for row in rows}
    for key in keys or ():
        if key not in deeds:
            raise ConfigurationError(
                f"Run {run_id} did not migrate {key!r}. 'tenantkit runs show {run_id}' tells whom it did."
            )
    if not deeds:
        raise ConfigurationError(f"Run {run_id} migrated no tenant, so there is nothing to take back.")
    return {key: deed for key, deed in deeds.items() if keys is None or key in keys}


def plan_rollback(
    line: Line,
    run_id: int,
    deeds: Mapping[str, Deed],
    later: Mapping[int, int],
    fleet: Sequence[Tenant],
    current: Mapping[str, Heads],
) -> Plan:
    """Return what takes every tenant of *fleet* back to where it was before the run.

    Tenants that have moved on since are refused. What took *later* runs to a tenant is its last one, by its id.
    """
    work: list[Work] = []
    refused: list[Outcome] = []
    unchanged = 0
    for tenant in fleet:
        deed, heads = deeds[tenant.key], heads_of(tenant, current)
        if heads is None:
            refused.append(without_schema(tenant))
        elif set(heads) == set(deed.before):
            unchanged += 1
        elif set(heads) != set(deed.after) or tenant.id in later:
            refused.append(refuse(tenant, heads, _moved(run_id, deed, heads, later.get(tenant.id))))
        else:
            try:
                work.append(Work(tenant, heads, _way_back(line, run_id, deed, heads)))
            except ConfigurationError as error:
                refused.append(refuse(tenant, heads, str(error)))
    return Plan(work, refused, unchanged, is_exact=True)


def _way_back(line: Line, run_id: int, deed: Deed, heads: Heads) -> str:
    """Return the target that undoes exactly the revisions that the run has applied."""
    applied = {step.revision.revision for after in deed.after for step in line.upgrade_steps(after, deed.before)}
    for target in deed.before or ("base",):
        if {step.revision.revision for step in line.downgrade_steps(target, heads)} == applied:
            return target
    raise ConfigurationError(
        f"no single downgrade goes from {join(deed.after)} back to {join(deed.before) or 'base'}, where run {run_id} "
        "found it. Take the branches back one by one with 'tenantkit downgrade'"
    )


def _moved(run_id: int, deed: Deed, heads: Heads, later: int | None) -> str:
    by = "" if later is None else f", by run {later}"
    return (
        f"it has moved on since run {run_id} brought it to {join(deed.after)}{by}, and is at {join(heads) or 'base'}. "
        f"Take that back first, or go to {join(deed.before) or 'base'} with 'tenantkit downgrade'"
    )


def _moved_by(row: Any) -> bool:
    return bool(row.from_revision != row.to_revision)
