"""Waiting politely for locks that other transactions hold."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from tenantkit.exceptions import ConfigurationError, TenantkitError
from tenantkit.naming import quote_literal
from tenantkit.user_code import describe, storable

LOCK_TIMEOUT = "2s"
ATTEMPTS = 8

_LOCK_OF = "hashtext('tenantkit provisioning'), (:id % 2147483647)::int"

CONFLICTS = frozenset({"40001", "40P01", "55P03"})
"""serialization_failure, deadlock_detected, lock_not_available (PostgreSQL, appendix A)."""


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a database error, whichever driver raised it."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None)


def is_lock_conflict(error: BaseException) -> bool:
    """Return whether the transaction failed only because of others, and may succeed if run again."""
    return sqlstate(error) in CONFLICTS


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a statement may take, as PostgreSQL takes it: ``2s``, ``500ms``, ``0`` for as long as it likes."""

    lock_timeout: str = LOCK_TIMEOUT
    """Of that, waiting for a lock: a statement that waits for a strong one makes everyone behind it wait too."""
    statement_timeout: str | None = None
    """In all; the server's own setting by default."""

    @property
    def sql(self) -> str:
        """The statements that set them for the rest of a transaction."""
        return "".join(f"SET LOCAL {name} = {quote_literal(value)};\n" for name, value in self._settings.items())

    @property
    def _settings(self) -> dict[str, str]:
        settings = {"lock_timeout": self.lock_timeout}
        return settings if self.statement_timeout is None else {**settings, "statement_timeout": self.statement_timeout}

    def apply(self, connection: Connection) -> None:
        """Set them for the rest of this transaction."""
        connection.exec_driver_sql(self.sql.replace("%", "%%"))

    @contextmanager
    def applied(self, connection: Connection) -> Generator[None]:
        """Set them for the duration of a block, whose statements are transactions of their own."""
        for name, value in self._settings.items():
            connection.exec_driver_sql(f"SET {name} = {quote_literal(value)}".replace("%", "%%"))
        try:
            yield
        finally:
            # If the connection is lost, so are they.
            with suppress(SQLAlchemyError):
                for name in self._settings:
                    connection.exec_driver_sql(f"RESET {name}")

    def require_sense(self, connection: Connection) -> None:
        """Raise unless PostgreSQL understands them.

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
"""The execution option by which what runs on a connection finds its limits."""


def limit_lock_waits(connection: Connection) -> None:
    """Give up on a lock after `LOCK_TIMEOUT` for the rest of this transaction."""
    POLITE.apply(connection)


@contextmanager
def attending(connection: Connection, tenant_id: int) -> Generator[None]:
    """Show other processes, while a block of several transactions runs, that this one is at work on a tenant."""
    with connection.begin():
        connection.execute(text(f"SELECT pg_advisory_lock({_LOCK_OF})"), {"id": tenant_id})
    try:
        yield
    finally:
        # If the connection is lost, so is the lock.
        with suppress(SQLAlchemyError), connection.begin():
            connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK_OF})"), {"id": tenant_id})


def is_unattended(connection: Connection, tenant_id: int) -> bool:
    """Return whether no other process is `attending` to a tenant, and keep it so until the transaction ends."""
    free = connection.execute(text(f"SELECT pg_try_advisory_xact_lock({_LOCK_OF})"), {"id": tenant_id})
    return bool(free.scalar_one())


def retrying() -> Retrying:
    """Return what runs a transaction again after a lock conflict, with growing, random pauses."""
    return Retrying(
        retry=retry_if_exception(is_lock_conflict),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )


def reason(error: BaseException) -> str:
    """Return why something failed, in one line."""
    if isinstance(error, TenantkitError):
        return storable(str(error))
    return describe((error.orig or error) if isinstance(error, DBAPIError) else error)
