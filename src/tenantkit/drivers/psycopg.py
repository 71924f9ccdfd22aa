"""The connections of psycopg, sync and async, and their cursors.

BEGIN, COMMIT, ROLLBACK and PREPARE TRANSACTION all go through psycopg's ``_exec_command``. That is a private method,
so each engine tries once whether it works: see `tenantkit.drivers.install`.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import generators, pq
from psycopg.sql import Composable
from typing_extensions import override

from tenantkit.drivers.frame import FramedConnection

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

logger = logging.getLogger(__name__)

_ENDS = (b"COMMIT", b"ROLLBACK")
_FATAL_ERROR = pq.ExecStatus.FATAL_ERROR
_IDLE = pq.TransactionStatus.IDLE
_ACTIVE = pq.TransactionStatus.ACTIVE
_PATIENCE = 5.0
"""Seconds to wait for the end of a statement that was cancelled, as psycopg does."""


class _MarkedCursor:
    """Adds the mark of the connection's frame to the beginning of each statement."""

    _conn: Any  # psycopg's property `connection` costs more than this whole method

    def _convert_query(self, query: Any, parameters: Any = None) -> Any:
        """Return a statement as it is sent. psycopg has parsed its text without the mark, once for all tenants."""
        converted: Any = super()._convert_query(query, parameters)  # type: ignore[misc]
        if mark := self._conn.mark.encode():
            _mark(converted, mark)
        return converted  # pyright: ignore[reportUnknownVariableType]


class _MarkedClientCursor(_MarkedCursor):
    def mogrify(self, query: Any, parameters: Any = None) -> str:
        """Return the text of a statement or a part of one with its parameters; see psycopg."""
        text: Any = super().mogrify(query, parameters)  # type: ignore[misc]
        return str(text).removeprefix(self._conn.mark)  # pyright: ignore[reportUnknownArgumentType]


def _mark(converted: Any, mark: bytes) -> None:
    converted.query = mark + converted.query
    if hasattr(converted, "template"):  # `ClientCursor` makes the query again for each further set of parameters
        converted.template = mark + converted.template


@cache
def marked(factory: type[Any]) -> type[Any]:
    """Return a cursor class like *factory* that marks its statements."""
    if issubclass(factory, _MarkedCursor):
        return factory
    base = _MarkedClientCursor if hasattr(factory, "mogrify") else _MarkedCursor
    return type(factory.__name__, (base, factory), {})


class _Framed(FramedConnection):
    """The common part of `Connection` and `AsyncConnection`: psycopg's generators serve both."""

    pgconn: pq.abc.PGconn
    _num_transactions: int
    _pipeline: Any
    _prepared: Any
    _tpc: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._process = os.getpid()
        self.cursor_factory: Any = marked(self.cursor_factory)
        self.server_cursor_factory: Any = marked(self.server_cursor_factory)

    @property
    @override
    def in_transaction(self) -> bool:
        return self.pgconn.transaction_status != _IDLE

    def __del__(self) -> None:
        if not self.is_inherited:
            super().__del__()  # type: ignore[misc]

    @property
    def is_inherited(self) -> bool:
        """Whether a parent process opened the connection before a fork."""
        return self._process != os.getpid()

    def _set_autocommit_gen(self, value: Any) -> Generator[Any, Any, None]:
        # Without BEGIN, the tenant's path would not be set.
        if value and self.open_frame is not None:
            raise self.refuse_autocommit()
        yield from super()._set_autocommit_gen(value)  # type: ignore[misc]

    @property
    def _has_nothing_to_roll_back(self) -> bool:
        """Whether no transaction is open, as when a pool takes the connection back, or only another process's."""
        is_idle = self.pgconn.transaction_status == _IDLE
        return (is_idle and not (self._pipeline or self._tpc or self._num_transactions)) or self.is_inherited

    def _refuse(self) -> psycopg.OperationalError:
        """Return the error of an inherited connection, whose server session belongs to the other process."""
        return psycopg.OperationalError(
            f"This connection was opened by process {self._process}, from which process {os.getpid()} was forked. "
            "Open a new session in each process."
        )

    def _exec_command(self, command: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(command, bytes):
            if command.startswith(b"BEGIN"):
                if self.needs_tail or self.frame is not None:
                    return self._begin(command, *arguments, **options)
            elif self.needs_tail and command in _ENDS:
                return self._end(command)
        elif self.needs_tail and isinstance(command, Composable):
            text = command.as_bytes(None)
            if text.startswith(b"PREPARE TRANSACTION"):
                return self._end(text)
        return super()._exec_command(command, *arguments, **options)  # type: ignore[misc]

    def _begin(self, command: bytes, *arguments: Any, **options: Any) -> Generator[Any, Any, Any]:
        if self.needs_tail:  # the transaction before ended in a pipeline, which may have broken off
            yield from self._clean_up()
        frame = self.frame
        if frame is None or not frame.is_open:
            return (yield from super()._exec_command(command, *arguments, **options))  # type: ignore[misc]
        results = yield from self._send(command, *map(str.encode, frame.head))
        if results and results[-1].status == _FATAL_ERROR:
            raise self._error(results[-1])
        # Not before: if BEGIN failed, the next statement begins a transaction again, with the head.
        self.needs_tail = True
        return results[0] if results else None

    def _end(self, command: bytes) -> Generator[Any, Any, Any]:
        results = yield from self._send(command, *self._tail)
        if not results:  # in a pipeline nothing has been answered yet: the next BEGIN sends the tail once more
            return None
        if results[0].status == _FATAL_ERROR:
            # The server has rolled back and has not read the rest.
            yield from self._clean_up()
            raise self._error(results[0])
        self._has_cleaned(results)
        return results[0]

    def _clean_up(self) -> Generator[Any, Any, None]:
        self._has_cleaned((yield from self._send(*self._tail)))

    def _has_cleaned(self, results: Sequence[Any]) -> None:
        if results and results[-1].status == _FATAL_ERROR:
            # The transaction has ended as requested, so this must not look like its failure.
            logger.warning("A connection is closed that could not be cleaned: %s", results[-1].error_message)
            self.pgconn.finish()
        self.needs_tail = False
        if self.has_prepared:
            self._prepared.clear()  # the tail has deallocated psycopg's own statements, too
            self.restore_tail()

    @property
    def _tail(self) -> Sequence[bytes]:
        return [each.encode() for each in self.tail] if self._pipeline else [self.joined_tail.encode()]

    def _send(self, *commands: bytes) -> Generator[Any, Any, Sequence[Any]]:
        """Send *commands* as one query; the generator returns their results up to the first that failed."""
        if self._pipeline:
            return self._queue(commands)
        self._check_connection_ok()  # type: ignore[attr-defined]
        self.pgconn.send_query(b"; ".join(commands))
        results: Generator[Any, Any, Sequence[Any]] = generators.execute(self.pgconn)
        return results

    def _queue(self, commands: Sequence[bytes]) -> Generator[Any, Any, Sequence[Any]]:
        for each in commands:
            yield from super()._exec_command(each)  # type: ignore[misc]
        return []

    def _error(self, result: Any) -> psycopg.Error:
        return psycopg.errors.error_from_result(result, encoding=self.pgconn._encoding)  # noqa: SLF001 - as psycopg does


class Connection(_Framed, psycopg.Connection[Any]):  # type: ignore[misc]
    """A `psycopg.Connection` that frames transactions."""

    @override
    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait for the server, as psycopg does after each command; a forked process is refused."""
        if self._process != os.getpid():
            raise self._refuse()
        try:
            return super().wait(gen, *arguments, **options)
        except KeyboardInterrupt:
            self._read_to_the_end()
            raise

    def _read_to_the_end(self) -> None:
        """Read the results of a command that psycopg has cancelled, so that the connection can be rolled back.

        psycopg does so with its generator, which has ended if the interruption was raised in that.
        """
        try:
            if self.pgconn.transaction_status == _ACTIVE:
                super().wait(generators.fetch_many(self.pgconn), timeout=_PATIENCE)
        except psycopg.Error:
            self.pgconn.finish()

    @override
    def rollback(self) -> None:
        """Roll back; a forked process does nothing."""
        if not self._has_nothing_to_roll_back:
            super().rollback()

    @override
    def close(self) -> None:
        """Close the connection; a forked process sends nothing to the server."""
        if self.is_inherited:
            self._closed = True
        else:
            super().close()


class AsyncConnection(_Framed, psycopg.AsyncConnection[Any]):  # type: ignore[misc]
    """A `psycopg.AsyncConnection` that frames transactions."""

    @override
    async def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait for the server, as psycopg does after each command; a forked process is refused."""
        if self._process != os.getpid():
            raise self._refuse()
        return await super().wait(gen, *arguments, **options)

    @override
    async def rollback(self) -> None:
        """Roll back; a forked process does nothing."""
        if not self._has_nothing_to_roll_back:
            await super().rollback()

    @override
    async def close(self) -> None:
        """Close the connection; a forked process sends nothing to the server."""
        if self.is_inherited:
            self._closed = True
        else:
            await super().close()
