"""The thread that receives notifications of changes to the registry by other processes."""

from __future__ import annotations

import atexit
import logging
import os
import selectors
import socket
import threading
import weakref
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from tenantkit.registry.tables import CHANNEL

if TYPE_CHECKING:
    from tenantkit.registry.cache import TenantCache

logger = logging.getLogger(__name__)

PING_AFTER = 30.0
"""Seconds without a message after which the listener sends a query to the server.

If the server does not answer within the same time, the connection is closed. A connection that a firewall or a
failover has cut without notice would otherwise stay silent for ever.
"""

_LOOK_AGAIN = 1.0
"""Maximum number of seconds before the thread notices that its cache was collected as garbage."""


class Listener:
    """Invalidates a `TenantCache` by LISTEN, on a connection of its own.

    While there is no connection, entries of the cache only expire; when there is one
    again the cache is emptied, since notifications were missed. The thread ends with
    the program, or once the cache was collected as garbage.
    """

    def __init__(
        self, engine: Engine, cache: TenantCache, *, retry_after: float = 1.0, ping_after: float = PING_AFTER
    ) -> None:
        self._process = os.getpid()
        self._engine = engine
        self._cache = weakref.ref(cache)
        self._retry_after = retry_after
        self._ping_after = ping_after
        self._stop = threading.Event()
        self._waker: socket.socket | None = None
        self.listening = threading.Event()
        """The event that is set while notifications are received."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start the thread, if this process has not started it yet."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="tenantkit-listener", daemon=True)
                    self._thread.start()
                    # Before functions that were registered earlier, such as the end of an embedded server.
                    atexit.register(_stop, weakref.ref(self))

    def stop(self, *, timeout: float | None = None) -> None:
        """End the thread and wait for it, at most *timeout* seconds. A parent's thread is left alone."""
        if self._process != os.getpid():
            return
        self._stop.set()
        if (waker := self._waker) is not None:
            with suppress(OSError):  # the thread has just ended by itself
                waker.send(b"\0")
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set() and self._cache() is not None:
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - after any error, entries still expire
                if not self._stop.is_set():
                    logger.warning("registry notifications lost (%s); trying again", type(error).__name__)
            finally:
                self.listening.clear()
            self._stop.wait(self._retry_after)

    def _listen(self) -> None:
        # From a pool like the engine's, with its arguments, creator and events, but not of the application's number.
        pooled = self._engine.pool.recreate().connect()
        connection: Any = pooled.driver_connection
        pooled.detach()
        woken, self._waker = socket.socketpair()
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
            if cache := self._cache():
                cache.clear()
            self.listening.set()
            # Not the driver's own waiting, which is C and would block all greenlets of a gevent worker.
            with selectors.DefaultSelector() as selector:
                selector.register(connection.pgconn.socket, selectors.EVENT_READ)
                selector.register(woken, selectors.EVENT_READ)
                self._receive(connection.pgconn, selector)
        finally:
            connection.close()
            self._waker.close()
            self._waker = None
            woken.close()

    def _receive(self, pgconn: Any, selector: selectors.BaseSelector) -> None:
        last, is_asked = monotonic(), False
        while not self._stop.is_set() and (cache := self._cache()) is not None:
            if selector.select(min(_LOOK_AGAIN, self._ping_after)):
                pgconn.consume_input()
                last, is_asked = monotonic(), False
                while notification := pgconn.notifies():
                    _forget(cache, notification.extra.decode(errors="replace"))
                while not pgconn.is_busy() and pgconn.get_result() is not None:
                    pass  # the answer to SELECT 1
            elif monotonic() - last > self._ping_after:
                if is_asked:
                    raise TimeoutError("the server does not answer")
                pgconn.send_query(b"SELECT 1")
                last, is_asked = monotonic(), True
            del cache


def _forget(cache: TenantCache, key: str) -> None:
    """Forget one tenant, or all of them if the notification names none, as that of TRUNCATE does."""
    if key:
        cache.forget(key)
    else:
        cache.clear()


def _stop(reference: weakref.ref[Listener]) -> None:
    if (listener := reference()) is not None:
        listener.stop(timeout=_LOOK_AGAIN)  # it may be waiting for a server that cannot be reached
