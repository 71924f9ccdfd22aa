"""The connection of asyncpg.

asyncpg sends BEGIN, COMMIT and ROLLBACK by its public ``execute``, and SQLAlchemy everything else by ``prepare`` and
``executemany``. Unlike psycopg, asyncpg begins no transaction by itself: SQLAlchemy does, before its own first
statement. So the driver's own methods, which an application may call before that, begin it as well.
"""

# asyncpg has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

import asyncpg
from typing_extensions import override

from tenantkit.drivers.frame import FramedConnection

logger = logging.getLogger(__name__)


class Connection(FramedConnection, asyncpg.Connection):  # type: ignore[misc]
    """An `asyncpg.Connection` that frames transactions."""

    @property
    @override
    def in_transaction(self) -> bool:
        return bool(self.is_in_transaction())

    @override
    async def execute(self, query: str, *arguments: Any, **options: Any) -> str:
        """Execute *query*; see asyncpg."""
        if not arguments:
            if query.startswith("BEGIN"):
                return await self._begin(query, **options)
            if query in {"COMMIT;", "ROLLBACK;"}:
                end = self._end if self.needs_tail else super().execute
                ended: str = await end(query, **options)
                return ended
        mark = await self._ready()
        status: str = await super().execute(mark + query if arguments else query, *arguments, **options)
        return status

    async def _ready(self) -> str:
        """Begin the session's transaction unless it has begun, and return the mark of its statements.

        :raises ConfigurationError: if the connection commits by itself.
        """
        transaction: Any = self._top_xact
        if transaction is None and self.open_frame is not None and not self.in_transaction:
            await self.begin()
            if not self.in_transaction:
                raise self.refuse_autocommit()
        return self.mark

    async def _begin(self, query: str, **options: Any) -> str:
        frame = self.open_frame
        if frame is None:
            status: str = await super().execute(query, **options)
            return status
        try:
            status = await super().execute(f"{query} {'; '.join(frame.head)}", **options)
        except Exception:
            # For SQLAlchemy the transaction has not begun, so it would not end it, and asyncpg would nest the next one.
            self._top_xact = None
            if not self.is_closed() and self.in_transaction:
                await super().execute("ROLLBACK;")
            raise
        self.needs_tail = True
        return status

    async def _end(self, query: str, **options: Any) -> str:
        try:
            status: str = await super().execute(f"{query} {self.joined_tail}", **options)
        except asyncpg.PostgresError as error:
            status = await self._end_again(query, error)
        self.needs_tail = False
        if self.has_prepared:  # the tail has deallocated the driver's own statements, too
            self._drop_local_statement_cache()
            if self.statements is not None:
                self.statements.clear()
            self.restore_tail()
        return status

    async def _end_again(self, query: str, error: asyncpg.PostgresError) -> str:
        """Determine whether *query* or the tail has failed, and clean up; if it was *query*, raise *error*.

        The server does not report which; if *query* has failed, it has rolled back and has not read the tail.
        """
        self.needs_tail = False
        if self.is_closed():
            raise error
        try:
            await super().execute(self.joined_tail)
        except asyncpg.PostgresError as another:
            self.terminate()
            if another.sqlstate != error.sqlstate:
                raise error from None
            # The transaction has ended as requested, so this must not look like its failure.
            logger.warning("A connection is closed that could not be cleaned: %s", another)
            return query.rstrip(";")
        raise error

    @override
    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare *query*; see asyncpg."""
        if self.needs_tail and query.startswith("PREPARE TRANSACTION"):
            await super().execute(f"{query}; {self.joined_tail}")
            return _Executed()
        return await super().prepare(await self._ready() + query, **options)

    @override
    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        """Execute *command* with each set of parameters; see asyncpg."""
        return await super().executemany(await self._ready() + command, args, **options)

    @override
    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the rows of *query*; see asyncpg."""
        return await super().fetch(await self._ready() + query, *args, **options)

    @override
    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """Return a value of the first row of *query*; see asyncpg."""
        return await super().fetchval(await self._ready() + query, *args, **options)

    @override
    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the first row of *query*; see asyncpg."""
        return await super().fetchrow(await self._ready() + query, *args, **options)

    @override
    async def fetchmany(self, query: str, args: Any, **options: Any) -> Any:
        """Return the rows of *query* for each set of parameters; see asyncpg."""
        return await super().fetchmany(await self._ready() + query, args, **options)

    @override
    async def copy_from_query(self, query: str, *args: Any, **options: Any) -> Any:
        """Copy the rows of *query* to a file; see asyncpg."""
        await self._ready()
        return await super().copy_from_query(query, *args, **options)

    @override
    async def copy_from_table(self, table_name: str, **options: Any) -> Any:
        """Copy a table to a file; see asyncpg."""
        await self._ready()
        return await super().copy_from_table(table_name, **options)

    @override
    async def copy_to_table(self, table_name: str, **options: Any) -> Any:
        """Copy a file to a table; see asyncpg."""
        await self._ready()
        return await super().copy_to_table(table_name, **options)

    @override
    async def copy_records_to_table(self, table_name: str, **options: Any) -> Any:
        """Copy rows to a table; see asyncpg."""
        await self._ready()
        return await super().copy_records_to_table(table_name, **options)

    @override
    def cursor(self, query: str, *args: Any, **options: Any) -> Any:
        """Return a cursor for *query*; see asyncpg."""
        return _Cursor(self._ready, super().cursor(self.mark + query, *args, **options))


class _Cursor:
    """A cursor that begins the session's transaction: asyncpg would prepare its query before, without the path."""

    def __init__(self, ready: Callable[[], Coroutine[Any, Any, object]], factory: Any) -> None:
        self._ready = ready
        self._factory = factory

    async def __aiter__(self) -> AsyncGenerator[Any]:
        await self._ready()
        async for row in self._factory:
            yield row

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from self._ready().__await__()
        return (yield from self._factory.__await__())


class _Executed:
    """A stand-in for a prepared statement that has been executed already."""

    def get_attributes(self) -> tuple[()]:
        """Return nothing, as for a statement without rows."""
        return ()

    async def fetch(self, *_args: object) -> list[Any]:
        """Return no rows."""
        return []

    def get_statusmsg(self) -> str:
        """Return the status."""
        return "PREPARE TRANSACTION"
