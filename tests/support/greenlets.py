"""The greenlets of threads that have ended stay, where destroying them may hang.

CPython 3.11 destroys such a greenlet in a pending call. coverage.py has a weak reference to it, whose callback is then
executed under a trace function: with a pending call still due, CPython executes its first instruction for ever.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_kept: list[object] = []


def keep() -> None:
    """Keep the greenlet of each thread that begins from now on, if this process may hang otherwise."""
    if sys.version_info >= (3, 12) or sys.gettrace() is None:
        return
    import greenlet

    thread: Any = threading.Thread
    begin = thread._bootstrap_inner

    def begin_and_keep(self: threading.Thread) -> None:
        _kept.append(greenlet.getcurrent())
        begin(self)

    thread._bootstrap_inner = begin_and_keep


keep()
