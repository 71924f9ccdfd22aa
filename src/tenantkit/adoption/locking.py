"""Locks of the tables of an application that are to move."""

from __future__ import annotations

import time
from collections.abc import Collection

from sqlalchemy import Connection

from tenantkit.adoption.objects import Movable
from tenantkit.isolation import schemas
from tenantkit.postgres.limits import Limits
from tenantkit.postgres.table_locks import lock_at_once
from tenantkit.registry.tables import SCHEMA as REGISTRY

BRIEF = Limits("100ms")
"""The limit of a wait for another lock while the tables are locked, and the application waits for them."""


def lock_tables(connection: Connection, objects: Collection[Movable], end: float) -> None:
    """Lock the tables of *objects* as soon as no transaction uses them; until *end*, by `time.monotonic`.

    Afterwards, the transaction hardly waits for other locks, such as those of sequences, which cannot be taken so:
    whoever has one may wait for a table.

    :raises DBAPIError: if some were in use until then.
    """
    tables = (each.identity for each in objects if each.type == "table")
    lock_at_once(connection, dict.fromkeys(tables, "ACCESS EXCLUSIVE"), end - time.monotonic())
    BRIEF.apply(connection)


def obstacle_of_foreign(connection: Connection, schema: str) -> str | None:
    """Return why *schema* is none of an application's own."""
    mark = schemas.read_mark(connection, schema)
    if mark is None:
        return f"the schema {schema!r} does not exist"
    if schemas.marked_id(mark) is not None or schema == REGISTRY:
        return f"the schema {schema!r} is tenantkit's or a tenant's"
    return None


def execute(connection: Connection, statements: Collection[str]) -> None:
    """Execute statements without parameters, in one round trip."""
    if statements:
        connection.exec_driver_sql("; ".join(statements).replace("%", "%%"))
