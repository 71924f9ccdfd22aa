"""Transactions of sessions: the tenant's search_path is set from the first statement of each to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from weakref import ReferenceType, WeakKeyDictionary, finalize, ref

from sqlalchemy import event, func, select
from sqlalchemy.exc import DBAPIError

from tenantkit.drivers import framed
from tenantkit.drivers.frame import Frame
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.binding import BINDING
from tenantkit.sessions.crossing import CROSSING, Crossing
from tenantkit.sessions.row_criterion import row_dialect
from tenantkit.sessions.row_login import require_row_login

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Engine, Transaction
    from sqlalchemy.engine import RootTransaction
    from sqlalchemy.orm import Session, SessionTransaction

    from tenantkit.isolation.binding import Binding
    from tenantkit.tenant import Tenant

READ_ONLY = ("SET TRANSACTION READ ONLY", "SELECT 1")
"""The statements that begin a transaction that only reads. After a query, it cannot become one that writes."""

INTERNAL = "tenantkit_internal"
"""The execution option of statements that tenantkit sends itself."""

SHARED = "tenantkit_shared"
"""The execution option of sessions for shared tables."""


class Transactions:
    """The work of one session at the beginning and the end of its use of a connection."""

    def __init__(self, session: Session, bind: Engine | Connection | None, options: Mapping[str, Any]) -> None:
        """Prepare for *session* on *bind*, whose execution *options* may have the binding of a tenant."""
        binding: Binding | None = options.get(BINDING)
        self._session = ref(session)
        self.bind = bind
        """What the session was made with; the application may set another `Session.bind`."""
        self._engine = bind.engine if bind is not None else None
        self._options = options
        self._binding = binding
        self._head = binding.head if binding else ()
        self._crossing: Crossing | None = options.get(CROSSING)
        self._mark = binding.mark if binding else ""
        self._common_schema = binding.tenant.schema if binding and binding.column else None
        self.read_only: Tenant | None = None
        """The tenant, if the next transactions only read."""
        self.callers: WeakKeyDictionary[Connection, Any] | None = None
        """Connections of the caller, with their original options: SQLAlchemy 2.1 adds the session's."""

    def require_own_engine(self, bind: Engine | Connection) -> None:
        """Raise unless *bind* is the engine that the session was made with, or a connection of it.

        :raises ConfigurationError: if it is another one, in whose database the tenant's schema may be another tenant's.
        """
        if self._engine is not None and bind.engine.pool is not self._engine.pool:
            raise ConfigurationError(
                "A session works on its tenancy's engine only: leave out bind= of bind_arguments, bind_mapper() and "
                "bind_table(), and do not set session.bind."
            )

    def resume(self, connection: Connection) -> None:
        """Continue on a connection of the caller, which other sessions may use; called before each statement."""
        if self.callers is None:
            self.callers = WeakKeyDictionary()
            # Of this session alone: a listener of the class would be called in all sessions.
            event.listen(self._session(), "after_transaction_end", _end_transaction)
        shared = _shared_connections.get(connection)
        if shared is not None and self in shared.sessions:
            shared.enter(connection, self)
        elif connection not in self.callers:
            options = connection.get_execution_options() if shared is None else shared.options
            if BINDING in options or SHARED in options:
                raise ConfigurationError(
                    "bind= is a connection of another tenantkit session, which would go on with this session's tenant. "
                    "Pass a connection that you have opened by engine.connect()."
                )
            self.callers[connection] = options

    def begin(self, transaction: SessionTransaction, connection: Connection) -> None:
        """Take the transaction that has just begun on *connection*, as a part of the session's own *transaction*.

        This does no I/O, unless the connection is the caller's: the driver sends BEGIN with the first statement, and
        the path with it.

        :raises ConfigurationError: if the connection commits by itself, or is another engine's.
        """
        try:
            self._begin(connection)
        except ConfigurationError:
            _remove(transaction, connection)
            self.end()
            raise

    def _begin(self, connection: Connection) -> None:
        # Again, as a subclass may have a get_bind() of its own.
        if connection.engine is not self._engine and not self._is_away(connection):
            self.require_own_engine(connection)
        pooled: Any = connection.connection.dbapi_connection
        driver = framed(connection)
        if pooled.autocommit:
            raise driver.refuse_autocommit()
        if self.callers and connection in self.callers:
            if self._common_schema is not None:
                require_row_login(connection, self._common_schema, may_own=True)
            shared = _shared_connections.get(connection)
            if shared is None:
                shared = _shared_connections[connection] = _SharedConnection(self.callers[connection])
            shared.begin(connection, self)
            return
        transaction: Any = connection.get_transaction()
        if driver.frame is not None and driver.frame.transaction() is transaction:
            return  # a savepoint in a transaction that this session has begun
        if self._common_schema is not None:
            require_row_login(connection, self._common_schema, may_own=False)
            self._set_dialect(connection)
        driver.frame = self.frame(connection, transaction)
        if driver.in_transaction:  # one in two phases begins at once
            driver.needs_tail = True
            send_all(connection, driver.frame.head)

    def end(self) -> None:
        """Restore the caller's connections."""
        while self.callers:
            connection, options = self.callers.popitem()
            shared = _shared_connections.get(connection)
            if shared is None:
                restore_options(connection, options)
            elif self in shared.sessions:
                shared.sessions.remove(self)
                if not shared.sessions:
                    del _shared_connections[connection]
                    shared.end(connection)

    def frame(self, connection: Connection, transaction: RootTransaction) -> Frame:
        """Return the frame for the open *transaction* of *connection*."""
        # A tenant of another database has no schema in the main one.
        head = self._head if self._crossing is None or not self._is_away(connection) else ()
        if self.read_only is not None:
            head = (*READ_ONLY, *head)
        return Frame(ref(transaction), head, self._mark, self._binding, self.read_only)

    def has_path(self, connection: Connection) -> bool:
        """Return whether the statements at the beginning set the path and the settings of the session."""
        return bool(self._head) and not self._is_away(connection)

    def _is_away(self, connection: Connection) -> bool:
        """Return whether *connection* is to the main database, and the tenant's is another one."""
        return self._crossing is not None and self._crossing.is_main(connection)

    def apply_options(self, connection: Connection, before: Any) -> None:
        """Set the options of this session on *connection*."""
        connection._execution_options = before.union(self._options)  # noqa: SLF001 - execution_options() only adds
        self._set_dialect(connection)

    def _set_dialect(self, connection: Connection) -> None:
        """Make *connection* compile statements as the tenant's isolation needs them."""
        connection.dialect = row_dialect(connection, self._binding)

    def require_no_cursor(self, connection: Connection, transaction: RootTransaction) -> None:
        """Raise if *transaction* has a cursor from which the session would be given rows of another tenant.

        PostgreSQL applies policies while rows are fetched, so its further rows would be those of this tenant.

        :raises ConfigurationError: if it has one.
        """
        if self._common_schema is None or self._binding is None:
            return
        before = _row_tenants.get(transaction)
        if before not in {None, self._binding.owner} and send(connection, _HAS_CURSOR).scalar_one():
            raise ConfigurationError(
                "A session of another tenant has an open cursor on this connection, from which it would read rows of "
                f"{self._binding.owner[1]!r}. Read its result to the end or close it, and then make this session; or "
                "give the sessions a connection each."
            )
        _row_tenants[transaction] = self._binding.owner

    @property
    def settings(self) -> frozenset[str]:
        """The settings, besides the path, that the statements at the beginning set."""
        return frozenset(name for name, _ in self._binding.settings) if self._binding else frozenset()

    @property
    def is_flushing(self) -> bool:
        """Whether the session is flushing; no other session may send statements during a flush."""
        session = self._session()
        return session is not None and session._flushing  # noqa: SLF001 - there is no public way to know

    def watch(self, shared: _SharedConnection, connection: Connection) -> None:
        """Restore the options of *connection* if the session is collected as garbage before it was closed."""
        if (session := self._session()) is not None:
            finalize(session, shared.abandon, self, ref(connection)).atexit = False


class _SharedConnection:
    """A connection of the caller: the sessions that use it in turn, and its original path and options."""

    def __init__(self, options: Any) -> None:
        self.sessions: list[Transactions] = []
        self.options = options
        self._transaction: ReferenceType[Transaction] | None = None
        """The transaction in which the original path was read."""
        self._path = ""
        self._frame: Frame | None = None
        self._settings: frozenset[str] = frozenset()
        """The settings, besides the path, that the last session has set."""
        self._originals: dict[str, str] = {}
        """The original values of PostgreSQL's own settings that sessions have set."""

    def begin(self, connection: Connection, session: Transactions) -> None:
        """Enter the transaction, which the caller or another session may have begun."""
        transaction = cast("RootTransaction", connection.get_transaction())  # which the session has begun
        if session not in self.sessions:
            self.sessions.append(session)
            session.watch(self, connection)
        if self._transaction is None or self._transaction() is not transaction:
            driver = framed(connection)
            before, driver.frame = driver.open_frame, None
            # SHOW takes no snapshot: SET TRANSACTION may still follow.
            self._path = send(connection, "SHOW search_path").scalar_one()
            self._settings, self._originals = frozenset(), {}
            self._frame, self._transaction = before, ref(transaction)
        self.enter(connection, session)

    def enter(self, connection: Connection, session: Transactions) -> None:
        """Prepare the connection for the next statement of *session*.

        The path is set each time, because a session may roll back to an earlier savepoint by text.
        """
        if any(each.is_flushing for each in self.sessions if each is not session):
            raise ConfigurationError(
                "Another session on this connection is in the middle of a flush. Give the sessions a connection each."
            )
        transaction = cast("RootTransaction", connection.get_transaction()) if self._is_open(connection) else None
        if transaction is not None:
            session.require_no_cursor(connection, transaction)
        session.apply_options(connection, self.options)
        if transaction is not None:
            driver = framed(connection)
            driver.frame = session.frame(connection, transaction)
            driver.needs_tail = True
            self._leave_settings(connection, session.settings if session.has_path(connection) else frozenset())
            self._remember(connection, session.settings)
            if not session.has_path(connection):
                self._set_path(connection)
            send_all(connection, driver.frame.head)

    def end(self, connection: Connection) -> None:
        """Restore the original path and options."""
        restore_options(connection, self.options)
        if self._is_open(connection):
            framed(connection).frame = self._frame
            # A failed transaction can only be rolled back, which restores the path.
            with suppress(DBAPIError):
                self._set_path(connection)
                self._leave_settings(connection, frozenset())

    def abandon(self, session: Transactions, reference: ReferenceType[Connection]) -> None:
        """Remove a session that was not closed, without I/O, because any thread may run this."""
        connection = reference()
        if session in self.sessions:
            self.sessions.remove(session)
            if connection is not None and not self.sessions:
                _shared_connections.pop(connection, None)
                restore_options(connection, self.options)

    def _is_open(self, connection: Connection) -> bool:
        return (
            not connection.closed
            and not connection.invalidated
            and self._transaction is not None
            and (transaction := self._transaction()) is not None
            and transaction is connection.get_transaction()
        )

    def _set_path(self, connection: Connection) -> None:
        _set(connection, "search_path", self._path)

    def _leave_settings(self, connection: Connection, wanted: frozenset[str]) -> None:
        """Clear the settings of the session before, except the *wanted* ones, which are set next."""
        for name in sorted(self._settings - wanted):
            _set(connection, name, self._originals.get(name, ""))
        self._settings = wanted

    def _remember(self, connection: Connection, names: frozenset[str]) -> None:
        """Read the original values of settings, except those with two parts, which may have none."""
        for name in sorted(names - self._originals.keys()):
            if "." not in name:
                self._originals[name] = send(connection, f"SHOW {name}").scalar_one()


def _set(connection: Connection, name: str, value: str) -> None:
    statement = select(func.pg_catalog.set_config(name, value, True))  # noqa: FBT003
    connection.execute(statement, execution_options={INTERNAL: True})


def restore_options(connection: Connection, options: Any) -> None:
    """Set the original *options* and the original dialect on a connection of the caller."""
    connection._execution_options = options  # noqa: SLF001 - execution_options() only adds
    connection.dialect = connection.engine.dialect


def _remove(transaction: SessionTransaction, connection: Connection) -> None:
    """Remove a refused connection from a session's transaction, in which SQLAlchemy would use it for other statements.

    It is ended as `SessionTransaction.close` ends all of them.
    """
    connections = transaction._connections  # noqa: SLF001 - there is no public way to remove one
    _, begun, should_commit, autoclose = connections.pop(connection)
    connections.pop(connection.engine)
    if should_commit:
        begun.close()
    if autoclose and transaction.parent is None:
        connection.close()


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


# The statement itself may be a cursor without a name.
_HAS_CURSOR = "SELECT EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE name <> '')"
_row_tenants: WeakKeyDictionary[RootTransaction, tuple[str, str]] = WeakKeyDictionary()
"""The identity and the key of the tenant of the last session of row isolation in each transaction of a caller."""
_shared_connections: WeakKeyDictionary[Connection, _SharedConnection] = WeakKeyDictionary()
