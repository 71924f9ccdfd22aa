"""A process that migrates placements, one after another, for its parent.

Its command line has its end of a pipe, on which it receives a `WorkerConfig` and `Task`s. For each task it sends the
revisions that begin, the progress of long steps, and an `Outcome`. When its parent closes the pipe, or dies, it cancels
its task and ends. The parent handles signals that reach all processes of a terminal or a container.
"""

from __future__ import annotations

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
from tenantkit.databases.base import split_key
from tenantkit.databases.shared_keys import leave_out_shared_keys
from tenantkit.migrations.executors.alembic import Alembic
from tenantkit.migrations.graph.revision_graph import RevisionGraph, Scope
from tenantkit.migrations.tasks.connections import RESET_SESSION
from tenantkit.migrations.tasks.engines import Engines
from tenantkit.migrations.tasks.task import Task
from tenantkit.postgres.limits import Limits

_GRACE = 1.0
"""Seconds for a task to end after its statement was cancelled."""

_OF_POOLS = frozenset(
    {"max_overflow", "pool", "pool_pre_ping", "pool_recycle", "pool_size", "pool_timeout", "poolclass"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The configuration of a worker process."""

    environment: Path
    scope: Scope
    naming_convention: Mapping[str, Any] = field(default_factory=dict[str, Any])
    url: URL
    """The URL of a named database."""
    engine_options: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    path: list[str] = field(default_factory=list[str])
    """The parent's ``sys.path``: ``env.py`` and revisions may import the application."""
    limits: Limits
    placements_per_connection: int
    shared_schemas: frozenset[str] = frozenset()
    """The schemas of shared tables, where the database does not have them."""

    def open(self, key: str) -> Engine:
        """Return an engine with the application's settings, which keeps one connection.

        :param key: the key of the named database, or of one with a single tenant on its server.
        """
        _, database = split_key(key)
        url = self.url if database is None else self.url.set(database=database)
        options = {name: value for name, value in self.engine_options.items() if name not in _OF_POOLS}
        engine = create_engine(url, **options, pool_size=1, max_overflow=-1, pool_pre_ping=True)
        event.listen(engine, "checkin", reset_session)
        if self.shared_schemas:
            leave_out_shared_keys(engine, lambda: self.shared_schemas)
        return engine


def serve(pipe: Pipe) -> None:
    """Execute the tasks from *pipe* until it is closed."""
    setup: WorkerConfig = pipe.recv()
    sys.path[:] = setup.path
    inbox = _Inbox(pipe)
    alembic = Alembic(
        Engines(setup.open),
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
    """Receives tasks in a separate thread, which detects the end of the pipe while a task runs."""

    def __init__(self, pipe: Pipe) -> None:
        self.cancellation = Cancellation()
        self._pipe = pipe
        self._is_busy = True
        self._tasks = SimpleQueue[Task | None]()
        Thread(target=self._receive, daemon=True).start()

    def get(self) -> Task | None:
        """Return the next task, and wait for it; ``None`` at the end of the pipe."""
        return self._tasks.get()

    def reply(self, message: Any) -> None:
        """Send the answer to a task."""
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
            if self._is_busy:  # it works outside of the database
                os._exit(1)


def reset_session(dbapi_connection: Any, record: Any) -> None:
    """Remove the state that a revision left in its session, such as settings, a role, or temporary tables."""
    try:
        dbapi_connection.execute(RESET_SESSION, prepare=False)  # several statements cannot be prepared
        dbapi_connection.commit()
    except Exception:  # noqa: BLE001 - a connection that is broken is not used again
        record.invalidate()


def main() -> None:
    """Serve the pipe on the command line."""
    # Cancelled, or the parent was killed: there is no receiver.
    with Pipe(int(sys.argv[1])) as pipe, suppress(KeyboardInterrupt, BrokenPipeError, EOFError):
        # The output of a revision must not mix with the data of the command.
        os.dup2(2, 1)
        serve(pipe)
