"""What is read of a tenant: its tables, in a transaction whose snapshot is newer than its locks."""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version

from sqlalchemy import Connection
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from tenantkit.databases.base import shares_transaction
from tenantkit.deployment import Deployment
from tenantkit.exceptions import BackupError, TenantMismatchError, TenantNotFoundError, TenantUnavailableError
from tenantkit.isolation.tenant_column import SETTING, TenantColumn
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.quoting import quote_identifier, quote_literal, quote_setting
from tenantkit.postgres.retry import PATIENCE
from tenantkit.registry import store
from tenantkit.registry.revisions import has_revisions, read_heads
from tenantkit.runs.claims import share
from tenantkit.status import COMPLETE
from tenantkit.tenant import Tenant
from tenantkit.transfer import catalog
from tenantkit.transfer.catalog import Found, qualified
from tenantkit.transfer.manifest import Manifest, References, SequenceState, Table
from tenantkit.transfer.results import record_of

MOST_VALUES = 10_000
"""Number of different values up to which a file lists those that refer to a shared table."""


class _BusyError(Exception):
    """The tenant's tables are being changed."""


@dataclass(frozen=True)
class Source:
    """The rows of one tenant, in a transaction of *connection* that reads them."""

    connection: Connection
    tenant: Tenant
    shared: TenantColumn | None
    """The column that divides the tables among tenants, if they are not this tenant's alone."""
    column: TenantColumn | None
    """The tenant column, whose values a file does not have; ``None`` if there is none."""
    value: str | None
    """The tenant's value of it."""

    @property
    def schema(self) -> str:
        """The schema of the tables."""
        return self.tenant.schema

    @cached_property
    def found(self) -> dict[str, Found]:
        """All tables of the schema."""
        return catalog.read_tables(self.connection, self.schema, without=self.column.name if self.column else None)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that have rows: partitions in place of what they are parts of, unless tenants share them."""
        return tuple(
            each.table
            for each in self.found.values()
            if (each.table.parent is None if self.shared else not each.is_partitioned)
        )

    @property
    def wholes(self) -> tuple[Table, ...]:
        """The tables that are no partitions of others."""
        return tuple(each.table for each in self.found.values() if each.table.parent is None)

    def whole_of(self, table: Table) -> Table:
        """Return the table that *table* is a part of, or itself."""
        while table.parent is not None:
            table = self.found[table.parent].table
        return table

    def rows_of(self, table: Table) -> str:
        """Return what COPY reads the rows of *table* from."""
        columns = [column.name for column in table.columns]
        if self.shared is not None:
            return f"({self.query(table.name, columns)})"
        return qualified(self.schema, table.name) + (f" ({catalog.names(columns)})" if columns else "")

    def query(self, table: str, columns: Iterable[str]) -> str:
        """Return the query for *columns* of the tenant's rows of a table."""
        only = "" if self.found[table].is_partitioned else "ONLY "
        return f"SELECT {catalog.names(columns)} FROM {only}{qualified(self.schema, table)}{self._where}"

    @property
    def _where(self) -> str:
        if self.shared is None or self.value is None:
            return ""
        return f" WHERE {self.shared.sql_name} = {quote_literal(self.value)}::{self.shared.type}"

    def sequences(self) -> Iterator[SequenceState]:
        """Yield the states of sequences, as they are now.

        Those behind columns of tables that tenants share are as if the tenant's last row was the last one of all.
        """
        found = catalog.read_sequences(self.connection, self.schema)
        shared = [each for each in found if self.shared is not None and each.owner is not None]
        own = [each.name for each in found if self.shared is None or each.owner is None]
        yield from catalog.read_states(self.connection, self.schema, own)
        for each in shared:
            table, column = each.owner
            last = f"{'max' if each.increment > 0 else 'min'}({quote_identifier(column)})"
            query = f"SELECT {last} AS last FROM {qualified(self.schema, table)}{self._where}"
            row = catalog.execute(self.connection, query).one()
            if row.last is not None:
                yield SequenceState(each.name, row.last, is_called=True)

    def references(self) -> Iterator[References]:
        """Yield the values by which rows refer to shared tables."""
        for key in catalog.read_keys(self.connection, self.schema):
            if key.target_schema == self.schema or (self.column is not None and self.column.name in key.columns):
                continue
            columns = ", ".join(f"{each}::text" for each in map(quote_identifier, key.columns))
            filled = " AND ".join(f"{each} IS NOT NULL" for each in map(quote_identifier, key.columns))
            where = f"{self._where} AND {filled}" if self._where else f" WHERE {filled}"
            query = f"SELECT DISTINCT {columns} FROM {qualified(self.schema, key.table)}{where} LIMIT {MOST_VALUES + 1}"
            values = [tuple(row) for row in catalog.execute(self.connection, query)]
            yield References(
                key.table,
                key.columns,
                (key.target_schema, key.target),
                key.target_columns,
                tuple(sorted(values)) if len(values) <= MOST_VALUES else None,
            )


def require_readable(tenancy: Deployment, tenant: Tenant) -> None:
    """Raise unless *tenant* can be reached and has complete tables.

    :raises TenantUnavailableError: if not.
    """
    tenancy.isolations.of(tenant)  # raises if it cannot be reached
    if tenant.status not in COMPLETE:
        raise TenantUnavailableError(tenant.key, tenant.status, f"it is {tenant.status}, and has no complete tables")


@contextmanager
def reading(tenancy: Deployment, tenant: Tenant, *, patience: float | None = None) -> Generator[Source]:
    """Yield the rows of *tenant* in one snapshot. No migration changes its tables meanwhile.

    The tables are locked before the snapshot is taken: in a snapshot that is older than a TRUNCATE or a change that
    writes a table anew, the table is empty.

    :param patience: the seconds for which it waits while they are being migrated; by default a minute.
    :raises BackupError: if they are being migrated for longer, or the tenant was dropped or moved meanwhile.
    """
    binding = tenancy.isolations.of(tenant).bind(tenant)
    column = binding.column or (None if binding.value is None else tenancy.isolations.row_column())
    value = None if binding.value is None else str(binding.value)
    engine = tenancy.databases.engine(tenant.placement.database)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        source = Source(connection, tenant, binding.column, column, value)
        entering = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _BusyError) or is_lock_conflict(error)),
            wait=wait_random(0.05, 0.5),
            stop=stop_after_delay(PATIENCE if patience is None else patience),
            reraise=True,
        )
        try:
            entering(_begin, source)
            yield replace(source, tenant=_read_again(tenancy, source))
        except _BusyError as error:
            raise BackupError(tenant.key, "its tables are being migrated", "Try again later.") from error
        finally:
            connection.rollback()


def read_manifest(tenancy: Deployment, source: Source) -> Manifest:
    """Return the tenant of *source*, its revisions, and its tables.

    :raises BackupError: if its tables are at no revision, in an application with migrations.
    """
    connection, tenant = source.connection, source.tenant
    heads: tuple[str, ...] | None = None
    if tenancy.migrations is not None:
        if not has_revisions(connection, tenant):
            raise BackupError(tenant.key, "its tables are at no revision", "Record it with 'tenantkit stamp' first.")
        heads, _ = read_heads(connection, tenant)
    return Manifest(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tenantkit=version("tenantkit"),
        postgres=connection.exec_driver_sql("SHOW server_version").scalar_one(),
        tenant=record_of(tenant),
        heads=heads,
        tables=source.tables,
    )


def _begin(source: Source) -> None:
    """Begin the transaction of *source*: lock the tables, then take the snapshot.

    :raises _BusyError: if a migration is at work, or there are other tables than before the locks.
    """
    connection, schema = source.connection, source.schema
    connection.rollback()  # of an earlier try
    before = catalog.read_tables(connection, schema)
    connection.rollback()
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    limit_lock_waits(connection)
    catalog.pin(connection)
    connection.exec_driver_sql(f"SET LOCAL row_security = {'off' if source.shared is None else 'on'}")
    if source.value is not None:
        catalog.execute(connection, f"SET LOCAL {quote_setting(SETTING)} TO {quote_literal(source.value)}")
    if before:
        tables = ", ".join(f"ONLY {qualified(schema, name)}" for name in before)
        catalog.execute(connection, f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
    if not share(connection, schema) or catalog.read_tables(connection, schema).keys() != before.keys():
        raise _BusyError


def _read_again(tenancy: Deployment, source: Source) -> Tenant:
    """Return the tenant as it is after its tables were locked: there may be other tables now, or none.

    :raises BackupError: if so.
    """
    tenant = source.tenant
    try:
        if shares_transaction(tenancy.databases, tenant.placement.database):
            now = store.get_again(tenant, source.connection, tenant.key)
        else:
            with tenancy.engine.connect() as connection:
                now = store.get_again(tenant, connection, tenant.key)
    except (TenantNotFoundError, TenantMismatchError) as error:
        raise BackupError(tenant.key, "it was dropped meanwhile", "Nothing was read.") from error
    if now.status not in COMPLETE:
        raise BackupError(tenant.key, f"it is {now.status} now", "Nothing was read.")
    if now.placement != tenant.placement:
        raise BackupError(tenant.key, f"its tables are in the schema {now.schema!r} now", "Try again.")
    return now
