"""Values and connections that belong to one process.

Servers written in C, such as uWSGI, fork without Python's knowledge, so that `os.register_at_fork` does not run. So
this module compares the number of the process before each use, which takes about 50 ns.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy import Engine, Pool

Value = TypeVar("Value")


class PerProcess(Generic[Value]):
    """A value that each process makes for itself on first use."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._made = (os.getpid(), make())

    def get(self) -> Value:
        """Return the value of this process."""
        process, value = self._made
        if process == os.getpid():
            return value
        # If several threads arrive together, the last one wins. A lock could have been held when the process forked.
        self._made = (os.getpid(), self._make())
        return self._made[1]


def connect_in_each_process(engine: Engine) -> None:
    """Make *engine* open connections of its own in each process.

    A forked process replaces the parent's pool before any use of it. The pool's lock may have been held
    when the process forked, and a ping or a Terminate message would reach the parent's session. SQLAlchemy's recipe,
    the pool event ``checkout``, runs after ``pool_pre_ping`` and ``pool_recycle`` have used the connection.
    """
    inherited: list[object] = []
    """The parent's pools, which are kept because a driver may close a connection that is collected as garbage."""

    def watch(pool: Pool) -> Pool:
        process = os.getpid()
        connect, dispose, recreate = pool.connect, pool.dispose, pool.recreate

        def connect_here() -> object:
            if process == os.getpid():
                return connect()
            if engine.pool is pool:
                engine.dispose()
            return engine.pool.connect()

        def dispose_here() -> None:
            if process == os.getpid():
                dispose()
            else:
                inherited.append(pool)

        # Not by the event engine_disposed: with a listener for it, SQLAlchemy would dispatch all events of an engine.
        vars(pool).update(connect=connect_here, dispose=dispose_here, recreate=lambda: watch(recreate()))
        return pool

    watch(engine.pool)
