"""Claims of placements by runs: a lock in the database, which ends with its connection."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.postgres.advisory_locks import PLACEMENT

_LOCK = PLACEMENT.format(schema="%(schema)s")


def claim(connection: Connection, schema: str) -> bool:
    """Claim a schema until the transaction ends, without waiting; return whether it succeeded."""
    return _try(connection, f"pg_try_advisory_xact_lock({_LOCK})", schema)


def share(connection: Connection, schema: str) -> bool:
    """Keep runs from a schema until the transaction ends, without waiting; return whether none has claimed it.

    Backups do this all the time that they read, so several may.
    """
    return _try(connection, f"pg_try_advisory_xact_lock_shared({_LOCK})", schema)


def _try(connection: Connection, function: str, schema: str) -> bool:
    return bool(connection.exec_driver_sql(f"SELECT {function}", {"schema": schema}).scalar_one())


@contextmanager
def claiming(connection: Connection, schema: str, *, shared: bool = False) -> Generator[bool]:
    """Claim a schema during a block, which may commit; yield whether it succeeded.

    Claims never wait: ``CREATE INDEX CONCURRENTLY`` waits for all transactions, also for one that waits for its claim.

    :param shared: only keep runs from it, as `share` does.
    """
    driver: Any = connection.connection.driver_connection
    suffix = "_shared" if shared else ""
    where = {"schema": schema}

    def release() -> None:
        # A lost connection has no lock.
        with suppress(SQLAlchemyError):
            connection.rollback()
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock{suffix}({_LOCK})", where)
            connection.commit()

    try:
        claimed = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{suffix}({_LOCK})", where).scalar_one()
        connection.commit()
        try:
            yield claimed
        except Exception:
            if claimed:
                release()
            raise
        if claimed:
            release()
    except BaseException as error:
        if not isinstance(error, Exception):  # interrupted at an unknown point: the lock ends with the connection
            with suppress(SQLAlchemyError):
                connection.invalidate()
            driver.close()
        raise
