"""Spares are kept in the background of an application."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from tenantkit.arguments import number, require, whole
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.spares.keep import Spares

_log = logging.getLogger("tenantkit.spares")

CHECK_AFTER = 600.0
"""Seconds after which a spare is checked again."""


class SpareKeeper:
    """Keeps spares in a thread, from `start` to `stop`, or during a ``with`` block.

    Any number of processes may have one: at a time, one of them works. Errors are logged, and the next round tries
    again. Of an `AsyncTenancy`, pass ``tenancy.sync``; start it after a fork, in each process.
    """

    def __init__(self, tenancy: Deployment, keep: int, *, interval: float = 5.0) -> None:
        """Keep *keep* spares, and look every *interval* seconds whether some are missing."""
        require(tenancy=(tenancy, TENANCY), keep=(keep, whole(0)), interval=(interval, number(0)))
        self._tenancy = tenancy
        self._number = keep
        self._interval = interval
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, if it does not run."""
        if self._thread is None or not self._thread.is_alive():
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name="tenantkit-spares", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the thread finish the spare that it is making, and wait for it."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        spares: Spares | None = None
        while not self._stopped.is_set():
            try:
                spares = spares or Spares(self._tenancy)
                spares.keep(self._number, trusted_for=CHECK_AFTER, until=self._stopped.is_set)
            except Exception:  # noqa: BLE001 - the thread goes on, whatever it was
                _log.exception("Spares could not be kept.")
            self._stopped.wait(self._interval)
