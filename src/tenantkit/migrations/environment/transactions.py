"""Protection of the transaction of revisions from being ended by them.

After a COMMIT of its own, a revision would go on without the tenant's ``search_path``, that is, in ``public``, and a
later failure could not roll it back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.sql_text import read_sql

_ADVICE = (
    "tenantkit begins and ends the transaction of a revision. Remove the commit; a step that must be committed by "
    "itself goes into 'with op.get_context().autocommit_block():', in a revision of its own"
)


class Transaction:
    """The transaction that revisions run in, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._began: object = None
        self._is_ours = True

    def begin(self) -> None:
        """Remember the current transaction as the one that revisions must not end."""
        self._began = self._now()
        self._is_ours = False

    def end(self) -> None:
        """Permit the end of the transaction.

        :raises ConfigurationError: if a revision has ended it already, in a way that could not be refused.
        """
        self._is_ours = True
        if self._now() != self._began:
            raise ConfigurationError(
                f"A revision ended its transaction, so its earlier steps may be committed without it. {_ADVICE}."
            )

    @contextmanager
    def watch(self) -> Generator[None]:
        """Refuse statements and calls that would end the transaction between `begin` and `end`."""
        listeners: dict[str, Callable[..., None]] = {
            "commit": self._refuse_commit,
            "before_cursor_execute": self._refuse_statement,
        }
        for name, listener in listeners.items():
            event.listen(self._connection, name, listener)
        try:
            yield
        finally:
            self._is_ours = True
            for name, listener in listeners.items():
                event.remove(self._connection, name, listener)

    def _now(self) -> object:
        return self._connection.exec_driver_sql("SELECT now()").scalar_one()

    def _refuse_commit(self, connection: Connection) -> None:
        if not self._is_ours:
            # SQLAlchemy considers the transaction ended, even if an error is raised here.
            connection.connection.rollback()
            raise ConfigurationError(f"A revision called commit(). {_ADVICE}.")

    def _refuse_statement(self, _connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not self._is_ours and read_sql(statement).ends_transaction:
            raise ConfigurationError(f"A revision executed a statement that ends its transaction. {_ADVICE}.")
