"""A budget of connections that many engines share, and the pool by which an engine takes from it.

An engine takes an idle connection of its own, or opens one while the budget has room, or else closes the connection of
any engine that has been idle longest and opens one in its place. If all are in use, it waits for its turn. A connection
in use is never closed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from threading import Event, RLock
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import exc
from sqlalchemy.pool import ConnectionPoolEntry, Pool
from typing_extensions import override

if TYPE_CHECKING:
    from tenantkit.databases.forks import PerProcess

_BUDGET, _GENERATION = "tenantkit_budget", "tenantkit_generation"
"""Keys in the information of a pool's entry."""


class Turn(Protocol):
    """The wait for one connection."""

    grant: tuple[ConnectionPoolEntry | None, BudgetPool] | None
    """The entry that was granted, with its pool; or the place of one that is closed. ``None`` before that."""

    def wait(self, seconds: float) -> None:
        """Return when `wake` is called, or after some seconds."""

    def wake(self) -> bool:
        """End `wait`, from any thread; return whether it can still end."""
        ...


class ThreadTurn:
    """The wait of a thread."""

    def __init__(self) -> None:
        self.grant: tuple[ConnectionPoolEntry | None, BudgetPool] | None = None
        self._event = Event()

    def wait(self, seconds: float) -> None:
        """Return when `wake` is called, or after some seconds."""
        self._event.wait(seconds)

    def wake(self) -> bool:
        """End `wait`."""
        self._event.set()
        return True


class ConnectionBudget:
    """The connections of the engines that share it, in one process."""

    def __init__(self, limit: int, timeout: float, turn: Callable[[], Turn] = ThreadTurn) -> None:
        """Permit *limit* connections, for which an engine waits *timeout* seconds."""
        self.limit = limit
        self.timeout = timeout
        self._turn = turn
        # Reentrant: garbage that is collected while a method has the lock may return a connection.
        self._lock = RLock()
        self._open = 0
        self._idle = OrderedDict[ConnectionPoolEntry, BudgetPool]()
        """Entries that are not in use, the one that was used last at the end. There are none while an engine waits."""
        self._waiting = deque[Turn]()
        self._inherited: list[ConnectionPoolEntry] = []
        """Entries of a parent process, which are kept as a driver may close connections that are garbage."""

    @property
    def open(self) -> int:
        """Number of connections that are open, being opened or being closed."""
        return self._open

    def take(self, pool: BudgetPool) -> ConnectionPoolEntry:
        """Return an entry of *pool* that is not in use.

        :raises sqlalchemy.exc.TimeoutError: if none became free in time.
        """
        if (found := self._take(pool, None)) is None:
            turn = self._turn()
            found = self._take(pool, turn) or self._wait(turn)
        entry, its_pool = found
        if entry is not None and its_pool is pool:
            return entry
        return self._open_in_place_of(entry, pool)

    def give(self, pool: BudgetPool, entry: ConnectionPoolEntry) -> None:
        """Take back an entry of *pool*."""
        info: dict[str, Any] = entry.record_info or {}
        if info.get(_BUDGET) is not self:
            self._inherited.append(entry)
        elif info[_GENERATION] != pool.generation:
            self._close(entry, pool)
        else:
            self._release(entry if entry.dbapi_connection is not None else None, pool)

    def close_idle(self, pool: BudgetPool) -> None:
        """Close the idle connections of *pool*."""
        with self._lock:
            entries = [entry for entry, its_pool in self._idle.items() if its_pool is pool]
            for entry in entries:
                del self._idle[entry]
        for entry in entries:
            self._close(entry, pool)

    def _take(self, pool: BudgetPool, turn: Turn | None) -> tuple[ConnectionPoolEntry | None, BudgetPool] | None:
        """Return an entry or the place of one; if there is none, append *turn* to those that wait."""
        with self._lock:
            own = next((entry for entry, its_pool in reversed(self._idle.items()) if its_pool is pool), None)
            if own is not None:
                del self._idle[own]
                return own, pool
            if self._open < self.limit:
                self._open += 1
                return None, pool
            if self._idle:
                return self._idle.popitem(last=False)
            if turn is not None:
                self._waiting.append(turn)
            return None

    def _wait(self, turn: Turn) -> tuple[ConnectionPoolEntry | None, BudgetPool]:
        try:
            turn.wait(self.timeout)
        except BaseException:
            with self._lock:
                if turn.grant is None:
                    self._waiting.remove(turn)
                else:
                    self._release(*turn.grant)
            raise
        with self._lock:
            if turn.grant is not None:
                return turn.grant
            self._waiting.remove(turn)
        raise exc.TimeoutError(
            f"All {self.limit} connections to databases or by logins of single tenants were in use for "
            f"{self.timeout:g} seconds. End sessions earlier, or raise engine_budget={self.limit} of the tenancy."
        )

    def _open_in_place_of(self, entry: ConnectionPoolEntry | None, pool: BudgetPool) -> ConnectionPoolEntry:
        try:
            if entry is not None:
                with suppress(Exception):  # it is closed, as far as it can be
                    entry.invalidate()
            made = pool.make_entry()
            info: Any = made.record_info
            info.update({_BUDGET: self, _GENERATION: pool.generation})
        except BaseException:
            self._release(None, pool)
            raise
        return made

    def _close(self, entry: ConnectionPoolEntry, pool: BudgetPool) -> None:
        try:
            with suppress(Exception):
                entry.invalidate()
        finally:
            self._release(None, pool)

    def _release(self, entry: ConnectionPoolEntry | None, pool: BudgetPool) -> None:
        """Give an entry that is not in use, or the place of one that is closed, to the first that waits."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                turn.grant = entry, pool
                if turn.wake():
                    return
            if entry is None:
                self._open -= 1
            else:
                self._idle[entry] = pool


class BudgetPool(Pool):
    """The pool of one engine, whose connections belong to a budget."""

    def __init__(self, creator: Any, budget: PerProcess[ConnectionBudget], **options: Any) -> None:
        """Take the connections from the *budget* of the process; *options* are those of `sqlalchemy.pool.Pool`."""
        super().__init__(creator, **options)
        self._budget = budget
        self.generation = 0
        """Number of times that the pool was disposed of. Connections from before are closed when they come back."""

    def make_entry(self) -> ConnectionPoolEntry:
        """Return a new entry, which is connected."""
        return self._create_connection()

    @override
    def _do_get(self) -> ConnectionPoolEntry:
        return self._budget.get().take(self)

    @override
    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._budget.get().give(self, record)

    @override
    def dispose(self) -> None:
        """Close the idle connections now, and those in use when they come back."""
        self.generation += 1
        self._budget.get().close_idle(self)

    @override
    def recreate(self) -> BudgetPool:
        """Return this pool: the budget counts its connections that are in use."""
        return self

    @override
    def status(self) -> str:
        """Return the use of the budget."""
        budget = self._budget.get()
        return f"BudgetPool: {budget.open} of {budget.limit} connections are open"
