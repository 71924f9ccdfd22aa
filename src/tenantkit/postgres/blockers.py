"""Transactions in the way of exclusive locks on the tables of a schema, and on those that these refer to."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

from tenantkit.naming import first_lines

_RELATIONS = """
    held.locktype = 'relation' AND held.granted
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND held.relation IN (
        SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(:schema))
        UNION SELECT confrelid FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
            WHERE contype = 'f' AND relnamespace = to_regnamespace(quote_ident(:schema))
    )
"""
# A prepared transaction belongs to no process. It has a lock on its own number.
_PREPARED = text(
    f"""
    SELECT DISTINCT gid FROM pg_locks AS held
    JOIN pg_locks AS own ON own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock' AND own.pid IS NULL
        AND own.virtualtransaction = held.virtualtransaction
    JOIN pg_prepared_xacts ON transaction = own.transactionid
    WHERE held.pid IS NULL AND {_RELATIONS} ORDER BY gid
    """  # noqa: S608 - ours
)
_PROCESSES = text(
    f"""
    SELECT DISTINCT held.pid, usename, state, to_char(xact_start, 'YYYY-MM-DD HH24:MI:SS TZ') AS begun
    FROM pg_locks AS held JOIN pg_stat_activity ON pg_stat_activity.pid = held.pid
    WHERE {_RELATIONS} AND held.pid <> pg_backend_pid() ORDER BY 1
    """  # noqa: S608 - ours
)
_PREPARED_IN = text("SELECT gid FROM pg_prepared_xacts WHERE database = :database ORDER BY gid")


def find_prepared(connection: Connection, schema: str) -> list[str]:
    """Return the names of prepared transactions, which may last for days."""
    return list(connection.execute(_PREPARED, {"schema": schema}).scalars())


def find_prepared_in(connection: Connection, database: str) -> list[str]:
    """Return the names of all prepared transactions in a database of the server."""
    return list(connection.execute(_PREPARED_IN, {"database": database}).scalars())


def find_processes(connection: Connection, schema: str) -> list[str]:
    """Return descriptions of the server's processes, without their statements, which may hold secrets."""
    return [
        f"process {row.pid} of {row.usename!r}" + (f" ({row.state} since {row.begun})" if row.begun else "")
        for row in connection.execute(_PROCESSES, {"schema": schema})
    ]


def describe_prepared(names: Iterable[str], where: str) -> str:
    """Return the reason of a refusal because of prepared transactions, with the remedy."""
    shown = first_lines(map(repr, names))
    return f"prepared transactions {where}: {shown}; execute COMMIT PREPARED or ROLLBACK PREPARED for each"
