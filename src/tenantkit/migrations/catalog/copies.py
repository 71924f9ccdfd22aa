"""Empty copies of tables, on which statements are executed to read their result from the catalog."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection

from tenantkit.postgres.quoting import quote_identifier


@contextmanager
def taking_back(connection: Connection) -> Generator[None]:
    """Roll back a block's changes, inside or outside of a transaction."""
    is_alone = is_autocommit(connection)
    connection.exec_driver_sql("BEGIN" if is_alone else "SAVEPOINT tenantkit_copy")
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("ROLLBACK" if is_alone else "ROLLBACK TO SAVEPOINT tenantkit_copy")


def is_autocommit(connection: Connection) -> bool:
    """Return whether each statement on *connection* is a transaction of its own."""
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def copy_table(connection: Connection, table: str, name: str, *, including: str = "") -> str:
    """Create an empty, temporary table *name* with the columns of *table*, which is quoted; return its quoted name."""
    copy = f"pg_temp.{quote_identifier(name)}"
    connection.exec_driver_sql(f"CREATE TEMP TABLE {copy} (LIKE {table} {including})".replace("%", "%%"))
    return copy
