"""Replay of a recorded script: one round trip and one transaction for each placement."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from socket import SHUT_RDWR, socket
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from tenantkit.cancellation import Cancellation
from tenantkit.migrations.graph.places import Place
from tenantkit.migrations.replay.script import BUSY, MOVED, Script, Template
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.connections import RESET_SESSION, Reconnect
from tenantkit.migrations.tasks.engines import Engines
from tenantkit.migrations.tasks.task import Retry, Task
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.postgres.limits import Limits
from tenantkit.user_code import set_place

if TYPE_CHECKING:
    from collections.abc import Iterator


_PATIENCE = 5.0
"""Seconds for the server to cancel a statement."""

_RESET_SESSION = RESET_SESSION.encode()
"""Statements that remove the session state of one tenant's script before the next one."""


@dataclass(slots=True)
class Replay:
    """Executes tasks by sending a script, on its own connection, which is replaced now and then."""

    engines: Engines
    """The sources of connections, which do not return to their pools."""
    script: Script
    limits: Limits
    placements_per_connection: int
    cancellation: Cancellation
    is_last: bool = True
    """Whether the task is done after the script; if not, the ledger records only its beginning."""
    locates: bool = False
    """Whether a failed script is sent again, revision by revision, to find the revision that fails."""
    _connection: psycopg.Connection[Any] | None = None
    _database: str | None = None
    """The key of the database of the connection."""
    _served: int = 0
    _interrupted_at: float | None = None
    _reconnect: Reconnect = field(init=False)
    _templates: dict[tuple[tuple[str, ...], bool], Template] = field(
        default_factory=dict[tuple[tuple[str, ...], bool], Template]
    )

    def __post_init__(self) -> None:
        self._reconnect = Reconnect(self.cancellation)

    def __call__(self, task: Task) -> Outcome | Retry:
        """Send the script to one placement; if it fails, the placement is unchanged.

        :raises KeyboardInterrupt: if the run is cancelled before the script is committed.
        """
        is_located = len(self.script.steps) == 1 or task.is_last_attempt
        result = self._attempt(task, in_pieces=task.is_last_attempt)
        if isinstance(result, Outcome) and not (result.ok or is_located or has_moved(result)) and self.locates:
            return self._attempt(task, in_pieces=True)
        return result

    def _attempt(self, task: Task, *, in_pieces: bool) -> Outcome | Retry:
        """Send the script; *in_pieces*, with a round trip for each revision, so that an error has its revision."""
        start = perf_counter()
        before, after = format_heads(self.script.before), format_heads(self.script.after)
        if not self.is_last:
            epilogue = task.ledger.begun(engine="replay", from_revision=before, to_revision=after)
        else:
            epilogue = task.ledger.done(engine="replay", from_revision=before, to_revision=after, attempts=task.attempt)
        error: psycopg.Error | None = None
        try:
            connection = self._open(task.target.placement.database)
            self.cancellation.check()
            if self.script.may_change_session and self._served > 1:
                _send(connection, _RESET_SESSION)
            template, schema = self._template(task), task.target.schema
            if in_pieces:
                self._send_pieces(connection, template.pieces(schema, epilogue))
            else:
                _send(connection, template.render(schema, epilogue).encode())
        except psycopg.Error as caught:
            if self.cancellation.is_requested:
                self.close()
                raise KeyboardInterrupt from caught
            error = caught
            if (retry := self._retry(task, caught)) is not None:
                return retry
        return task.outcome(before, after if error is None else before, engine="replay", start=start, error=error)

    def _send_pieces(self, connection: psycopg.Connection[Any], pieces: Iterator[tuple[str | None, str]]) -> None:
        for revision, text in pieces:
            self.cancellation.check()
            try:
                _send(connection, text.encode())
            except psycopg.Error as error:
                set_place(error, Place(revision=revision))
                raise

    def interrupt(self) -> None:
        """Cancel the running statement, which rolls back; close the connection if that has no effect."""
        if (connection := self._connection) is None:
            return
        self._interrupted_at = self._interrupted_at or monotonic()
        if monotonic() - self._interrupted_at < _PATIENCE:
            connection.cancel_safe(timeout=1)
        else:  # nothing else ends libpq's wait for a server that does not answer
            with socket(fileno=os.dup(connection.fileno())) as end:
                end.shutdown(SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _template(self, task: Task) -> Template:
        # Steps outside of a transaction, or a row in the ledger of another database, depend on this commit.
        waits_for_disk = not (self.is_last and task.ledger.shares_transaction)
        key = task.target.others, waits_for_disk
        if (template := self._templates.get(key)) is None:
            template = self.script.template(task.target.others, self.limits, waits_for_disk=waits_for_disk)
            self._templates[key] = template
        return template

    def _open(self, database: str) -> psycopg.Connection[Any]:
        if self._served == self.placements_per_connection or database != self._database:
            self.close()
        if (connection := self._connection) is None:
            connection = self._connection = self._reconnect(partial(self._connect, database))
            self._database = database
            self._served = 0
        self._served += 1
        return connection

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        pooled = self.engines.at(database).raw_connection()
        connection = cast("psycopg.Connection[Any]", pooled.driver_connection)
        pooled.detach()
        connection.autocommit = True
        return connection

    def _retry(self, task: Task, error: psycopg.Error) -> Retry | None:
        """Roll back, and return a `Retry` if another attempt may succeed."""
        connection = self._connection
        if connection is None:
            return None  # no connection could be opened
        if connection.closed or error.sqlstate is None:
            # libpq's own error: the connection is lost, even if it does not look closed. It is not known whether the
            # transaction was committed. If so, the next attempt finds the placement at another revision.
            self.close()
            return Retry(task.outcome(error=error))
        try:
            connection.rollback()
        except psycopg.Error as lost:
            self.close()
            return Retry(task.outcome(error=lost))
        if error.sqlstate == BUSY:
            return Retry.claimed(task)
        if is_lock_conflict(error):
            return Retry(task.outcome(error=error))
        return None


def _send(connection: psycopg.Connection[Any], text: bytes) -> None:
    """Send statements and wait for all of them, by libpq's own function, because the results are not used.

    It takes a fifth of the processor time of `Connection.execute`, on a machine that the server may share.
    """
    result = connection.pgconn.exec_(text)
    if result.status == ExecStatus.FATAL_ERROR:
        raise error_from_result(result, encoding=connection.info.encoding)


def has_moved(outcome: Outcome) -> bool:
    """Return whether a replay failed only because the placement was at another revision than planned."""
    return outcome.sqlstate == MOVED
