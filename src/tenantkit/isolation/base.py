"""What an isolation decides, as a protocol: everything above asks one of these, and none by its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from tenantkit.databases.base import split_key
from tenantkit.isolation.binding import Binding
from tenantkit.isolation.target import MigrationTarget
from tenantkit.tenant import NewTenant, Placement, Tenant


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    subject: str
    """A tenant's key, a schema's name, or ``database`` with a database's name."""
    problem: str
    repair: str | None
    """What ``repair`` does about it; ``None`` if a person must decide."""


class TenantDatabases(Protocol):
    """Makes and removes databases of single tenants.

    Both can be done only outside of a transaction, from another database of the server: from the named database whose
    server it is. Both may be called again after a process has died in the middle of it.
    """

    def create(
        self, connection: Connection, tenant: Tenant, contents: str | None, fill: Callable[[Tenant], bool]
    ) -> None:
        """Make the database of *tenant*, in place of what an earlier try has left.

        It is empty, or a copy of a template; `Isolation.create` then tells which.

        :param contents: the text that determines what a new tenant has in its database; ``None`` if none does.
        :param fill: makes a template: the contents for a tenant that does not exist, in its database; returns what
            `is_template` finds there.
        """
        ...

    def is_template(self, connection: Connection) -> bool:
        """Return whether the database of *connection* can be copied for tenants."""
        ...

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        """End the connections to the database of *tenant*, and remove it, if it is there."""
        ...

    def inspect(self, connection: Connection, registry: str, known: Collection[int]) -> list[Finding]:
        """Return the databases on a server that were made for tenants of *registry* that do not exist.

        :param known: the ids of all tenants.
        """
        ...


class Isolation(Protocol):
    """Keeps the tenants of one kind apart: `Tenant.isolation` names it.

    Values are decided without I/O. What acts is given a connection to the placement's database, and may be called again
    after a process has died in the middle of it. Where `databases` makes that database, the two searches for obstacles
    and `drop` are given a connection to the named database on its server.
    """

    @property
    def databases(self) -> TenantDatabases | None:
        """What makes the database of each tenant; ``None`` if they are in databases that exist."""
        ...

    @property
    def name(self) -> str:
        """What `Tenant.isolation` says."""
        ...

    @property
    def shares_tables(self) -> bool:
        """Whether tenants have rows of the same tables."""
        ...

    def place(self, tenant: NewTenant) -> Placement:
        """Return where a new tenant's tables go.

        :raises InvalidTenantKeyError: if its key makes no name for them.
        """
        ...

    def bind(self, tenant: Tenant) -> Binding:
        """Return what a session needs to serve *tenant*."""
        ...

    def targets(self, tenants: Iterable[Tenant]) -> Iterable[MigrationTarget]:
        """Return where the tables of *tenants* are migrated: one for each placement."""
        ...

    def obstacle_to_create(self, connection: Connection, placement: Placement) -> str | None:
        """Return what is in the way of a new tenant at *placement*."""
        ...

    def create(self, connection: Connection, tenant: Tenant) -> bool:
        """Make the placement of *tenant*, marked as its own, in place of what an earlier try has left.

        Return whether it is empty, so that its tables are to be made: one that tenants share may have them already.
        """
        ...

    def fill(self, connection: Connection, tenant: Tenant) -> None:
        """Write what revisions wrote for each tenant, if the placement of *tenant* had its tables before it."""
        ...

    def obstacle_to_drop(self, connection: Connection, tenant: Tenant) -> str | None:
        """Return why the placement of *tenant* cannot be removed: it is another's, or others depend on it."""
        ...

    def removal_steps(self, connection: Connection, tenant: Tenant) -> list[str]:
        """Return descriptions of what `detachments` and `drop` do, given the connection of `obstacle_to_drop`."""
        ...

    def detachments(self, connection: Connection, tenant: Tenant) -> Sequence[Callable[[Connection], object]]:
        """Return what is to be done before `drop`, each in a short transaction of its own, so that others can work."""
        ...

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        """Remove the placement of *tenant* and all in it, if it is there."""

    def schema_under(self, tenant: Tenant, new: NewTenant) -> str | None:
        """Return the name that the schema of *tenant* would have under the key of *new*; ``None`` if it keeps its own.

        :raises InvalidTenantKeyError: if the key makes no name for it.
        """
        ...

    def obstacle_to_rename(self, connection: Connection, tenant: Tenant, schema: str) -> str | None:
        """Return why the schema of *tenant* cannot be renamed to *schema*, besides texts that name it."""
        ...

    def rename(self, connection: Connection, tenant: Tenant, schema: str) -> tuple[str, ...]:
        """Give the schema with the mark of *tenant* the name *schema*, if it has another one.

        Return descriptions of texts that keep the former name.

        :raises SchemaRenameError: if that would break what is in it.
        """
        ...

    def obstacle_to_adopt(self, connection: Connection, schema: str, known: Collection[int]) -> str | None:
        """Return why an existing *schema* cannot become a tenant's: it is another's, or roles may not use it.

        :param known: the ids of all tenants; a mark with another id is what an interrupted adoption has left.
        """
        ...

    def adopt(self, connection: Connection, tenant: Tenant) -> None:
        """Mark the existing schema of *tenant* as its own, and change nothing in it.

        :raises ConfigurationError: if the tenants of this isolation have none.
        """

    def release(self, connection: Connection, tenant: Tenant) -> None:
        """Take back what `adopt` does; do nothing if the schema is not the tenant's any more.

        :raises ConfigurationError: if the tenants of this isolation have none.
        """

    def obstacle_to_swap(self, connection: Connection, tenant: Tenant, other: Tenant) -> str | None:
        """Return why the placement of *tenant* cannot become that of *other*.

        It may have the mark of either: a swap in several transactions may have been interrupted.
        """
        ...

    def take_over(self, connection: Connection, tenant: Tenant) -> None:
        """Mark the placement of *tenant*, which was another tenant's, as its own.

        :raises ConfigurationError: if the tenants of this isolation have none.
        """

    def inspect(self, connection: Connection, tenants: Collection[Tenant], known: Collection[int]) -> list[Finding]:
        """Return what is wrong in one database with the placements of *tenants*, who should have complete ones there.

        :param known: the ids of all tenants; a placement with another id has no tenant.
        """
        ...

    def repair(self, connection: Connection, tenants: Collection[Tenant]) -> None:
        """Repair in one database what `inspect` finds at the placements of *tenants* and names a repair for."""


def administered_from(isolation: Isolation, placement: Placement) -> str:
    """Return the key of the database from which *placement* is made and removed."""
    return placement.database if isolation.databases is None else split_key(placement.database)[0]
