"""Cancellation of the work of a process by SIGINT, SIGTERM and SIGHUP.

The first signal sets a flag, cancels running statements and worker processes until the work has ended, and raises
`KeyboardInterrupt` in the main thread, in code that permits it. All other code checks the flag. A second signal ends
the process at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from _thread import start_new_thread
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic, sleep
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_ECHO = 0.3
"""Seconds during which another signal counts as the same one: ``timeout`` signals a process and then its group."""
_INTERVAL = 0.2
"""Seconds between two attempts to cancel. A statement may begin right after an attempt."""


class Cancellation:
    """The state of one piece of work: whether its end was requested, and the functions that cancel it.

    The signal handler takes no lock, as the main thread may hold it: it sets attributes, and starts a thread.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that requested the end; ``None`` before any has."""
        self._requested_at = 0.0
        self._requested = threading.Event()
        self._is_over = False
        self._is_deferred = True
        self._exits = False
        self._targets: list[Callable[[], object]] = []

    @property
    def is_requested(self) -> bool:
        """Whether the end of the work was requested."""
        return self.number is not None

    def check(self) -> None:
        """Raise if the end of the work was requested.

        :raises KeyboardInterrupt: if so.
        """
        if self.is_requested:
            raise KeyboardInterrupt

    def check_unless_deferred(self) -> None:
        """Raise as `check` does, but not where interruptions are deferred."""
        if not self._is_deferred:
            self.check()

    def sleep(self, seconds: float) -> None:
        """Wait, in any thread, and raise as `check` does."""
        self._requested.wait(seconds)
        self.check()

    def request(self, number: int = signal.SIGINT) -> None:
        """Request the end of the work, as the first signal does."""
        if self.number is None:
            self._requested_at = monotonic()
            self.number = number
            start_new_thread(self._cancel_repeatedly, ())

    @contextmanager
    def cancelling(self, cancel: Callable[[], object]) -> Generator[None]:
        """Call *cancel* repeatedly, in another thread, from the request for the end to the end of the block."""
        self._targets.append(cancel)
        try:
            yield
        finally:
            self._targets.remove(cancel)

    @contextmanager
    def exiting(self) -> Generator[None]:
        """Let a signal end the process at once in a block, which does nothing that would have to be undone.

        An exception could be lost there: Python ignores those that are raised in callbacks of its import locks.
        """
        self._exits = True
        try:
            yield
        finally:
            self._exits = False

    def interruptible(self) -> _Mode:
        """Permit signals to raise `KeyboardInterrupt` in the main thread during a block. Raises as `check` does."""
        return _Mode(self, is_deferred=False)

    def deferred(self) -> _Mode:
        """Prevent signals from raising during a block, except in `interruptible` ones; its end raises as `check`."""
        return _Mode(self, is_deferred=True)

    def hold(self) -> None:
        """Defer interruptions to the end of an `interruptible` block whose work is done. Raises as `check` does."""
        self.check()
        self._is_deferred = True

    def end(self) -> None:
        """Stop cancelling."""
        self._is_over = True

    def handle(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        if self._exits:
            os._exit(128 + number)
        if self.number is None:
            self.request(number)
        elif monotonic() - self._requested_at > _ECHO:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not self._is_deferred:
            self._is_deferred = True  # for the code that cleans up
            raise KeyboardInterrupt

    def _cancel_repeatedly(self) -> None:
        self._requested.set()
        while not self._is_over:
            for cancel in list(self._targets):
                with suppress(Exception):  # the work may end at the same time
                    cancel()
            sleep(_INTERVAL)


class _Mode:
    """A block with deferred or undeferred signals. A generator would miss an exception at the end of the block."""

    def __init__(self, cancellation: Cancellation, *, is_deferred: bool) -> None:
        self._cancellation = cancellation
        self._is_deferred = is_deferred

    def __enter__(self) -> None:
        self._before = self._cancellation._is_deferred  # noqa: SLF001 - its own state
        self._cancellation._is_deferred = self._is_deferred  # noqa: SLF001 - its own state
        if self._cancellation.is_requested:  # since then, or it would have been raised
            self._cancellation._is_deferred = self._before  # noqa: SLF001 - its own state
            self._cancellation.check()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cancellation._is_deferred = self._before  # noqa: SLF001 - its own state
        if self._is_deferred and kind is None:
            self._cancellation.check()


_current: Cancellation | None = None


def exit_in_order(number: int, _: FrameType | None) -> None:
    """Exit through `atexit`: a handler for SIGTERM, whose default ends the process without that."""
    signal.signal(number, signal.SIG_IGN)  # a second signal must not prevent that
    sys.exit(128 + number)


def current() -> Cancellation:
    """Return the cancellation of the main thread's work; outside of `handling`, one without requests."""
    return _current or Cancellation()


@contextmanager
def handling() -> Generator[Cancellation]:
    """Yield the cancellation of the work in a block, which `SIGNALS` request.

    A signal that the process ignores, or has a handler of its own for, does not. In a nested block, the cancellation is
    the same. Outside of the main thread, no signal requests it. Interruptions are deferred at first.

    :raises SystemExit: with code 143 or 129 at the end of the outermost block if SIGTERM or SIGHUP interrupted it.
    """
    global _current  # noqa: PLW0603 - signal handlers belong to the process
    if threading.current_thread() is not threading.main_thread():
        yield Cancellation()
        return
    if _current is not None:
        yield _current
        return
    defaults = (signal.default_int_handler, signal.SIG_DFL, exit_in_order)
    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) in defaults}
    cancellation = _current = Cancellation()
    unraisable = sys.unraisablehook
    sys.unraisablehook = partial(_ignore_interruption, unraisable)
    for number in before:
        signal.signal(number, cancellation.handle)
    try:
        yield cancellation
    except KeyboardInterrupt:
        if (requested := cancellation.number) is not None and requested != signal.SIGINT:
            raise SystemExit(128 + requested) from None
        raise
    finally:
        cancellation.end()
        _current = None
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_interruption(report: Callable[[Any], object], unraisable: Any) -> None:
    """Call *report* unless a signal's exception was raised where Python ignores it, as in callbacks of weak references.

    The work ends nevertheless: its statement is cancelled, and the next `Cancellation.check` raises.
    """
    if not (isinstance(unraisable.exc_value, KeyboardInterrupt) and current().is_requested):
        report(unraisable)
