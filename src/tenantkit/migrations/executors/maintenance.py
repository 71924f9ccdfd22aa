"""Maintenance of each tenant while it is migrated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.cancellation import Cancellation
from tenantkit.migrations.tasks.connections import Reconnect, cancel
from tenantkit.migrations.tasks.task import Retry, Task
from tenantkit.naming import first_lines
from tenantkit.postgres.errors import is_lock_conflict, reason
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.runs import maintenance
from tenantkit.runs.maintenance import Entry

if TYPE_CHECKING:
    from tenantkit.deployment import Deployment

logger = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds to wait for the end of a dead run's last statement."""
_INTERVAL = 0.1
"""Seconds between two checks of it."""
_STAYS = (
    "Still in maintenance, because a statement of a run that has ended still runs there: %s. The next migrate, "
    "downgrade or stamp, or 'tenantkit doctor --repair', makes them active when that statement has ended."
)

_COMMON = (
    "its tables are common to several tenants, of which maintenance would stop only one. Migrate it without maintenance"
)
_BUSY = "another run keeps it in maintenance. Run the same command again when that has ended"

Around: TypeAlias = Callable[[Any], Any]
"""Wraps an `Executor`."""


@contextmanager
def maintenance_for(
    tenancy: Deployment, run_id: int, cancellation: Cancellation, *, is_wanted: bool
) -> Generator[Around]:
    """Yield a wrapper of executors that keeps each tenant in maintenance during its task, if *is_wanted*.

    At the end, tenants that this run, or any dead one, has left in maintenance become active.
    """
    writer = _StatusWriter(tenancy, run_id, cancellation)
    try:
        with cancellation.cancelling(writer.interrupt):
            yield lambda executor: _InMaintenance(executor, writer, cancellation) if is_wanted else executor
    finally:
        writer.close()
        if not cancellation.is_requested:
            release_abandoned(tenancy)
        elif is_wanted:
            with suppress(SQLAlchemyError):
                release_abandoned(tenancy)


def release_abandoned(tenancy: Deployment, *, patience: float = _PATIENCE) -> None:
    """Make tenants active that dead runs left in maintenance; and those of this run, once its writer is closed.

    If the last statement of such a run still runs, wait *patience* seconds for its end, and then log a warning.
    """
    deadline = monotonic() + patience
    while held := _release(tenancy):
        if monotonic() >= deadline:
            if patience:
                logger.warning(_STAYS, first_lines(held))
            return
        sleep(_INTERVAL)


def _release(tenancy: Deployment) -> list[str]:
    """Make tenants active that dead runs left in maintenance; return the keys of those that are still held."""
    released: list[str] = []
    try:
        with tenancy.engine.begin() as connection:
            limit_lock_waits(connection)
            released = maintenance.release(connection, tenancy.databases)
    except SQLAlchemyError as error:
        if not is_lock_conflict(error):
            raise
    for key in released:
        tenancy.cache.forget(key)
    with tenancy.engine.connect() as connection:
        return maintenance.held(connection)


@dataclass(frozen=True, slots=True)
class _InMaintenance:
    """Executes tasks with another executor while the tenant is in maintenance."""

    executor: Any
    writer: _StatusWriter
    cancellation: Cancellation

    def __call__(self, task: Task, *args: Any) -> Any:
        self.cancellation.check()
        if task.target.column is not None:
            return replace(task.outcome(), error=_COMMON)
        try:
            databases = self.writer.tenancy.databases
            enter = partial(maintenance.enter_if_free, placement=task.target.placement, databases=databases)
            entry: Entry = self.writer.do(task, enter)
        except SQLAlchemyError as error:
            failure = task.outcome(error=error)
            return Retry(replace(failure, error=f"it cannot be put into maintenance: {failure.error}"))
        match entry:
            case Entry.BUSY:
                with suppress(SQLAlchemyError):  # for the next attempt, if that other run is dead
                    release_abandoned(self.writer.tenancy, patience=0)
                return Retry.claimed(task, _BUSY)
            case Entry.CLAIMED:
                return Retry.claimed(task)
            case Entry.LEFT_ALONE:
                return self.executor(task, *args)
            case Entry.ENTERED:
                result = self.executor(task, *args)
                self._leave(task)
                return result

    def interrupt(self) -> None:
        self.executor.interrupt()

    def close(self) -> object:
        return self.executor.close()

    def _leave(self, task: Task) -> None:
        try:
            self.writer.do(task, partial(maintenance.leave, databases=self.writer.tenancy.databases))
        except SQLAlchemyError as error:
            if self.cancellation.is_requested:
                return  # the end of the run makes it active
            logger.warning("tenant %r stays in maintenance until the run ends (%s)", task.key, reason(error))


class _StatusWriter:
    """Sets the maintenance of tenants in the registry, on one connection that shows that the run is alive."""

    def __init__(self, tenancy: Deployment, run_id: int, cancellation: Cancellation) -> None:
        self.tenancy = tenancy
        self._run_id = run_id
        self._connection: Connection | None = None
        self._lock = Lock()
        self._reconnect = Reconnect(cancellation)

    def do(self, task: Task, change: Callable[[Connection, int, int], Any]) -> Any:
        """Apply *change* to the tenant of *task*, on a new connection if the previous one is lost."""
        with self._lock:
            try:
                return self._do(task, change)
            except SQLAlchemyError:
                if self._connection is not None and not (self._connection.closed or self._connection.invalidated):
                    raise  # the connection is not lost, and to close it would show others that the run is dead
                self._close()
                return self._do(task, change)

    def interrupt(self) -> None:
        """Cancel the running statement, from another thread."""
        if self._connection is not None:
            cancel(self._connection)

    def close(self) -> None:
        """Close the connection, which shows that the run has ended."""
        with self._lock:
            self._close()

    def _do(self, task: Task, change: Callable[[Connection, int, int], Any]) -> Any:
        connection = self._connection = self._connection or self._open()
        try:
            with connection.begin():
                limit_lock_waits(connection)
                return change(connection, task.tenant_id, self._run_id)
        finally:
            self.tenancy.cache.forget(task.key)

    def _open(self) -> Connection:
        connection = self._reconnect(self.tenancy.engine.connect)
        connection.execution_options(isolation_level="READ COMMITTED")
        try:
            connection.detach()  # the application's pool may be small, and serves its requests
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
