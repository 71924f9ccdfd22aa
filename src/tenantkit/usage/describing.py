"""The description of one tenant: where its data is, table by table, and its history."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.arguments import FLAG, require
from tenantkit.databases.reach import in_each
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import TenantNotFoundError
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.registry import history, store
from tenantkit.registry.history import HistoryEntry
from tenantkit.registry.revisions import has_revisions, read_heads
from tenantkit.tenant import KEY, Tenant
from tenantkit.usage.sizes import TableSize, measure


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantDescription:
    """What is known of a tenant, or of one that was dropped."""

    key: str
    tenant: Tenant | None
    """The tenant as the registry has it; ``None`` if no tenant has the key any more."""
    revision: str | None
    """The revision of its tables; ``None`` without migrations, or if they cannot be read."""
    problem: str | None
    """Why its tables cannot be read."""
    tables: tuple[TableSize, ...]
    """The tables, the largest first."""
    is_exact: bool
    """Whether the rows were counted."""
    history: tuple[HistoryEntry, ...]
    """What happened to the tenant, and to others that have had the key; the oldest entry first."""

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(each.rows for each in self.tables)

    @property
    def size(self) -> int | None:
        """The bytes of all tables; ``None`` if those of one are not known."""
        found = [each.size for each in self.tables if each.size is not None]
        return sum(found) if len(found) == len(self.tables) else None


def describe(tenancy: Deployment, key: str, *, count: bool = False) -> TenantDescription:
    """Return where the data of a tenant is, the size of each table, and its history; also that of a dropped tenant.

    :param count: count the rows of each table, which reads all of them, instead of the server's estimate.
    :raises TenantNotFoundError: if no tenant has, or has had, the key since the registry keeps history.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY), count=(count, FLAG))
    with tenancy.engine.connect() as connection:
        entries = tuple(history.read(connection, key))
        try:
            tenant = store.get(connection, key)
        except TenantNotFoundError:
            if not entries:
                raise
            return TenantDescription(
                key=key, tenant=None, revision=None, problem=None, tables=(), is_exact=count, history=entries
            )
        revision, tables, problem = _read(tenancy, connection, tenant, count=count)
    return TenantDescription(
        key=key, tenant=tenant, revision=revision, problem=problem, tables=tables, is_exact=count, history=entries
    )


def _read(
    tenancy: Deployment, connection: Connection, tenant: Tenant, *, count: bool
) -> tuple[str | None, tuple[TableSize, ...], str | None]:
    """Return the revision and the sizes of the tables, or the reason why they cannot be read."""
    if (problem := tenancy.isolations.problem(tenant)) is not None:
        return None, (), problem
    isolation = tenancy.isolations.of(tenant)
    column = tenancy.isolations.column(of_any=True) if isolation.shares_tables else None
    value = None if column is None else column.value_of(tenant)

    def read(_: str, there: Connection) -> tuple[str | None, tuple[TableSize, ...]]:
        limit_lock_waits(there)
        revision = ",".join(read_heads(there, tenant)[0]) or None if has_revisions(there, tenant) else None
        return revision, measure(there, tenant.schema, column, value, count=count)

    database = tenant.placement.database
    try:
        reached = in_each(tenancy.databases, connection, [database], read)
    except DBAPIError as error:
        if not is_lock_conflict(error):
            raise
        return None, (), "a transaction has locked its tables; try again later"
    return *reached.results.get(database, (None, ())), reached.unreachable.get(database)
