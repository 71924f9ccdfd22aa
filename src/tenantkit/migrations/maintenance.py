"""Keeping each tenant in maintenance while it is migrated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.migrations.connections import Patience
from tenantkit.migrations.tasks import Again, Task
from tenantkit.provisioning.locks import limit_lock_waits, reason, sqlstate
from tenantkit.registry import maintenance
from tenantkit.registry.maintenance import Entry

if TYPE_CHECKING:
    from tenantkit.tenancy import Tenancy

logger = logging.getLogger(__name__)

Around: TypeAlias = Callable[[Any], Any]
"""Returns a `Performer` that does what another does, and more."""


@contextmanager
def keeping(tenancy: Tenancy, run_id: int) -> Generator[Around]:
    """Yield what has a run's performers put each tenant into maintenance while they are at work on it."""
    keeper = _Keeper(tenancy, run_id)
    try:
        yield lambda performer: _Kept(performer, keeper)
    finally:
        keeper.close()
        keeper.release()  # those that could not be made active when their time came, because the connection was lost


@dataclass(frozen=True, slots=True)
class _Kept:
    """Does what its performer does, while the tenant is in maintenance."""

    performer: Any
    keeper: _Keeper

    def __call__(self, task: Task, *args: Any) -> Any:
        try:
            entry: Entry = self.keeper.do(task, maintenance.enter)
        except SQLAlchemyError as error:
            return Again(f"it cannot be put into maintenance: {reason(error)}", sqlstate=sqlstate(error))
        match entry:
            case Entry.BUSY:
                with suppress(SQLAlchemyError):
                    self.keeper.release()  # for the next try, if that other run is dead
                return Again("another run keeps it in maintenance. Run the same again when that has ended", busy=True)
            case Entry.LEFT_ALONE:
                return self.performer(task, *args)
            case Entry.ENTERED:
                try:
                    return self.performer(task, *args)
                finally:
                    self._leave(task)

    def interrupt(self) -> None:
        self.keeper.interrupt()
        self.performer.interrupt()

    def close(self) -> object:
        return self.performer.close()

    def _leave(self, task: Task) -> None:
        try:
            self.keeper.do(task, maintenance.leave)
        except SQLAlchemyError as error:
            logger.warning("tenant %r stays in maintenance until the run ends (%s)", task.key, reason(error))


class _Keeper:
    """Says in the registry which tenants are in maintenance, on one connection that shows that the run lives."""

    def __init__(self, tenancy: Tenancy, run_id: int) -> None:
        self._tenancy = tenancy
        self._run_id = run_id
        self._connection: Connection | None = None
        self._lock = Lock()
        self._patience = Patience()

    def do(self, task: Task, change: Callable[[Connection, int, int], Any]) -> Any:
        """Apply *change* to the tenant of *task*, on a new connection if the one there was is lost."""
        with self._lock:
            try:
                return self._do(task, change)
            except SQLAlchemyError:
                if self._connection is not None and not (self._connection.closed or self._connection.invalidated):
                    raise  # not for lack of a connection, and to close this one would tell others that the run is dead
                self._close()
                return self._do(task, change)

    def release(self) -> None:
        """Make tenants active that dead runs left in maintenance; this one too, once it is closed."""
        with self._tenancy.engine.begin() as connection:
            released = maintenance.release(connection)
        for key in released:
            self._tenancy.cache.forget(key)

    def interrupt(self) -> None:
        """Wait no more for a server that is away, from another thread."""
        self._patience.end()

    def close(self) -> None:
        """Close the connection, and with it show that the run is over."""
        with self._lock:
            self._close()

    def _do(self, task: Task, change: Callable[[Connection, int, int], Any]) -> Any:
        connection = self._connection = self._connection or self._open()
        try:
            with connection.begin():
                limit_lock_waits(connection)
                return change(connection, task.tenant_id, self._run_id)
        finally:
            self._tenancy.cache.forget(task.key)

    def _open(self) -> Connection:
        connection = self._patience(self._tenancy.engine.connect)
        connection.execution_options(isolation_level="READ COMMITTED")
        try:
            connection.detach()  # the application's pool may be small, and is for its requests
            with connection.begin():
                connection.exec_driver_sql("SET idle_session_timeout = 0")
                limit_lock_waits(connection)
                maintenance.show_alive(connection, self._run_id)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(SQLAlchemyError), connection.begin():
                maintenance.show_dead(connection, self._run_id)  # the server may notice the end only later
            connection.close()
