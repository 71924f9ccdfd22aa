"""Running an operation in steps, each committed by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, TextClause
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.provisioning.locks import LIMITS, POLITE, Limits

if TYPE_CHECKING:
    from alembic.operations import Operations

logger = logging.getLogger(__name__)

TELL = "tenantkit_tell"
"""The execution option with what is called to tell how far a long step is: its name, rows, per cent."""


def by_itself(operations: Operations) -> AbstractContextManager[Any]:
    """Leave the revision's transaction for the duration of a block, unless that was done already."""
    if _is_autocommit(operations):
        return nullcontext()
    return operations.migration_context.autocommit_block()


@contextmanager
def step(operations: Operations) -> Generator[None]:
    """Commit what a block does, inside of `by_itself`; it does not wait long for locks.

    On a placement that nobody uses yet there is one transaction for everything, and this is part of it.
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
    """Return how long a statement may take, as the run was told."""
    limits: Limits = connection.get_execution_options().get(LIMITS, POLITE)
    return limits


def tell(operations: Operations, step: str, rows: int, percent: int) -> None:
    """Tell how far a long step is: the log, and the run if it wants to know."""
    logger.info("%s: %d rows set, %d %% gone through", step, rows, percent)
    told: Callable[[str, int, int], None] | None = operations.get_bind().get_execution_options().get(TELL)
    if told is not None:
        told(step, rows, percent)


def ask(operations: Operations, query: TextClause, *, schema: str | None, **names: str) -> Any:
    """Return what the catalog says of something in *schema*, as the revision knows it; ``None`` if there is none.

    Where statements are only written down (``--sql``), there never is.
    """
    connection: Connection | None = operations.migration_context.connection
    if connection is None:
        return None
    schemas: Mapping[str | None, str] = connection.get_execution_options().get("schema_translate_map") or {}
    return connection.execute(query, {"schema": schemas.get(schema, schema), **names}).scalar()


def _is_autocommit(operations: Operations) -> bool:
    connection: Connection | None = operations.migration_context.connection
    return connection is not None and connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
