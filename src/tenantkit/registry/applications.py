"""The application that a registry belongs to: functions of a connection.

Two applications in one database would read, and drop, each other's tenants. So the registry keeps the options of the
application that created its first tenant, and every tenancy compares them with its own before it uses a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Executable, event, select, update
from sqlalchemy.pool import ConnectionPoolEntry
from typing_extensions import override

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_literal
from tenantkit.registry.identity import IDENTITY, require_row
from tenantkit.registry.tables import registry


@dataclass(frozen=True, slots=True)
class Application:
    """The identity of an application: its name if the registry has one, otherwise its options."""

    application: str | None
    schema_prefix: str
    placeholder: str | None

    def is_same(self, other: Application) -> bool:
        """Return whether *other*, which the registry has kept, is this application."""
        if other.application is not None:
            return other.application == self.application
        return other.schema_prefix == self.schema_prefix and other.placeholder == self.placeholder

    @override
    def __str__(self) -> str:
        name = "" if self.application is None else f"application={self.application!r}, "
        return f"{name}schema_prefix={self.schema_prefix!r}, placeholder={self.placeholder!r}"


def claim(connection: Connection, application: Application) -> None:
    """Record that the registry belongs to *application*, in the caller's transaction.

    :raises ConfigurationError: if it belongs to another one.
    """
    if not is_claimed(connection, application):
        _require_own(connection, _owner.with_for_update(), application)
        connection.execute(update(registry).values(asdict(application)))


def is_claimed(connection: Connection, application: Application) -> bool:
    """Return whether the registry has *application* as its own, with these options; raises as `claim` does."""
    return _require_own(connection, _owner, application) == application


def check_once(engine: Engine, application: Application, learn: Callable[[str], object]) -> None:
    """Make connections of *engine* check that the registry belongs to *application*, until one check has succeeded.

    They raise `ConfigurationError` if it belongs to another one.

    :param learn: receives the registry's identity.
    """
    passed = False

    def check(connection: Any, _entry: ConnectionPoolEntry, _fairy: object) -> None:
        nonlocal passed
        if passed:
            return
        cursor = connection.cursor()
        try:
            cursor.execute("SELECT to_regclass('tenantkit.registry') IS NOT NULL")
            if cursor.fetchone()[0]:
                cursor.execute(_FACTS)
                *options, own_identity = require_row(cursor.fetchone())
                passed = _require_same(options, application) is not None
                learn(own_identity)
        finally:
            cursor.close()
            connection.rollback()

    event.listen(engine, "checkout", check)


_FACTS = f"SELECT application, schema_prefix, placeholder, {IDENTITY} FROM tenantkit.registry"  # noqa: S608 - of constants
_owner = select(registry.c.application, registry.c.schema_prefix, registry.c.placeholder)


def _require_own(connection: Connection, query: Executable, application: Application) -> Application | None:
    """Return the application in the registry, or ``None`` if it belongs to none yet.

    :raises ConfigurationError: if it belongs to another one than *application*.
    """
    return _require_same(connection.execute(query).one_or_none(), application)


def _require_same(row: Sequence[str | None] | None, application: Application) -> Application | None:
    name, schema_prefix, placeholder = require_row(row)
    if schema_prefix is None:
        return None
    owner = Application(name, schema_prefix, placeholder)
    if application.is_same(owner):
        return owner
    values = ", ".join(
        f"{name} = {'NULL' if value is None else quote_literal(value)}" for name, value in asdict(application).items()
    )
    hand_over = f"UPDATE tenantkit.registry SET {values}"  # noqa: S608 - quoted, and not sent
    raise ConfigurationError(
        f"The registry in this database belongs to another application, with {owner}; this one has {application}. "
        f"Give each application a database of its own. If it is the same one under other options, run: {hand_over}"
    )
