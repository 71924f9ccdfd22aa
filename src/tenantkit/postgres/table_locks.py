"""Locks of tables that an application uses, taken without waiting in the queue for them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from tenantkit.postgres.errors import LOCK_NOT_AVAILABLE, sqlstate

PAUSE = 0.01
"""Seconds between two attempts; while none waits for a lock, no statement waits behind it."""


def lock_at_once(connection: Connection, modes: Mapping[str, str], patience: float) -> None:
    """Lock tables until the transaction ends, all at once: no request queues behind a lock that waits.

    :param modes: the modes of the locks, by the quoted names of the tables.
    :param patience: the number of seconds for which to try.
    :raises DBAPIError: with the SQLSTATE of a lock that is not available, if others hold one all the time.
    """
    statements = [
        f"LOCK TABLE {', '.join(f'ONLY {table}' for table in modes if modes[table] == mode)} IN {mode} MODE NOWAIT"
        for mode in sorted(set(modes.values()))
    ]

    def attempt() -> None:
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))

    retrying = Retrying(
        retry=retry_if_exception(lambda error: sqlstate(error) == LOCK_NOT_AVAILABLE),
        wait=wait_fixed(PAUSE),
        stop=stop_after_delay(patience),
        reraise=True,
    )
    retrying(attempt)
