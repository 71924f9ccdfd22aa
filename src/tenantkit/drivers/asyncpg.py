"""The connection of asyncpg.

asyncpg sends BEGIN, COMMIT and ROLLBACK by its public ``execute``, and SQLAlchemy everything else by ``prepare`` and
``executemany``.
"""

# asyncpg has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import Any

import asyncpg
from typing_extensions import override

from tenantkit.drivers.frame import FramedConnection


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
            if self.needs_tail and query in {"COMMIT;", "ROLLBACK;"}:
                return await self._end(query, **options)
        status: str = await super().execute(query, *arguments, **options)
        return status

    async def _begin(self, query: str, **options: Any) -> str:
        frame = self.open_frame
        if frame is None:
            status: str = await super().execute(query, **options)
            return status
        try:
            status = await super().execute(f"{query} {frame.head}", **options)
        except Exception:
            # To SQLAlchemy the transaction has not begun, so it would not end it, and asyncpg would nest the next one.
            self._top_xact = None
            if not self.is_closed() and self.in_transaction:
                await super().execute("ROLLBACK;")
            raise
        self.needs_tail = True
        return status

    async def _end(self, query: str, **options: Any) -> str:
        tail = self.joined_tail
        try:
            status: str = await super().execute(f"{query} {tail}", **options)
        except Exception:
            if not self.is_closed():
                # The server has rolled back and has not read the rest.
                try:
                    await super().execute(tail)
                except Exception:  # noqa: BLE001 - the first error counts; the connection goes
                    self.terminate()
            self.needs_tail = False
            raise
        self.needs_tail = False
        return status

    @override
    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare *query*; see asyncpg."""
        return await super().prepare(self.mark + query, **options)

    @override
    async def executemany(self, command: str, args: Any, **options: Any) -> None:
        """Execute *command* with each set of parameters; see asyncpg."""
        await super().executemany(self.mark + command, args, **options)
