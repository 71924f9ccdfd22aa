"""The wait of a task of asyncio for a connection of a budget."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy.util.concurrency import await_only

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

    from tenantkit.databases.budget import BudgetPool


class TaskTurn:
    """The wait of a task, in the greenlet in which SQLAlchemy works for it."""

    def __init__(self) -> None:
        self.grant: tuple[ConnectionPoolEntry | None, BudgetPool] | None = None
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wait(self, seconds: float) -> None:
        """Return when `wake` is called, or after some seconds."""
        with suppress(asyncio.TimeoutError):
            await_only(asyncio.wait_for(self._event.wait(), seconds))

    def wake(self) -> bool:
        """End `wait`, from any thread; return whether the event loop still runs."""
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # the loop is closed
            return False
        return True
