"""Execution of an operation in steps, each committed by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.migrations.catalog.copies import is_autocommit
from tenantkit.migrations.catalog.queries import own_query
from tenantkit.postgres.limits import LIMITS, POLITE, Limits

if TYPE_CHECKING:
    from alembic.operations import Operations

logger = logging.getLogger(__name__)

_QUOTED = own_query(
    """
    SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = to_regclass(concat_ws('.', quote_ident(:schema), quote_ident(:name)))
    """
)

COMMON_TABLES = "tenantkit_common_tables"
"""The execution option that says whether several tenants share the tables: `IN_USE`, `EMPTY` or ``None``."""
IN_USE, EMPTY = "in use", "empty"
TELL = "tenantkit_tell"
"""The execution option with the callback for the progress of a long step: its name, rows, per cent."""


@contextmanager
def by_itself(operations: Operations) -> Generator[None]:
    """Leave the revision's transaction during a block, unless a block around it has done so.

    The run's limits apply there too, unless the revision has set others in a block of its own.
    """
    if _is_autocommit(operations):
        yield
        return
    with operations.migration_context.autocommit_block():
        connection: Connection | None = operations.migration_context.connection
        is_run = connection is None or LIMITS in connection.get_execution_options()
        # In a run, the block itself has set the limits.
        with nullcontext() if is_run else POLITE.applied(operations.get_bind()):
            yield


@contextmanager
def step(operations: Operations) -> Generator[None]:
    """Commit a block inside of `by_itself`, with a limit for waits for locks.

    On a placement that is not in use yet, there is one transaction for everything, and the block is part of it.
    """
    if not _is_autocommit(operations):
        yield
        return
    connection = operations.get_bind()
    connection.exec_driver_sql("BEGIN")
    try:
        limits_of(connection).apply(connection)
        yield
    except BaseException:
        with suppress(SQLAlchemyError):
            connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def limits_of(connection: Connection) -> Limits:
    """Return the limits of the run on *connection*."""
    limits: Limits = connection.get_execution_options().get(LIMITS, POLITE)
    return limits


def report_progress(operations: Operations, step: str, rows: int, percent: int) -> None:
    """Report the progress of a long step to the log, and to the run if it has a callback."""
    logger.info("%s: %d rows set, %d %% gone through", step, rows, percent)
    told: Callable[[str, int, int], None] | None = operations.get_bind().get_execution_options().get(TELL)
    if told is not None:
        told(step, rows, percent)


def real_schema(connection: Connection, schema: str | None) -> str | None:
    """Return the real schema of *schema*, which may be a placeholder, on *connection*."""
    schemas: Mapping[str | None, str | None] = connection.get_execution_options().get("schema_translate_map") or {}
    return schemas.get(schema, schema)


def _is_autocommit(operations: Operations) -> bool:
    connection: Connection | None = operations.migration_context.connection
    return connection is not None and is_autocommit(connection)


def quoted_table(operations: Operations, name: str, schema: str | None) -> str | None:
    """Return the real name of a table, quoted; ``None`` if it does not exist, as without a database (lint)."""
    connection = operations.get_bind()
    names = {"schema": real_schema(connection, schema), "name": name}
    found: str | None = connection.execute(_QUOTED, names).scalar()
    return found
