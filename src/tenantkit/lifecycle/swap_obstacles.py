"""What prevents a swap of a tenant with its copy, before anything is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import KW_ONLY, dataclass

from sqlalchemy import Connection

from tenantkit.databases.base import connected
from tenantkit.isolation import fence
from tenantkit.naming import first_lines
from tenantkit.postgres import blockers
from tenantkit.registry import swaps
from tenantkit.registry.directory import Directory
from tenantkit.registry.revisions import has_revisions, read_heads
from tenantkit.runs.claims import claim
from tenantkit.status import COMPLETE, Status
from tenantkit.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Obstacles:
    """Each method yields the reasons against a swap of a tenant with another one, its copy."""

    directory: Directory
    connection: Connection
    """To the main database."""
    _: KW_ONLY
    back: bool
    """Whether the copy is to have the tenant's former tables."""
    any_tenant: bool
    """Whether the copy may be one that tenantkit has not restored beside the tenant."""

    def in_registry(self, tenant: Tenant, other: Tenant) -> Iterator[str]:
        """Those that the rows of both tenants show."""
        if tenant.status not in COMPLETE:
            yield f"it is {tenant.status}: finish its creation or its removal first"
        if other.status is not Status.SUSPENDED:
            yield f"{other.key!r} is {other.status}, and a copy may not be in use: 'tenantkit suspend {other.key}'"
        pairs = {(first, second) for first, (_, second) in swaps.find_unfinished(self.connection).items()}
        for each in (tenant, other):
            if any(each.id in pair for pair in pairs - {(tenant.id, other.id)}):
                yield f"another swap of {each.key!r} goes on, or was interrupted: run 'tenantkit doctor --repair' first"
        goes_on = swaps.find_partner(self.connection, tenant.id) == other.id
        is_copy = goes_on or swaps.is_copy(self.connection, other.id, tenant.id)
        if self.back and not is_copy:
            yield _no_former(other)
        elif not (is_copy or self.any_tenant):
            yield (
                f"{other.key!r} was not restored from a backup of {tenant.key!r}, so its rows may be another "
                "customer's; if they are not, give any_tenant=True or --any-tenant"
            )

    def to_fence(self, there: Connection, tenant: Tenant, other: Tenant) -> Iterator[str]:
        """Those against a fence around the tenant's tables; *there* is a connection to their database."""
        yield from self._of_either(there, tenant, other)
        if prepared := blockers.find_holders(there, tenant.schema, writers=True).prepared:
            yield blockers.describe_prepared(prepared, "have written to its tables")

    def to_open(self, there: Connection, tenant: Tenant, other: Tenant) -> Iterator[str]:
        """Those against the use of the copy's tables by the tenant; *there* is a connection to their database."""
        yield from self._of_either(there, other, tenant)
        if swaps.find_partner(self.connection, tenant.id) is not None:
            return  # it goes on
        if missing := self._find_missing_revisions(there, tenant, other):
            yield f"{other.key!r} lacks the revisions {first_lines(missing)} of the tenant; migrate it first"
        fenced = fence.fenced_schemas(there)
        has_former = fenced.get(other.schema, False)
        if self.back and not has_former:
            yield _no_former(other)
        elif not self.back and has_former:
            yield f"{other.key!r} has former tables; to swap back to them, give back=True or --back"
        elif other.schema not in fenced and (older := blockers.find_older_snapshots(there, other.schema)):
            shown = first_lines(map(str, older))
            yield f"transactions that began before the copy would find its tables empty: {shown}; end them, or wait"

    def _of_either(self, there: Connection, tenant: Tenant, other: Tenant) -> Iterator[str]:
        if (obstacle := self.directory.isolations.of(tenant).obstacle_to_swap(there, tenant, other)) is not None:
            yield obstacle
        if not claim(there, tenant.schema):
            yield f"a migration, or a backup, is at work on the schema {tenant.schema!r}; wait until it ends"

    def _find_missing_revisions(self, there: Connection, tenant: Tenant, other: Tenant) -> Collection[str]:
        """Return the revisions of the tenant's tables that the copy's do not include."""
        databases = self.directory.databases
        with connected(databases, tenant.placement.database, self.connection) as ours:
            heads, copied = (_read_heads(*each) for each in ((ours, tenant), (there, other)))
        revisions = self.directory.revisions
        return [
            head
            for head in heads
            if head not in copied and not (copied and revisions.look_up(self.connection, databases, other, head))
        ]


def _no_former(other: Tenant) -> str:
    return f"{other.key!r} has no former tables of the tenant, or not any more; leave out back=True or --back"


def _read_heads(connection: Connection, tenant: Tenant) -> tuple[str, ...]:
    return read_heads(connection, tenant)[0] if has_revisions(connection, tenant) else ()
