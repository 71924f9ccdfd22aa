"""Transactions of sessions: the tenant's search_path holds from the first statement of each to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy.exc import DBAPIError

from tenantkit.drivers import framed
from tenantkit.drivers.frame import Frame
from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import quote_literal

if TYPE_CHECKING:
    from sqlalchemy import Connection, Transaction

    from tenantkit.binding import Binding

INTERNAL = "tenantkit_internal"
"""The execution option of statements that tenantkit sends itself."""

SHARED = "tenantkit_shared"
"""The execution option of sessions for shared tables."""


class Transactions:
    """What one session does as it begins to work on a connection, and as it ends."""

    def __init__(self, options: dict[str, Any], binding: Binding | None = None) -> None:
        """For a session with these execution *options*; without a *binding*, its transactions are cleaned up only."""
        self._options = options
        self._head = binding.set_path if binding else ""
        self._mark = f"/* tenant {binding.tenant.id} */ " if binding else ""
        self._borrowed: WeakSet[Connection] | None = None

    def borrow(self, connection: Connection) -> None:
        """Use a connection of the caller's; called before each statement, as other sessions may use it in turn."""
        loan = _loans.get(connection)
        if loan is None:
            loan = _loans[connection] = _Loan(connection)
        if self._borrowed is None:
            self._borrowed = WeakSet()
        if connection not in self._borrowed:
            self._borrowed.add(connection)
            loan.borrowers.append(self)
        connection._execution_options = loan.options.union(self._options)  # noqa: SLF001 - execution_options() only adds
        loan.resume(connection, self._frame(connection))

    def begin(self, connection: Connection) -> None:
        """Let the transaction that has just begun on *connection* be this session's.

        Without I/O, unless the connection is the caller's: the driver sends BEGIN with the first statement, and the
        path with it.

        :raises ConfigurationError: if the connection commits by itself, or is another engine's.
        """
        driver = framed(connection)
        if connection.dialect.detect_autocommit_setting(connection.connection.dbapi_connection):  # type: ignore[arg-type]
            raise ConfigurationError(
                "Sessions of tenantkit do not work with AUTOCOMMIT: a tenant's search_path lasts for one transaction. "
                "Leave out isolation_level='AUTOCOMMIT'."
            )
        if self._borrowed and connection in self._borrowed:
            _loans[connection].begin(connection, self._frame(connection))
        elif driver.open_frame is None:  # neither is it a savepoint in a transaction that this session has begun
            driver.frame = self._frame(connection)
            if driver.in_transaction:  # one in two phases begins at once
                driver.needs_tail = True
                if self._head:
                    connection.exec_driver_sql(self._head, execution_options={INTERNAL: True})

    def end(self) -> None:
        """Give the caller's connections back as they were."""
        while self._borrowed:
            connection = self._borrowed.pop()
            loan = _loans[connection]
            loan.borrowers.remove(self)
            if loan.borrowers:
                loan.borrowers[-1].borrow(connection)
            else:
                del _loans[connection]
                loan.end(connection)

    def _frame(self, connection: Connection) -> Frame:
        transaction = connection.get_transaction()
        return Frame(ref(transaction) if transaction is not None else _no_transaction, self._head, self._mark)


def _no_transaction() -> None:
    return None


class _Loan:
    """A connection of the caller's: the sessions that use it in turn, and what it was like before them."""

    def __init__(self, connection: Connection) -> None:
        self.borrowers: list[Transactions] = []
        self.options: Any = connection.get_execution_options()
        self._transaction: Transaction | None = None
        """The one in which the path was read that stood before."""
        self._path = ""
        self._frame: Frame | None = None
        self._entered: tuple[str, Transaction | None] | None = None
        """The head that was sent last, and the savepoint that it was sent in, whose rollback undoes it."""

    def begin(self, connection: Connection, frame: Frame) -> None:
        """Enter the transaction, also one that the caller or another session has begun."""
        driver = framed(connection)
        if self._transaction is not connection.get_transaction():
            self._transaction = connection.get_transaction()
            self._frame, driver.frame = driver.open_frame, None
            # SHOW takes no snapshot: SET TRANSACTION may still follow.
            self._path = connection.exec_driver_sql("SHOW search_path", execution_options={INTERNAL: True}).scalar_one()
        self._entered = None
        self.resume(connection, frame)

    def resume(self, connection: Connection, frame: Frame) -> None:
        """Set the path, if a session has begun this transaction, and another session or a rollback has come between."""
        if self._transaction is None or self._transaction is not connection.get_transaction():
            return
        head = frame.head or self._set_path()
        entered = (head, connection.get_nested_transaction())
        driver = framed(connection)
        driver.frame = frame
        # With several sessions, one may also roll back, in text, to a savepoint before the other's path.
        if entered != self._entered or len(self.borrowers) > 1:
            connection.exec_driver_sql(head, execution_options={INTERNAL: True})
            driver.needs_tail = True
            self._entered = entered

    def end(self, connection: Connection) -> None:
        """Put everything back as it was."""
        connection._execution_options = self.options  # noqa: SLF001 - execution_options() only adds
        if connection.closed or connection.invalidated or self._transaction is not connection.get_transaction():
            return
        if self._transaction is not None:
            framed(connection).frame = self._frame
            # A transaction that has failed can only be rolled back, which puts the path back.
            with suppress(DBAPIError):
                connection.exec_driver_sql(self._set_path(), execution_options={INTERNAL: True})

    def _set_path(self) -> str:
        return f"SELECT pg_catalog.set_config('search_path', {quote_literal(self._path)}, true)"


_loans: WeakKeyDictionary[Connection, _Loan] = WeakKeyDictionary()
