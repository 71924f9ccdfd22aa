"""The changes of tables, read with SQL by PostgreSQL's logical decoding.

A temporary slot keeps them, which the server removes with its connection: a process that dies leaves no slot, for which
the server would keep its log for ever. Between servers, no connection is needed, and no subscription.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tenantkit.postgres.blockers import Blocker, read_blockers
from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.formats import FORMATS
from tenantkit.postgres.limits import limit_lock_waits, limited, unlimited
from tenantkit.postgres.pgoutput import Change, Decoder
from tenantkit.postgres.quoting import quote_identifier, quote_literal

_OBSTACLES = text(
    """
    SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS is_standby,
        pg_encoding_to_char(encoding)::text AS encoding,
        has_database_privilege(oid, 'CREATE') AS may_create,
        (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) OR EXISTS (
            SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(current_user, oid, 'MEMBER')
        ) AS may_replicate
    FROM pg_database WHERE datname = current_database()
    """
)
# An update or a delete names the row by the columns of a unique index.
_UNFOLLOWED = text(
    """
    SELECT * FROM (
        SELECT relname::text AS name, relpersistence = 'u' AS is_unlogged,
            relreplident IN ('d', 'i') AND EXISTS (
                SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisvalid AND indimmediate
                    AND CASE relreplident WHEN 'i' THEN indisreplident ELSE indisprimary END
                    AND NOT EXISTS (  -- generated columns are not sent
                        SELECT FROM pg_attribute
                        WHERE attrelid = indrelid AND attnum = ANY(indkey) AND attgenerated <> ''
                    )
            ) AS has_key,
            EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal AND tgenabled IN ('A', 'R')
                UNION ALL SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid AND ev_enabled IN ('A', 'R')
            ) AS has_always
        FROM pg_class
        WHERE relnamespace = to_regnamespace(:schema) AND relname = ANY(:tables) AND relkind = 'r'
    ) AS examined WHERE is_unlogged OR has_always OR NOT has_key ORDER BY name
    """
)
# What the log does not tell: other columns, and rows that ALTER TABLE writes anew.
_SHAPES = text(
    """
    SELECT relname::text AS name, relfilenode::bigint AS file, concat(relispartition, (
        SELECT string_agg(concat_ws(' ', attname, atttypid, atttypmod, attisdropped), ',' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0
    )) AS columns
    FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p')
    """
)
_ABANDONED = text(
    """
    SELECT pubname::text FROM pg_publication
    WHERE starts_with(pubname::text, :prefix) AND pg_has_role(pubowner, 'MEMBER')
        AND pubname NOT IN (SELECT slot_name FROM pg_replication_slots)
    ORDER BY 1
    """
)
_MAY_RECORD = """
    SELECT EXISTS (
        SELECT FROM pg_proc WHERE proname = 'pg_log_standby_snapshot' AND pronamespace = 'pg_catalog'::regnamespace
            AND has_function_privilege(oid, 'EXECUTE')
    )
"""
_WRITERS = "SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY 1"
_AT_ONCE = 10_000
"""Number of changes after which the server ends a reading, with the transaction that has them."""
_BUFFERED = 200
"""Number of changes that are in this process's memory at once."""

PREFIX = "tenantkit_follow_"
"""How the names of slots and publications begin."""


Shapes: TypeAlias = "Mapping[str, tuple[int, str]]"
"""The file and the columns of tables, by their names."""


class FollowError(Exception):
    """The changes cannot be read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transactions that a snapshot sees."""

    first: int
    """The number of the oldest transaction that had not ended."""
    end: int
    """One more than the number of the newest transaction that had ended."""
    running: frozenset[int]
    """The numbers between of those that had not."""

    @classmethod
    def load(cls, shown: str) -> Snapshot:
        """Return the value of PostgreSQL's type ``pg_snapshot``."""
        first, end, running = shown.split(":")
        return cls(int(first), int(end), frozenset(map(int, filter(None, running.split(",")))))

    def sees(self, number: int) -> bool:
        """Return whether it sees a transaction, of whose *number* the lower 32 bits are known."""
        distance = (number - self.end + 2**31) % 2**32 - 2**31
        full = self.end + distance
        return full < self.first or (full < self.end and full not in self.running)


def find_obstacles(connection: Connection) -> Iterator[str]:
    """Yield what keeps changes in the database of *connection* from being read by its login."""
    row = connection.execute(_OBSTACLES).one()
    if row.wal_level != "logical":
        yield f"its server has wal_level = {row.wal_level} instead of 'logical'"
    if row.is_standby:
        yield "its server is a standby"
    if row.encoding != "UTF8":
        yield f"its encoding is {row.encoding} instead of UTF8"
    if not row.may_replicate:
        yield "the login lacks the attribute REPLICATION"
    if not row.may_create:
        yield "the login lacks the privilege CREATE on the database (for a publication)"


def find_obstacles_to_apply(connection: Connection) -> Iterator[str]:
    """Yield what keeps the login of *connection* from applying changes as a replica does, without triggers."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql("SET LOCAL session_replication_role = origin")
    except DBAPIError as error:
        if sqlstate(error) != "42501":
            raise
        yield "the login may not set session_replication_role there (GRANT SET ON PARAMETER)"


def find_unfollowed(connection: Connection, schema: str, tables: Collection[str]) -> Iterator[str]:
    """Yield why the changes of some *tables* cannot be followed."""
    for row in connection.execute(_UNFOLLOWED, _where(schema, tables)):
        if row.is_unlogged:
            yield f"the table {row.name} is unlogged"
        elif row.has_always:
            yield f"the table {row.name} has triggers or rules for replicas"
        else:
            yield f"the table {row.name} has no primary key of columns that are not generated"


@dataclass(slots=True)
class Changes:
    """What transactions change in tables, in the order of their commits."""

    connection: Connection
    """Its own, without a transaction between two calls."""
    name: str
    schema: str
    tables: Collection[str]
    """Without those that are partitioned."""
    shapes: Shapes
    """Those of all tables of the schema, read before `tables`: one that is made meanwhile is altered since."""
    _seen: Snapshot | None = field(default=None, init=False)
    _decoder: Decoder = field(default_factory=Decoder, init=False)
    _may_record: bool = field(default=False, init=False)

    def start(self, patience: float) -> None:
        """Begin to keep changes; wait until transactions that had begun before have ended.

        :raises FollowError: if they have not after *patience* seconds.
        """
        connection, until = self.connection, monotonic() + patience
        with connection.begin():
            limit_lock_waits(connection)
            drop_publication(connection, self.name)
            place = quote_identifier(self.schema)
            tables = ", ".join(f"ONLY {place}.{quote_identifier(name)}" for name in self.tables)
            statement = f"CREATE PUBLICATION {quote_identifier(self.name)}" + (f" FOR TABLE {tables}" if tables else "")
            connection.exec_driver_sql(statement.replace("%", "%%"))
        try:
            with connection.begin():
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, int(patience * 1000))}")
                connection.execute(
                    text("SELECT pg_create_logical_replication_slot(:name, 'pgoutput', true)"), {"name": self.name}
                )
        except DBAPIError as error:
            if sqlstate(error) == "57014":  # query_canceled
                raise self._waited(patience) from error
            if sqlstate(error) == "53400":  # configuration_limit_exceeded
                raise FollowError("the server has no free replication slot: raise max_replication_slots") from error
            raise
        # A transaction that was committed before the slot began is not sent. Until it has ended, no snapshot sees it.
        before = self._snapshot()
        while any(not self._snapshot().sees(number) for number in before.running):
            if monotonic() > until:
                raise self._waited(patience)
            sleep(0.01)
        with connection.begin():
            self._may_record = bool(connection.exec_driver_sql(_MAY_RECORD).scalar_one())

    def skip(self, connection: Connection) -> None:
        """Leave out what the snapshot of *connection* sees, which is newer than `start`, and has locked the tables.

        :raises FollowError: if it sees other tables than there were before.
        """
        self._seen = Snapshot.load(connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar_one())
        before, self.shapes = self.shapes, read_shapes(connection, self.schema)
        columns, now = ({name: shape[-1] for name, shape in each.items()} for each in (before, self.shapes))
        if columns != now:
            raise FollowError("its tables were altered when the move began; try again")

    def read(self, until: str, *, limit: float | None = None) -> Iterator[Change]:
        """Yield the changes of transactions that were committed since the last call, and end a transaction.

        To be read to the end. There may be more then, if there were many.

        :param until: a position in the log, after which it ends.
        :param limit: the number of seconds that the server has for it.
        """
        options = f"'proto_version', '1', 'publication_names', {quote_literal(quote_identifier(self.name))}"
        slot, position = quote_literal(self.name), quote_literal(until)
        reading = f"pg_logical_slot_get_binary_changes({slot}, {position}, {_AT_ONCE}, {options})"
        query = f"SELECT xid::text AS number, data FROM {reading}"  # noqa: S608 - all is quoted
        settings = ("SET LOCAL search_path = ''", *FORMATS, *unlimited(self.connection), *limited(limit))
        buffered = {"yield_per": _BUFFERED}
        try:
            with self.connection.begin():
                self.connection.exec_driver_sql("; ".join(settings))
                with self.connection.exec_driver_sql(query.replace("%", "%%"), execution_options=buffered) as rows:
                    for row in rows:
                        change = self._decoder.decode(bytes(row.data))
                        if change is not None and not (self._seen is not None and self._seen.sees(int(row.number))):
                            yield change
        except DBAPIError as error:
            if sqlstate(error) != "57014":  # query_canceled
                raise
            raise FollowError("the server took too long to read the last changes from its log") from error

    def position(self) -> str:
        """Return a position in the log behind all transactions that have been committed."""
        with self.connection.begin():
            # Else, each reading begins where the server has last recorded the running transactions: every 15 seconds.
            if self._may_record:
                self.connection.exec_driver_sql("SELECT pg_log_standby_snapshot()")
            # A server that does not wait for the disk writes all before this one then.
            self.connection.exec_driver_sql("SET LOCAL synchronous_commit = local")
            self.connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'tenantkit', '')")
        with self.connection.begin():
            return str(self.connection.exec_driver_sql("SELECT pg_current_wal_flush_lsn()::text").scalar_one())

    def is_past(self, position: str) -> bool:
        """Return whether all changes before a *position* in the log were read."""
        query = text(
            "SELECT confirmed_flush_lsn >= CAST(:position AS pg_lsn) FROM pg_replication_slots WHERE slot_name = :name"
        )
        with self.connection.begin():
            return bool(self.connection.execute(query, {"position": position, "name": self.name}).scalar_one())

    def find_altered(self, truncated: Collection[str]) -> list[str]:
        """Return the tables of the schema that were made, dropped, altered, or written anew since `shapes` was read.

        :param truncated: those that TRUNCATE has written anew; VACUUM FULL and CLUSTER do so, too.
        """
        with self.connection.begin():
            now = read_shapes(self.connection, self.schema)
        return sorted(
            name
            for name in now.keys() | self.shapes.keys()
            if now.get(name, ())[-1:] != self.shapes.get(name, ())[-1:]
            or (name not in truncated and now[name] != self.shapes[name])
        )

    def stop(self) -> None:
        """Remove the publication; the slot ends with the connection."""
        with suppress(SQLAlchemyError), self.connection.begin():
            drop_publication(self.connection, self.name)

    def _snapshot(self) -> Snapshot:
        with self.connection.begin():
            return Snapshot.load(self.connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar_one())

    def _waited(self, patience: float) -> FollowError:
        with self.connection.begin():
            pids = self.connection.exec_driver_sql(_WRITERS).scalars().all()
            found: tuple[Blocker, ...] = read_blockers(self.connection, pids)
        who = ", ".join(map(str, found)) or "they have ended since, or are prepared transactions"
        return FollowError(
            f"for {patience:g} s, transactions were open that have written anywhere on its server: {who}"
        )


@contextmanager
def following(engine: Engine, name: str, schema: str, tables: Collection[str], shapes: Shapes) -> Generator[Changes]:
    """Yield the changes of *tables* in a *schema*, which are to be started, on a connection besides the pool."""
    own = Engine(engine.pool.recreate(), engine.dialect, engine.url)
    try:
        with own.connect() as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():  # it waits while rows are copied
                connection.exec_driver_sql("SET idle_session_timeout = 0")
            changes = Changes(connection, PREFIX + name, schema, tables, shapes)
            try:
                yield changes
            finally:
                connection.rollback()
                changes.stop()
    finally:
        own.dispose()


def read_shapes(connection: Connection, schema: str) -> Shapes:
    """Return the file and the columns of each table of a *schema*."""
    rows = connection.execute(_SHAPES, {"schema": quote_identifier(schema)})
    return {row.name: (row.file, row.columns) for row in rows}


def find_abandoned(connection: Connection) -> list[str]:
    """Return the publications of this database that no process uses any more."""
    return [*connection.execute(_ABANDONED, {"prefix": PREFIX}).scalars()]


def drop_publication(connection: Connection, name: str) -> None:
    """Remove a publication, if it is there."""
    connection.exec_driver_sql(f"DROP PUBLICATION IF EXISTS {quote_identifier(name)}".replace("%", "%%"))


def _where(schema: str, tables: Collection[str]) -> dict[str, Any]:
    return {"schema": quote_identifier(schema), "tables": [*tables]}
