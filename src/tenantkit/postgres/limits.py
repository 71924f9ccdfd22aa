"""Limits of statements: the time that they wait for locks, and their duration."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_literal

LOCK_TIMEOUT = "2s"
UNLIMITED = ("SET LOCAL statement_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0")
"""Statements for a transaction that may take its time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of statements, in PostgreSQL's notation: ``2s``, ``500ms``, ``0`` for no limit."""

    lock_timeout: str = LOCK_TIMEOUT
    """The limit of a wait for a lock: a statement that waits for a strong lock makes later statements wait too."""
    statement_timeout: str | None = None
    """The limit of the duration of a statement; the server's own setting by default."""

    @property
    def sql(self) -> str:
        """The statements that set the limits for the rest of a transaction."""
        return "".join(f"{statement};\n" for statement in self._statements)

    @property
    def _statements(self) -> list[str]:
        return [f"SET LOCAL {name} = {quote_literal(value)}" for name, value in self._settings.items()]

    @property
    def _settings(self) -> dict[str, str]:
        settings = {"lock_timeout": self.lock_timeout}
        return settings if self.statement_timeout is None else {**settings, "statement_timeout": self.statement_timeout}

    def apply(self, connection: Connection) -> None:
        """Set the limits for the rest of this transaction."""
        for statement in self._statements:  # one by one, as the driver may prepare them
            connection.exec_driver_sql(statement.replace("%", "%%"))

    @contextmanager
    def applied(self, connection: Connection) -> Generator[None]:
        """Set the limits during a block whose statements are transactions of their own."""
        for name, value in self._settings.items():
            connection.exec_driver_sql(f"SET {name} = {quote_literal(value)}".replace("%", "%%"))
        try:
            yield
        finally:
            # A lost connection loses its settings.
            with suppress(SQLAlchemyError):
                for name in self._settings:
                    connection.exec_driver_sql(f"RESET {name}")

    def require_sense(self, connection: Connection) -> None:
        """Raise unless PostgreSQL accepts the limits.

        :raises ConfigurationError: if it does not.
        """
        for name, value in (("lock_timeout", self.lock_timeout), ("statement_timeout", self.statement_timeout or "0")):
            try:
                connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value})
            except DBAPIError as error:
                raise ConfigurationError(
                    f"{name}={value!r} is no length of time that PostgreSQL knows. Give one such as 2s, 500ms or 1min."
                ) from error


POLITE = Limits()
LIMITS = "tenantkit_limits"
"""The execution option of a connection that holds its limits."""


def limit_lock_waits(connection: Connection) -> None:
    """Give up on a lock after `LOCK_TIMEOUT` for the rest of this transaction."""
    POLITE.apply(connection)


def unlimited(connection: Connection) -> tuple[str, ...]:
    """Return the statements for a transaction that may take its time, on the server of *connection*."""
    has_another_limit = (connection.dialect.server_version_info or ()) >= (17,)
    return (*UNLIMITED, "SET LOCAL transaction_timeout = 0") if has_another_limit else UNLIMITED


def limited(seconds: float | None) -> tuple[str, ...]:
    """Return the statements for a transaction whose statements, and waits for locks, have a limit; none without one."""
    if seconds is None:
        return ()
    milliseconds = max(1, int(seconds * 1000))
    return (f"SET LOCAL statement_timeout = {milliseconds}", f"SET LOCAL lock_timeout = {milliseconds}")
