"""Transactions that are in the way of others: those of the server's processes, and prepared ones, which have none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text
from typing_extensions import override

from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier

# Without the text of the query, which may contain a tenant's data.
_ACTIVITY = text(
    """
    SELECT pid, usename AS user, nullif(application_name, '') AS application, state,
        round(extract(epoch FROM clock_timestamp() - xact_start))::int AS seconds
    FROM unnest(CAST(:pids AS int[])) AS pid LEFT JOIN pg_stat_activity USING (pid) ORDER BY pid
    """
)
# A prepared transaction has a lock on its own number.
_HOLDERS = text(
    """
    SELECT DISTINCT held.pid, gid FROM pg_locks AS held
    LEFT JOIN pg_locks AS own ON held.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid'
        AND own.mode = 'ExclusiveLock' AND own.virtualtransaction = held.virtualtransaction
    LEFT JOIN pg_prepared_xacts ON transaction = own.transactionid
    WHERE held.locktype = 'relation' AND held.granted AND held.pid IS DISTINCT FROM pg_backend_pid()
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND NOT (:writers AND held.mode IN ('AccessShareLock', 'RowShareLock'))
        AND held.relation IN (
            SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace(:schema)
            UNION SELECT confrelid FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
                WHERE :referred AND contype = 'f' AND relnamespace = to_regnamespace(:schema)
        )
    ORDER BY pid, gid
    """
)
_PREPARED_IN = text("SELECT gid FROM pg_prepared_xacts WHERE database = :database ORDER BY gid")
# The server does not show the isolation level of a transaction. But between statements, only one with a single snapshot
# for all of them has a snapshot. That of a statement, which may last for hours, ends with it.
_OLDER = text(
    """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND (state <> 'active' OR query_start > xact_start) AND age(backend_xmin) > (
            SELECT min(age(pg_class.xmin)) FROM pg_class
            WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p')
        )
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A session for which others wait."""

    pid: int
    """Its process id at the server; 0 for a prepared transaction."""
    user: str | None = None
    application: str | None = None
    state: str | None = None
    """Its state in ``pg_stat_activity``, such as ``active`` or ``idle in transaction``."""
    seconds: int | None = None
    """The age of its transaction in seconds."""

    @override
    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction"
        since = None if self.seconds is None else f"for {self.seconds} s"
        state = " ".join(filter(None, (self.state, since)))
        details = ", ".join(filter(None, (self.application, self.user and f"user {self.user}", state)))
        return f"process {self.pid} ({details})" if details else f"process {self.pid}"


@dataclass(frozen=True, slots=True)
class Holders:
    """Transactions with locks on tables."""

    blockers: tuple[Blocker, ...]
    prepared: tuple[str, ...]
    """The names of prepared transactions, which may last for days."""


def read_blockers(connection: Connection, pids: Iterable[int]) -> tuple[Blocker, ...]:
    """Return what the server shows of these processes, also of one that has ended."""
    return tuple(Blocker(**row) for row in connection.execute(_ACTIVITY, {"pids": [*pids]}).mappings())


def find_holders(connection: Connection, schema: str, *, writers: bool = False, referred: bool = False) -> Holders:
    """Return the other transactions with locks on tables of *schema*.

    :param writers: only those that write, or have locked more than rows.
    :param referred: also those with locks on the tables that its foreign keys refer to.
    """
    values = {"schema": quote_identifier(schema), "writers": writers, "referred": referred}
    rows = connection.execute(_HOLDERS, values).all()
    pids = [row.pid for row in rows if row.pid is not None]
    return Holders(read_blockers(connection, pids), tuple(row.gid for row in rows if row.gid is not None))


def find_older_snapshots(connection: Connection, schema: str) -> tuple[Blocker, ...]:
    """Return the transactions whose snapshots are older than the tables of *schema*: they would find these empty."""
    return read_blockers(connection, connection.execute(_OLDER, {"schema": quote_identifier(schema)}).scalars())


def find_prepared_in(connection: Connection, database: str) -> list[str]:
    """Return the names of all prepared transactions in a database of the server."""
    return list(connection.execute(_PREPARED_IN, {"database": database}).scalars())


def describe(holders: Holders) -> str:
    """Return the transactions in words; an empty string if there are none."""
    prepared = (f"the prepared transaction {name!r}" for name in holders.prepared)
    return first_lines([*map(str, holders.blockers), *prepared])


def describe_prepared(names: Iterable[str], where: str) -> str:
    """Return the reason of a refusal because of prepared transactions, with the remedy."""
    shown = first_lines(map(repr, names))
    return f"prepared transactions {where}: {shown}; execute COMMIT PREPARED or ROLLBACK PREPARED for each"
