"""Transactions of sessions: the tenant's search_path holds from the first statement of each to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from weakref import ReferenceType, WeakKeyDictionary, finalize, ref

from sqlalchemy import event, func, select
from sqlalchemy.exc import DBAPIError

from tenantkit.drivers import framed
from tenantkit.drivers.frame import Frame
from tenantkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Transaction
    from sqlalchemy.engine import RootTransaction
    from sqlalchemy.orm import Session, SessionTransaction

    from tenantkit.isolation.binding import Binding

INTERNAL = "tenantkit_internal"
"""The execution option of statements that tenantkit sends itself."""

SHARED = "tenantkit_shared"
"""The execution option of sessions for shared tables."""

BINDING = "tenantkit_binding"
"""The execution option of sessions for a tenant."""


class Transactions:
    """What one session does as it begins to work on a connection, and as it ends."""

    refusal: ConfigurationError | None = None
    """Why the session cannot work: SQLAlchemy keeps a connection although `begin` has refused it."""

    def __init__(self, session: Session, options: Mapping[str, Any]) -> None:
        """For *session*, whose execution *options* may have the binding of a tenant."""
        binding: Binding | None = options.get(BINDING)
        self._session = ref(session)
        self._options = options
        self._binding = binding
        self._head = binding.head if binding else ()
        self._mark = f"/* tenant {binding.tenant.id} */ " if binding else ""
        self._callers: WeakKeyDictionary[Connection, Any] | None = None
        """Connections of the caller's, with the options that they had before: SQLAlchemy 2.1 adds the session's."""

    def resume(self, connection: Connection) -> None:
        """Go on with a connection of the caller's, which other sessions may use; called before each statement."""
        if self._callers is None:
            self._callers = WeakKeyDictionary()
            # Of this session alone: a listener of the class would be called in all sessions.
            event.listen(self._session(), "after_transaction_end", _end_transaction)
        loan = _loans.get(connection)
        if loan is not None and self in loan.borrowers:
            loan.enter(connection, self)
        elif connection not in self._callers:
            options = connection.get_execution_options() if loan is None else loan.options
            if BINDING in options or SHARED in options:
                raise ConfigurationError(
                    "bind= is a connection of another tenantkit session, which would go on with this session's tenant. "
                    "Pass a connection that you have opened by engine.connect()."
                )
            self._callers[connection] = options

    def begin(self, connection: Connection) -> None:
        """Let the transaction that has just begun on *connection* be this session's.

        Without I/O, unless the connection is the caller's: the driver sends BEGIN with the first statement, and the
        path with it.

        :raises ConfigurationError: if the connection commits by itself, or is another engine's.
        """
        try:
            self._begin(connection)
        except ConfigurationError as refusal:
            self.refusal = refusal
            self.end()
            raise

    def _begin(self, connection: Connection) -> None:
        driver = framed(connection)
        if connection.dialect.detect_autocommit_setting(connection.connection.dbapi_connection):  # type: ignore[arg-type]
            raise ConfigurationError(
                "Sessions of tenantkit do not work with AUTOCOMMIT: a tenant's search_path lasts for one transaction. "
                "Leave out isolation_level='AUTOCOMMIT'."
            )
        if self._callers and connection in self._callers:
            loan = _loans.get(connection)
            if loan is None:
                loan = _loans[connection] = _Loan(self._callers[connection])
            loan.begin(connection, self)
            return
        transaction = connection.get_transaction()
        if driver.frame is not None and driver.frame.transaction() is transaction:
            return  # a savepoint in a transaction that this session has begun
        driver.frame = self.frame(connection)
        if driver.in_transaction:  # one in two phases begins at once
            driver.needs_tail = True
            send_all(connection, self._head)

    def end(self) -> None:
        """Give the caller's connections back as they were."""
        while self._callers:
            connection, options = self._callers.popitem()
            loan = _loans.get(connection)
            if loan is None:
                connection._execution_options = options  # noqa: SLF001 - execution_options() only adds
            elif self in loan.borrowers:
                loan.borrowers.remove(self)
                if not loan.borrowers:
                    del _loans[connection]
                    loan.end(connection)

    def frame(self, connection: Connection) -> Frame:
        """Return the frame for the open transaction of *connection*."""
        transaction: Any = connection.get_transaction()  # which the session has begun
        return Frame(ref(transaction), self._head, self._mark, self._binding)

    def apply_options(self, connection: Connection, before: Any) -> None:
        """Let statements on *connection* be this session's."""
        connection._execution_options = before.union(self._options)  # noqa: SLF001 - execution_options() only adds

    @property
    def head(self) -> tuple[str, ...]:
        """The statements that begin a transaction."""
        return self._head

    @property
    def is_flushing(self) -> bool:
        """Whether the session is in the middle of a flush, between whose statements no other session may come."""
        session = self._session()
        return session is not None and session._flushing  # noqa: SLF001 - there is no public way to know

    def watch(self, loan: _Loan, connection: Connection) -> None:
        """Give *connection* its options back if the session is collected as garbage before it was closed."""
        if (session := self._session()) is not None:
            finalize(session, loan.abandon, self, ref(connection)).atexit = False


class _Loan:
    """A connection of the caller's: the sessions that use it in turn, and what it was like before them."""

    def __init__(self, options: Any) -> None:
        self.borrowers: list[Transactions] = []
        self.options = options
        self._transaction: ReferenceType[Transaction] | None = None
        """The one in which the path was read that stood before."""
        self._path = ""
        self._frame: Frame | None = None

    def begin(self, connection: Connection, borrower: Transactions) -> None:
        """Enter the transaction, also one that the caller or another session has begun."""
        transaction = cast("RootTransaction", connection.get_transaction())  # which the session has begun
        if borrower not in self.borrowers:
            self.borrowers.append(borrower)
            borrower.watch(self, connection)
        if self._transaction is None or self._transaction() is not transaction:
            driver = framed(connection)
            before, driver.frame = driver.open_frame, None
            # SHOW takes no snapshot: SET TRANSACTION may still follow.
            self._path = send(connection, "SHOW search_path").scalar_one()
            self._frame, self._transaction = before, ref(transaction)
        self.enter(connection, borrower)

    def enter(self, connection: Connection, borrower: Transactions) -> None:
        """Let the next statement be that of *borrower*.

        The path is set again each time: in text, a session may roll back to a savepoint before it.
        """
        if any(each.is_flushing for each in self.borrowers if each is not borrower):
            raise ConfigurationError(
                "Another session on this connection is in the middle of a flush. Give the sessions a connection each."
            )
        borrower.apply_options(connection, self.options)
        if self._is_open(connection):
            driver = framed(connection)
            driver.frame = borrower.frame(connection)
            driver.needs_tail = True
            if borrower.head:
                send_all(connection, borrower.head)
            else:
                self._set_path(connection)

    def end(self, connection: Connection) -> None:
        """Put everything back as it was."""
        connection._execution_options = self.options  # noqa: SLF001 - execution_options() only adds
        if self._is_open(connection):
            framed(connection).frame = self._frame
            # A transaction that has failed can only be rolled back, which puts the path back.
            with suppress(DBAPIError):
                self._set_path(connection)

    def abandon(self, borrower: Transactions, reference: ReferenceType[Connection]) -> None:
        """Forget a session that was not closed; without I/O, as this may be any thread."""
        connection = reference()
        if borrower in self.borrowers:
            self.borrowers.remove(borrower)
            if connection is not None and not self.borrowers:
                _loans.pop(connection, None)
                connection._execution_options = self.options  # noqa: SLF001 - execution_options() only adds

    def _is_open(self, connection: Connection) -> bool:
        return (
            not connection.closed
            and not connection.invalidated
            and self._transaction is not None
            and (transaction := self._transaction()) is not None
            and transaction is connection.get_transaction()
        )

    def _set_path(self, connection: Connection) -> None:
        statement = select(func.pg_catalog.set_config("search_path", self._path, True))  # noqa: FBT003
        connection.execute(statement, execution_options={INTERNAL: True})


def _end_transaction(session: Any, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._transactions.end()  # noqa: SLF001 - its own listener


def send_all(connection: Connection, statements: Iterable[str]) -> None:
    """Execute statements of tenantkit's own; each alone, as asyncpg prepares them."""
    for statement in statements:
        send(connection, statement)


def send(connection: Connection, statement: str) -> Any:
    """Execute a statement of tenantkit's own."""
    if connection.dialect.paramstyle in {"format", "pyformat"}:
        statement = statement.replace("%", "%%")
    return connection.exec_driver_sql(statement, execution_options={INTERNAL: True})


_loans: WeakKeyDictionary[Connection, _Loan] = WeakKeyDictionary()
