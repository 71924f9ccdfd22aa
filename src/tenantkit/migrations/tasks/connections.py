"""Free connections of the server, lost connections, and cancellation."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy import event, text

from tenantkit.cancellation import Cancellation
from tenantkit.drivers.frame import CLEAN_UP
from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.retry import PATIENCE, is_away, while_away

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")

_DEALLOCATE = """
DO $$ DECLARE each text; BEGIN
    FOR each IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP
        EXECUTE pg_catalog.format('DEALLOCATE %I', each);
    END LOOP;
END $$
"""
RESET_SESSION = "; ".join((*CLEAN_UP, _DEALLOCATE))
"""The statements that remove what a revision may leave in its session, but not the driver's prepared statements."""

# Only some roles see the type of other roles' connections. This one is the run's own.
_ROOM = text(
    """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
        - (
            SELECT count(*) FROM pg_stat_activity
            WHERE (backend_type = 'client backend' OR (backend_type IS NULL AND datid IS NOT NULL))
                AND pid <> pg_backend_pid()
        ) AS free,
        current_setting('max_connections')::int AS all,
        date_part('epoch', pg_postmaster_start_time()) || ':' || current_setting('port') AS server
    """
)
_OVERHEAD = 2
"""Number of connections besides the jobs': one for the ledger and one for rehearsals."""


class Room(NamedTuple):
    """The connections of a server."""

    free: int
    all: int
    server: str
    """Equal for two databases of the server."""


def read_room(connection: Connection) -> Room:
    """Return the connections of the server that *connection*, one of the run's, leads to."""
    return Room(*connection.execute(_ROOM).one())


def limit_jobs(room: Room, *, jobs: int | None, max_connections: int | None, others: int, databases: int = 1) -> int:
    """Return the maximum number of jobs of a run: connections that replay, or processes that run Alembic.

    The application needs connections too, so a run must not take the last ones.

    :param jobs: the requested number; ``None`` for as many as are of use.
    :param max_connections: the maximum number of connections of the run; ``None`` for all that are free.
    :param others: the number of its connections that watch for waits, or set maintenance.
    :param databases: the number of databases on this server that are migrated, which have equal shares.
    :raises ConfigurationError: if the number is less than *jobs*, or than one.
    """
    overhead = _OVERHEAD + others
    free = room.free // databases
    allowed = free if max_connections is None else min(free, max_connections // databases)
    requested = max(jobs or 1, 1)
    if requested + overhead <= allowed:
        return allowed - overhead
    jobs_need = "1 job needs" if requested == 1 else f"{requested} jobs need"
    needs = f"{jobs_need} {requested + overhead} connections"
    each = f" for each of {databases} databases" if databases > 1 else ""
    if max_connections is not None and allowed == max_connections // databases:
        raise ConfigurationError(
            f"{needs}, more than the {allowed} that it may take{each}. Use fewer jobs, or raise --max-connections."
        )
    raise ConfigurationError(
        f"{needs}, but of the server's {room.all} only {free} are free{each}. "
        f"Use at most {max(free - overhead, 1)} jobs, or raise max_connections."
    )


class Reconnect:
    """Waits up to a minute for a server that is away; after a timeout, not again until the server is back."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._is_spent = False
        self._cancellation = cancellation

    def __call__(self, connect: Callable[[], T]) -> T:
        """Return the result of *connect*, which is repeated while the server is away.

        :raises KeyboardInterrupt: if the run is cancelled, even while *connect* waits.
        """
        retrying = while_away(patience=0 if self._is_spent else PATIENCE, sleep=self._cancellation.sleep)
        try:
            connected = retrying(lambda: self._attempt(connect))
        except Exception as error:
            self._is_spent = is_away(error)
            raise
        self._is_spent = False
        return connected

    def _attempt(self, connect: Callable[[], T]) -> T:
        if current_thread() is main_thread():
            with self._cancellation.interruptible():
                return connect()
        return _connect_elsewhere(connect, self._cancellation)


def _connect_elsewhere(connect: Callable[[], T], cancellation: Cancellation) -> T:
    """Return the result of *connect*, called in another thread, which is abandoned when the run is cancelled.

    Neither a signal nor another thread can interrupt a connect that waits for a server that does not answer.
    """
    done = SimpleQueue[tuple[T | None, BaseException | None] | None]()

    def attempt() -> None:
        try:
            done.put((connect(), None))
        except BaseException as error:  # noqa: BLE001 - raised again, in the thread that asked
            done.put((None, error))

    with cancellation.cancelling(lambda: done.put(None)):
        Thread(target=attempt, name="tenantkit-connecting", daemon=True).start()
        result = done.get()
    if result is None:
        raise KeyboardInterrupt
    connected, error = result
    if error is not None:
        raise error
    return connected  # type: ignore[return-value]


def begin(engine: Engine, work: Callable[[Connection], T], cancellation: Cancellation) -> T:
    """Return the result of *work* in a transaction of its own, which is repeated while the server is away.

    The transaction may have been committed before the connection was lost, so *work* must be repeatable.

    :raises KeyboardInterrupt: if the run is cancelled.
    """

    def attempt() -> T:
        with cancellation.interruptible(), engine.begin() as connection:
            return work(connection)

    return while_away(sleep=cancellation.sleep)(attempt)


def cancel(connection: Connection) -> None:
    """Cancel the running statement on *connection*, if there is one; from another thread."""
    driver: Any = connection.connection.dbapi_connection  # a detached connection has no driver_connection
    driver.cancel_safe(timeout=1)


def raise_when_cancelled(engine: Engine, cancellation: Cancellation) -> None:
    """Let statements on *engine* raise KeyboardInterrupt once the run is cancelled, unless that is deferred.

    The cancelled statement raises it too, instead of a database error, which callers and revisions could handle as a
    failure.
    """

    def check(*_: Any) -> None:
        cancellation.check_unless_deferred()

    event.listen(engine, "before_cursor_execute", check)
    event.listen(engine, "handle_error", check)
