"""The restore of a tenant into tables that it shares with others.

These have one revision and the rows of others. So the rows are loaded into a schema of their own, migrated there, and
then inserted by the transaction that drops the schema and activates the tenant. Until then, short transactions make the
tables, and no key leads from them to shared tables: other sessions do not wait while rows are loaded.
"""

# ruff: noqa: S608 - all names are quoted

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from tenantkit.exceptions import BackupError
from tenantkit.isolation import schemas
from tenantkit.isolation.row.policies import POLICY
from tenantkit.isolation.row.removal import enter, remove_rows, restore_schema
from tenantkit.migrations.environment.targets import scratch_target
from tenantkit.postgres.errors import is_lock_conflict, sqlstate
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.tenant import Tenant
from tenantkit.transfer import catalog, set_aside
from tenantkit.transfer.building import FileBuilder
from tenantkit.transfer.catalog import Found, Key, qualified
from tenantkit.transfer.loading import Loader, in_transaction

MOST_ROWS_UNDER_LOCK = 10_000
"""Number of rows up to which triggers are disabled: meanwhile, other sessions cannot write to their tables."""
_PATIENCE = 10.0
"""Seconds for which a lock is tried."""
_UNIQUE_VIOLATION = "23505"


@contextmanager
def loaded_apart(builder: FileBuilder, connection: Connection, tenant: Tenant, loader: Loader) -> Generator[None]:
    """Load the rows into the schema from which `restore_rows` takes them; remove it if the block fails.

    Needs a connection without a transaction. If the process is killed, the next restore or a repair removes the schema.
    """
    scratch = scratch_target(builder.tenancy, restore_schema(tenant.id))
    declared = loader.column if loader.column is not None and loader.column.is_declared else None
    into_scratch = replace(loader, target=scratch, column=declared)

    def make(connection: Connection) -> None:
        schemas.drop_schema(connection, scratch.schema)
        connection.execute(CreateSchema(scratch.schema))
        builder(connection, scratch)
        into_scratch.remove_keys_to_others(connection)

    try:
        in_transaction(connection, make)
        in_transaction(connection, into_scratch.load)
        builder.migrate_in_steps(connection, scratch)
        in_transaction(connection, into_scratch.remove_keys_to_others)
        yield
    except BaseException:
        with suppress(SQLAlchemyError):
            connection.rollback()
            in_transaction(connection, partial(schemas.drop_schema, schema=scratch.schema))
        raise


def restore_rows(connection: Connection, tenant: Tenant, loader: Loader) -> None:
    """Insert the rows of *tenant*, which are `loaded_apart`, into the common tables, in the current transaction.

    :raises BackupError: if triggers are to be disabled for more rows than others could wait for.
    """
    target, scratch = loader.target, restore_schema(tenant.id)
    assert target.column is not None  # noqa: S101 - it leads to common tables
    catalog.pin(connection)
    loaded = catalog.read_tables(connection, scratch, without=target.column.name)
    common = catalog.read_tables(connection, target.schema, without=target.column.name)
    keys = catalog.read_keys(connection, target.schema)
    remove_rows(connection, target.schema, target.column, loader.value)  # those with which each tenant begins
    enter(connection, loader.value)
    catalog.execute(connection, f"SET LOCAL search_path = {target.path}")
    triggers = set_aside.triggers(connection, target.schema, besides=POLICY)
    if triggers:
        _require_few(loader)
        _lock(connection, triggers)
        set_aside.remove(connection, chain(*triggers.values()))
    wholes = {name: each for name, each in common.items() if each.table.parent is None}
    try:
        for tables in _in_order(wholes, keys):
            _insert(connection, scratch, target.schema, [(loaded[name], wholes[name]) for name in tables])
    except IntegrityError as error:
        if sqlstate(error) != _UNIQUE_VIOLATION:
            raise
        raise BackupError(
            loader.origin.subject,
            "rows with the same keys, which are unique among all tenants, are in the common tables",
            "Give the new tenant isolation='schema'.",
        ) from None
    set_aside.restore(connection, chain(*triggers.values()))
    _advance_sequences(connection, scratch, target.schema)
    schemas.drop_schema(connection, scratch)
    loader.leave(connection)


def _require_few(loader: Loader) -> None:
    if sum(loader.origin.rows.values()) > MOST_ROWS_UNDER_LOCK:
        raise BackupError(
            loader.origin.subject,
            "the common tables have triggers, which are disabled while rows are restored; with more than "
            f"{MOST_ROWS_UNDER_LOCK} rows, other tenants would wait for too long",
            "Give the new tenant isolation='schema'.",
        )


def _lock(connection: Connection, tables: Iterable[str]) -> None:
    """Lock *tables* against writes without waiting in their queues, where others would wait, too."""
    statement = f"LOCK TABLE {', '.join(f'ONLY {each}' for each in tables)} IN SHARE ROW EXCLUSIVE MODE NOWAIT"

    def attempt() -> None:
        with connection.begin_nested():
            catalog.execute(connection, statement)

    Retrying(
        retry=retry_if_exception(is_lock_conflict),
        wait=wait_fixed(0.01),
        stop=stop_after_delay(_PATIENCE),
        reraise=True,
    )(attempt)


def _insert(connection: Connection, scratch: str, schema: str, tables: Iterable[tuple[Found, Found]]) -> None:
    """Copy the rows of tables by one statement: foreign keys, be they in a cycle, are checked at its end."""
    steps: list[str] = []
    for number, (loaded, common) in enumerate(tables):
        columns = catalog.names(column.name for column in common.table.columns)
        values = ", ".join(
            f"CAST(CAST({name} AS text) AS {quote_identifier(schema)}.{column.type})"
            if column.name in common.own_types
            else name
            for column in common.table.columns
            for name in [quote_identifier(column.name)]
        )
        only = "" if loaded.is_partitioned else "ONLY "
        into, source = qualified(schema, common.table.name), qualified(scratch, loaded.table.name)
        insert = f"INSERT INTO {into} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {only}{source}"
        steps.append(f"step{number} AS ({insert})")
    if steps:
        catalog.execute(connection, f"WITH {', '.join(steps)} SELECT")


def _in_order(tables: Mapping[str, Found], keys: Iterable[Key]) -> Iterator[list[str]]:
    """Yield tables after those that they refer to; those of cycles together."""
    refers = {
        name: {key.target for key in keys if key.table == name and key.target in tables} - {name} for name in tables
    }
    done: set[str] = set()
    while ready := [name for name in refers if name not in done and refers[name] <= done]:
        for name in ready:
            yield [name]
        done |= {*ready}
    yield [name for name in refers if name not in done]


def _advance_sequences(connection: Connection, scratch: str, schema: str) -> None:
    """Take the sequences, which tenants share, beyond the restored keys and numbers."""
    for each in catalog.read_sequences(connection, schema):
        best, beyond = ("max", ">") if each.increment > 0 else ("min", "<")
        if each.owner is None:
            restored = f"SELECT last_value AS last FROM {qualified(scratch, each.name)}"
        else:
            table, column = each.owner
            restored = f"SELECT {best}({quote_identifier(column)}) AS last FROM {qualified(scratch, table)}"
        sequence = qualified(schema, each.name)
        catalog.execute(
            connection,
            f"SELECT setval({quote_literal(sequence)}::regclass, last) "
            f"FROM {sequence}, ({restored}) AS restored WHERE last {beyond} last_value",
        )
