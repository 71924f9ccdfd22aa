"""A process that migrates placements, one after another, as its parent says.

Its command line names its end of a pipe on which it receives a `Setup` and `Task`s, and sends an `Outcome` for each,
and before it how far long steps are. It ends when the pipe does, so it does not outlive its parent.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from tenantkit.migrations.apply import Alembic
from tenantkit.migrations.lines import Line, LineName
from tenantkit.provisioning.locks import Limits

FORGET = (
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
    "DISCARD TEMP",
    "SELECT pg_advisory_unlock_all()",
)
"""All of DISCARD ALL but the prepared statements, which the driver keeps account of."""

_OF_POOLS = frozenset(
    {"max_overflow", "pool", "pool_pre_ping", "pool_recycle", "pool_size", "pool_timeout", "poolclass"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker needs to know once."""

    environment: Path
    line: LineName
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
    setup: Setup = pipe.recv()
    sys.path[:] = setup.path
    alembic = Alembic(
        setup.open(),
        Line(setup.environment, setup.line),
        setup.limits,
        setup.placements_per_connection,
        tell=pipe.send,
    )
    pipe.send("ready")
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            break
        pipe.send(alembic(task))
    alembic.close()


def forget(dbapi_connection: Any, record: Any) -> None:
    """Undo what a revision left in its session (settings, a role, temporary tables): the next tenant has it too."""
    try:
        for statement in FORGET:
            dbapi_connection.cursor().execute(statement)
        dbapi_connection.commit()
    except Exception:  # noqa: BLE001 - a connection that is broken is not used again
        record.invalidate()


def main() -> None:
    """Serve the pipe that is named on the command line."""
    # Interrupted, or left by a parent that was killed: there is nobody to tell.
    with Pipe(int(sys.argv[1])) as pipe, suppress(KeyboardInterrupt, BrokenPipeError, EOFError):
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        # A revision that prints must not be taken for data of the command that started us.
        os.dup2(2, 1)
        serve(pipe)
