"""Locks of tables that an application uses, taken without waiting in the queue for them."""

from __future__ import annotations

import time
from collections.abc import Collection

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.adoption.objects import Movable
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.postgres.limits import Limits

PAUSE = 0.01
"""Seconds between attempts; while none waits for a lock, no statement waits behind it."""
BRIEF = Limits("100ms")
"""The limit of a wait for another lock while the tables are locked, and the application waits for them."""


def lock_tables(connection: Connection, objects: Collection[Movable], end: float) -> None:
    """Lock the tables of *objects* as soon as no transaction uses them; until *end*, by `time.monotonic`.

    Afterwards, the transaction hardly waits for other locks, such as those of sequences, which cannot be taken so:
    whoever has one may wait for a table.

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
            break
    BRIEF.apply(connection)


def execute(connection: Connection, statements: Collection[str]) -> None:
    """Execute statements without parameters, in one round trip."""
    if statements:
        connection.exec_driver_sql("; ".join(statements).replace("%", "%%"))
