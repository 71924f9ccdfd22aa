"""A process that migrates placements, one after another, as its parent says.

Its command line names its end of a pipe on which it receives a `WorkerConfig` and `Task`s, and sends an `Outcome`
for each,
and before it which revision begins and how far long steps are. When its parent closes the pipe, or dies, it cancels
what it is doing and ends. Signals that reach all processes of a terminal or a container are the parent's to handle.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import sleep
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from tenantkit.cancellation import Cancellation
from tenantkit.migrations.executors.alembic import Alembic
from tenantkit.migrations.graph.revision_graph import RevisionGraph, Scope
from tenantkit.migrations.tasks.connections import FORGET
from tenantkit.migrations.tasks.task import Task
from tenantkit.postgres.limits import Limits

_GRACE = 1.0
"""Seconds that a task has to end after its statement was cancelled."""

_OF_POOLS = frozenset(
    {"max_overflow", "pool", "pool_pre_ping", "pool_recycle", "pool_size", "pool_timeout", "poolclass"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker needs to know once."""

    environment: Path
    scope: Scope
    naming_convention: Mapping[str, Any] = field(default_factory=dict[str, Any])
    url: URL
    engine_options: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    path: list[str] = field(default_factory=list[str])
    """The parent's ``sys.path``: ``env.py`` and revisions may import the application."""
    limits: Limits
    placements_per_connection: int

    def open(self) -> Engine:
        """Return an engine with the application's settings, which keeps one connection."""
        options = {name: value for name, value in self.engine_options.items() if name not in _OF_POOLS}
        engine = create_engine(self.url, **options, pool_size=1, max_overflow=-1, pool_pre_ping=True)
        event.listen(engine, "checkin", forget)
        return engine


def serve(pipe: Pipe) -> None:
    """Do what comes through *pipe* until it is closed."""
    setup: WorkerConfig = pipe.recv()
    sys.path[:] = setup.path
    inbox = _Inbox(pipe)
    alembic = Alembic(
        setup.open(),
        RevisionGraph(setup.environment, setup.scope, setup.naming_convention),
        setup.limits,
        setup.placements_per_connection,
        tell=pipe.send,
        cancellation=inbox.cancellation,
        starting=pipe.send,
    )
    inbox.reply("ready")
    while (task := inbox.get()) is not None:
        inbox.reply(alembic(task))
    alembic.close()


class _Inbox:
    """Receives tasks in a thread of its own, which notices the end of the pipe while a task is being done."""

    def __init__(self, pipe: Pipe) -> None:
        self.cancellation = Cancellation()
        self._pipe = pipe
        self._is_busy = True
        self._tasks = SimpleQueue[Task | None]()
        Thread(target=self._receive, daemon=True).start()

    def get(self) -> Task | None:
        """Wait for a task; ``None`` if there will be none."""
        return self._tasks.get()

    def reply(self, message: Any) -> None:
        """Send the answer to what was received."""
        self._is_busy = False
        self._pipe.send(message)

    def _receive(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                task = self._pipe.recv()
                self._is_busy = True
                self._tasks.put(task)
        self._tasks.put(None)
        if self._is_busy:
            self.cancellation.request()
            sleep(_GRACE)
            if self._is_busy:  # at work outside of the database
                os._exit(1)


def forget(dbapi_connection: Any, record: Any) -> None:
    """Undo what a revision left in its session (settings, a role, temporary tables): the next tenant has it too."""
    try:
        dbapi_connection.execute(FORGET, prepare=False)  # several statements cannot be prepared
        dbapi_connection.commit()
    except Exception:  # noqa: BLE001 - a connection that is broken is not used again
        record.invalidate()


def main() -> None:
    """Serve the pipe that is named on the command line."""
    gc.freeze()  # what was imported stays to the end
    gc.enable()
    # Cancelled, or the parent was killed: there is no receiver.
    with Pipe(int(sys.argv[1])) as pipe, suppress(KeyboardInterrupt, BrokenPipeError, EOFError):
        # A revision that prints must not be taken for data of the command that started us.
        os.dup2(2, 1)
        serve(pipe)
