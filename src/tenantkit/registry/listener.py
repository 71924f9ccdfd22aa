"""The thread that hears of changes to the registry from other processes."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from tenantkit.registry.tables import CHANNEL

if TYPE_CHECKING:
    from tenantkit.registry.cache import TenantCache

logger = logging.getLogger(__name__)

_WAIT = 1.0
"""How long one wait for notifications lasts, in seconds: the longest that stopping takes."""


class Listener:
    """Keeps a `TenantCache` true to the registry by LISTEN, on a connection of its own.

    While there is no connection, the cache's time to live is all that renews it;
    when there is one again the cache is emptied, since notifications were missed.
    The thread ends by itself once the cache is garbage.
    """

    def __init__(self, engine: Engine, cache: TenantCache, *, retry_after: float = 1.0) -> None:
        self._engine = engine
        self._cache = weakref.ref(cache)
        self._retry_after = retry_after
        self._stop = threading.Event()
        self.listening = threading.Event()
        """Set while notifications are being received."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start the thread, if this process has not started it yet."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="tenantkit-listener", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set() and self._cache() is not None:
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever it was, the time to live stands below
                logger.warning("registry notifications lost (%s); trying again", type(error).__name__)
            finally:
                self.listening.clear()
            self._stop.wait(self._retry_after)

    def _listen(self) -> None:
        pooled = self._engine.raw_connection()
        # Taken out of the pool: a connection that listens must not come back to it.
        connection: Any = pooled.driver_connection
        pooled.detach()
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
            if cache := self._cache():
                cache.clear()
            self.listening.set()
            while not self._stop.is_set() and (cache := self._cache()) is not None:
                for notification in connection.notifies(timeout=_WAIT):
                    cache.forget(notification.payload)
                    if self._stop.is_set():
                        break
                del cache
        finally:
            connection.close()
