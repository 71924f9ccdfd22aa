"""Transactions in the way of locks that are not exclusive: those that write to tables, or have older snapshots."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, Row, text

from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier

# A prepared transaction belongs to no process. It has a lock on its own number.
_PREPARED = text(
    """
    SELECT DISTINCT quote_literal(gid) FROM pg_locks AS held
    JOIN pg_class ON pg_class.oid = held.relation
    JOIN pg_locks AS own ON own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock' AND own.pid IS NULL
        AND own.virtualtransaction = held.virtualtransaction
    JOIN pg_prepared_xacts ON transaction = own.transactionid
    WHERE held.pid IS NULL AND held.locktype = 'relation' AND held.mode NOT IN ('AccessShareLock', 'RowShareLock')
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relnamespace = to_regnamespace(:schema)
    ORDER BY 1
    """
)
# Nobody sees the isolation level of others, but between statements only a transaction with one snapshot for all of them
# has one. A single statement, which may have one for hours, ends with its own.
_OLDER = text(
    """
    SELECT pid, application_name, state, xact_start FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND (state <> 'active' OR query_start > xact_start) AND age(backend_xmin) > (
            SELECT min(age(pg_class.xmin)) FROM pg_class
            WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p')
        )
    ORDER BY xact_start
    """
)
_HOLDERS = text(
    """
    SELECT DISTINCT pid, application_name, state, xact_start FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation = ANY(CAST(CAST(:tables AS text[]) AS regclass[])) AND pid <> pg_backend_pid() AND granted AND (
            mode NOT IN ('AccessShareLock', 'RowShareLock')
            OR relation = ANY(CAST(CAST(:closed AS text[]) AS regclass[]))
        )
    ORDER BY xact_start
    """
)


def find_prepared_writers(connection: Connection, schema: str) -> str | None:
    """Return the names of prepared transactions that have written to tables of *schema*."""
    return _joined(connection.execute(_PREPARED, {"schema": quote_identifier(schema)}).scalars().all())


def find_older_snapshots(connection: Connection, schema: str) -> str | None:
    """Return a description of the transactions whose snapshots are older than the tables of *schema*.

    They would find these tables empty.
    """
    return _described(connection.execute(_OLDER, {"schema": quote_identifier(schema)}).all())


def find_holders(connection: Connection, modes: Mapping[str, str]) -> str | None:
    """Return a description of the transactions that prevent locks in these *modes*, by quoted tables."""
    closed = [table for table, mode in modes.items() if mode == "ACCESS EXCLUSIVE"]
    return _described(connection.execute(_HOLDERS, {"tables": [*modes], "closed": closed}).all())


def _described(rows: Collection[Row[tuple[int, str, str | None, object]]]) -> str | None:
    return _joined(
        [
            f"the connection {row.pid} ({row.application_name or 'unnamed'}, {row.state or 'of another role'}, "
            f"since {row.xact_start:%H:%M:%S})"
            if row.xact_start is not None
            else f"the connection {row.pid}"
            for row in rows
        ]
    )


def _joined(names: Collection[str]) -> str | None:
    return first_lines(names) if names else None
