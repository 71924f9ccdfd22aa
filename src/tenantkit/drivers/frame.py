"""Commands that a driver's connection sends in the round trips of BEGIN, COMMIT and ROLLBACK.

A session's transaction begins with a *head*, such as ``SET LOCAL search_path``, and ends with a *tail*, which removes
everything that the transaction may have left on the connection: settings, temporary tables, locks, cursors. For one
request, each was measured to cost 2 to 4 %; a statement of its own costs 8 to 10 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from sqlalchemy.engine import RootTransaction

CLEAN_UP = (
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
    "CLOSE ALL",
    "UNLISTEN *",
    "SELECT pg_catalog.pg_advisory_unlock_all()",
    "DISCARD TEMP",
    "DISCARD SEQUENCES",
)
"""The commands that remove all state that outlives a transaction. Settings go first: a ``statement_timeout`` must not
stop the rest.

``DISCARD ALL`` cannot run together with other commands, and would take the driver's prepared statements.
"""

READ_SETTINGS = """
SELECT name, setting FROM (
    SELECT 1, name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name !~ '^transaction_'
    UNION ALL SELECT 2, 'session_authorization', session_user
        WHERE session_user <> (SELECT usename FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid())
    UNION ALL SELECT 3, 'role', current_setting('role') WHERE current_setting('role') <> 'none'
) AS found (place, name, setting)
ORDER BY place, name
"""
"""The settings made by the application's own ``connect`` listeners, the role last: it may not permit the others."""


_RESTORE = "SELECT pg_catalog.set_config({}, {}, false)"


@dataclass(slots=True, eq=False)
class Frame:
    """The head of one session's transactions, and the mark of its statements."""

    transaction: Callable[[], RootTransaction | None]
    """Returns the session's transaction. The frame is valid while it is open, as pooled connections serve others."""
    head: tuple[str, ...]
    """The commands behind BEGIN."""
    mark: str
    """A comment before every statement: drivers and PgBouncer find prepared statements by their text."""
    owner: object = None
    """The object to which the statements in this frame must belong."""
    read_only: Any = None
    """The tenant for which the transaction only reads, if it does."""

    @property
    def is_open(self) -> bool:
        """Whether the transaction is open."""
        transaction = self.transaction()
        return transaction is not None and transaction.is_active


class FramedConnection:
    """The common part of the connections of all drivers."""

    frame: Frame | None = None
    needs_tail = False
    """Whether a transaction has begun with a frame, and has not ended with the tail yet."""
    tail: tuple[str, ...] = CLEAN_UP
    """The commands of the tail: the clean-up, and those that restore the settings of the new connection."""
    joined_tail = "; ".join(CLEAN_UP)
    knows_settings = False
    """Whether the settings of the new connection have been read."""
    has_prepared = False
    """Whether a textual PREPARE was sent, whose statement the clean-up cannot distinguish from the driver's own."""

    statements: StatementCache | None = None
    """SQLAlchemy's cache of prepared statements, if it keeps one for the driver."""
    begin: Callable[[], Awaitable[None]]
    """SQLAlchemy's function that begins a transaction, for a driver that does not begin one itself."""

    def refuse_autocommit(self) -> ConfigurationError:
        """Return the error of a connection that is in autocommit mode, or is set to it, while it serves a session."""
        return ConfigurationError(
            "Sessions of tenantkit do not work with AUTOCOMMIT: a tenant's search_path lasts for one transaction. "
            "Leave out isolation_level='AUTOCOMMIT', and do not set autocommit on the driver's connection. For a "
            "statement that cannot run in a transaction, use a connection of tenancy.engine."
        )

    def restore(self, settings: Sequence[tuple[str, str]]) -> None:
        """Make the tail restore these settings of the new connection."""
        self.tail = (*CLEAN_UP, *(_RESTORE.format(*map(quote_literal, setting)) for setting in settings))
        self.joined_tail = "; ".join(self.tail)
        self.knows_settings = True

    def restore_tail(self) -> None:
        """Make the tail keep prepared statements again."""
        self.has_prepared = False
        self.joined_tail = "; ".join(self.tail)

    def deallocate(self) -> None:
        """Make the tail remove all prepared statements once."""
        self.has_prepared = True
        self.joined_tail = "; ".join((*self.tail, "DEALLOCATE ALL"))

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN has been sent."""
        raise NotImplementedError

    @property
    def open_frame(self) -> Frame | None:
        """The frame, if its transaction is open."""
        return self.frame if self.frame is not None and self.frame.is_open else None

    @property
    def mark(self) -> str:
        """The comment before the next statement."""
        frame = self.frame
        if frame is None:
            return ""
        transaction = frame.transaction()
        return frame.mark if transaction is not None and transaction.is_active else ""


class StatementCache:
    """SQLAlchemy's cache of prepared statements, which finds them by their text, with the mark as a part of the key."""

    def __init__(self, connection: FramedConnection, statements: MutableMapping[Any, Any]) -> None:
        self._connection = connection
        self._statements = statements

    def clear(self) -> None:
        """Remove all statements."""
        self._statements.clear()

    def __contains__(self, operation: str) -> bool:
        return (self._connection.mark, operation) in self._statements

    def __getitem__(self, operation: str) -> Sequence[Any]:
        found: Sequence[Any] = self._statements[self._connection.mark, operation]
        return found

    def __setitem__(self, operation: str, statement: Sequence[Any]) -> None:
        self._statements[self._connection.mark, operation] = statement
