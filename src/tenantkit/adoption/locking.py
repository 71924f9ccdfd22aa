"""Locks of tables that an application uses, taken without waiting in the queue for them."""

from __future__ import annotations

import time
from collections.abc import Collection

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.adoption.objects import Movable
from tenantkit.postgres.errors import is_lock_conflict

PAUSE = 0.01
"""Seconds between attempts; while none waits for a lock, no statement waits behind it."""


def lock_tables(connection: Connection, objects: Collection[Movable], end: float) -> None:
    """Lock the tables of *objects* as soon as no transaction uses them; until *end*, by `time.monotonic`.

    :raises DBAPIError: if some were in use until then.
    """
    tables = [each.identity for each in objects if each.type == "table"]
    while tables:
        savepoint = connection.begin_nested()
        try:
            execute(connection, [f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE NOWAIT"])
        except DBAPIError as error:
            savepoint.rollback()
            if not is_lock_conflict(error) or time.monotonic() > end:
                raise
            time.sleep(PAUSE)
        else:
            savepoint.commit()
            return


def execute(connection: Connection, statements: Collection[str]) -> None:
    """Execute statements without parameters, in one round trip."""
    if statements:
        connection.exec_driver_sql("; ".join(statements).replace("%", "%%"))
