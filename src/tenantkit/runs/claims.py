"""Which run is at work on a placement: a lock in the database, which dies with its connection."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.postgres.advisory_locks import PLACEMENT

_LOCK = PLACEMENT.format(schema="%(schema)s")


def claim(connection: Connection, schema: str) -> bool:
    """Claim a schema until the transaction ends, without waiting, and return whether that worked."""
    claimed: bool = connection.exec_driver_sql(
        f"SELECT pg_try_advisory_xact_lock({_LOCK})", {"schema": schema}
    ).scalar_one()
    return claimed


@contextmanager
def claiming(connection: Connection, schema: str) -> Generator[bool]:
    """Claim a schema for the duration of a block, which may commit; yield whether that worked.

    Nobody waits: ``CREATE INDEX CONCURRENTLY`` waits for all transactions, and one that waited for it would never end.
    """
    driver: Any = connection.connection.driver_connection
    claimed = False
    try:
        claimed = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LOCK})", {"schema": schema}).scalar_one()
        connection.commit()
        yield claimed
    except BaseException as error:
        if not isinstance(error, Exception):  # interrupted in the middle of anything: the lock goes with the connection
            claimed = False
            with suppress(SQLAlchemyError):
                connection.invalidate()
            driver.close()
        raise
    finally:
        if claimed:
            # If the connection is lost, so is the lock.
            with suppress(SQLAlchemyError):
                connection.rollback()
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})", {"schema": schema})
                connection.commit()
