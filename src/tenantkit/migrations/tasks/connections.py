"""How many connections the server has left, and what to do when one is lost."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import event, text

from tenantkit.cancellation import Cancellation
from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.retry import PATIENCE, is_away, while_away

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")

FORGET = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DISCARD TEMP; SELECT pg_advisory_unlock_all()"
"""All of DISCARD ALL but the prepared statements, which the driver keeps account of."""

# Of other roles' connections, only some roles are told the type.
_FREE = text(
    """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
        - (
            SELECT count(*) FROM pg_stat_activity
            WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datid IS NOT NULL)
        ) AS free,
        current_setting('max_connections')::int AS all
    """
)
_BESIDES = 2
"""A run takes one connection for the ledger and one for rehearsals."""


def room_for_jobs(connection: Connection, *, jobs: int | None, max_connections: int | None, others: int) -> int:
    """Return how many jobs a run may have at a time: connections that replay, or processes that run Alembic.

    The application needs connections too, and a run should not be the one that takes the last.

    :param jobs: how many were asked for; ``None`` for as many as are of use.
    :param max_connections: how many connections the run may take in all; ``None`` for all that are free.
    :param others: how many connections it takes besides, for what it does while it migrates.
    :raises ConfigurationError: if that is less than *jobs*, or than one.
    """
    row = connection.execute(_FREE).one()
    besides = _BESIDES + others
    allowed = row.free if max_connections is None else min(row.free, max_connections)
    wanted = max(jobs or 1, 1)
    if wanted + besides <= allowed:
        return int(allowed - besides)
    needs = f"{wanted} job{'s' if wanted > 1 else ''} need{'' if wanted > 1 else 's'} {wanted + besides} connections"
    if allowed == max_connections:
        raise ConfigurationError(
            f"{needs}, more than the {max_connections} that it may take. Use fewer jobs, or raise --max-connections."
        )
    raise ConfigurationError(
        f"{needs}, but of the server's {row.all} only {row.free} are free. "
        f"Use at most {max(row.free - besides, 1)} jobs, or raise max_connections."
    )


class Reconnect:
    """Waits for a server that is away, for a minute; and if that was in vain, not again until it is back."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._is_spent = False
        self._cancellation = cancellation

    def __call__(self, connect: Callable[[], T]) -> T:
        """Return what *connect* does, which is tried again while no connection is to be had.

        :raises KeyboardInterrupt: if the run is cancelled, however long *connect* goes on in vain.
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
    """Return what *connect* does in another thread, which is left to itself when the run is cancelled.

    Neither a signal nor another thread can interrupt what is waiting there for a server that does not answer.
    """
    done = SimpleQueue[tuple[T | None, BaseException | None] | None]()

    def attempt() -> None:
        try:
            done.put((connect(), None))
        except BaseException as error:  # noqa: BLE001 - raised again, in the thread that asked
            done.put((None, error))

    cancellation.check()
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
    """Return what *work* does in a transaction of its own, which is run again while the server is away.

    It may have been committed nevertheless before the connection was lost, so *work* must not mind being done twice.

    :raises KeyboardInterrupt: if the run is cancelled.
    """

    def attempt() -> T:
        with cancellation.interruptible(), engine.begin() as connection:
            return work(connection)

    return while_away(sleep=cancellation.sleep)(attempt)


def cancel(connection: Connection) -> None:
    """Cancel the statement that runs on *connection*, if there is one; from another thread."""
    driver: Any = connection.connection.driver_connection
    driver.cancel_safe(timeout=1)


def hear(engine: Engine, cancellation: Cancellation) -> None:
    """Have statements on *engine* raise KeyboardInterrupt once the run is cancelled, unless that is deferred.

    The statement that is cancelled raises it too, instead of an error of the database, which callers and revisions
    could handle as a failure.
    """

    def check(*_: Any) -> None:
        cancellation.check_unless_deferred()

    event.listen(engine, "before_cursor_execute", check)
    event.listen(engine, "handle_error", check)
