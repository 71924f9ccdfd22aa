"""COPY out of tables and into them, in large blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from psycopg import errors, pq
from sqlalchemy import Connection

from tenantkit.transfer.file import MEMBER


def copy_out(connection: Connection, source: str, options: str = "FORMAT text") -> Generator[bytes | bytearray]:
    """Yield the rows of *source*, a table with columns or a query in parentheses, in blocks of whole rows.

    To be closed where it is not read to its end: until then, the connection waits for it.
    Each row costs one call of libpq, in place of a call of psycopg's, which takes twice the processor time.
    """
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {source} TO STDOUT ({options})") as copy:
        block = bytearray()
        while True:
            size, row = driver.pgconn.get_copy_data(1)
            if size == 0:  # nothing has arrived: psycopg waits for it, so that Ctrl-C is heeded
                row = copy.read()
                size = len(row) or -1
                if size < 0:
                    break
            elif size < 0:
                _finish(driver)
                break
            block += row
            if len(block) >= MEMBER:
                yield block
                block = bytearray()
        if block:
            yield block


def copy_in(connection: Connection, target: str, blocks: Iterable[bytes | bytearray]) -> int:
    """Write *blocks* into *target*, a table with columns, and return the number of rows."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        with cursor.copy(f"COPY {target}") as copy:
            for block in blocks:
                copy.write(block)
        return int(cursor.rowcount)


def _finish(driver: Any) -> None:
    """Read the result of a COPY whose last row has been read."""
    while (result := driver.pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result)
