"""Crash-safe operations on one tenant: named, repeatable steps, each in one transaction.

The tenant's status tells which operation is unfinished. Each step locks the tenant's row in the registry while it works
in the placement's database. That transaction commits first, or is the same one: the registry never tells of a
placement before it exists, nor of its removal before it is gone. If a process dies, the row is unlocked and the status
is unchanged; the next operation on the tenant, or ``doctor``, repeats the step, which continues with what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import Databases, joined
from tenantkit.databases.reach import unreachable
from tenantkit.exceptions import ProvisioningError, SchemaRenameError
from tenantkit.postgres.errors import OUT_OF_MEMORY, is_lock_conflict, reason, sqlstate
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.retry import after_conflicts
from tenantkit.postgres.rights import explaining_rights, lack_of_rights
from tenantkit.registry.directory import Directory
from tenantkit.status import Status
from tenantkit.tenant import Tenant

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The words of ``doctor`` for an operation that a process did not finish."""

    problem: str
    repair: str


BEING_CREATED = (Status.PROVISIONING, Status.FAILED)
"""The statuses of a tenant whose creation has not finished."""

UNFINISHED: Mapping[str, Unfinished] = {
    **dict.fromkeys(
        BEING_CREATED, Unfinished("its creation never finished", "remove it, so that the key is free again")
    ),
    Status.DROPPING: Unfinished("its removal never finished", "finish the removal"),
}
"""The unfinished operation that each status means while no process works on the tenant. The repair is a removal."""


@dataclass(slots=True)
class Operation:
    """An operation on one tenant. *connection* is to the main database, and has no transaction between steps."""

    databases: Databases
    connection: Connection
    step: str
    """The name of the current step, for errors."""

    def run(self, database: str, work: Callable[[Connection], T]) -> T:
        """Return the result of *work*, which is one step and is repeated after a lock conflict.

        *work* receives a connection to *database*. It first locks the tenant's row by `connection`.
        """
        result: T = after_conflicts()(self._run, database, work)
        return result

    def _run(self, database: str, work: Callable[[Connection], T]) -> T:
        with self.connection.begin():
            limit_lock_waits(self.connection)
            with joined(self.databases, database, self.connection) as there:
                return work(there)


@contextmanager
def operating(directory: Directory) -> Generator[Connection]:
    """Connect with READ COMMITTED, for work that locks rows and then reads other transactions' changes."""
    with explaining_rights(directory.engine.url), directory.engine.connect() as connection:
        yield connection.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def explained(directory: Directory, tenant: Tenant, step: str) -> Generator[None]:
    """Turn errors of the database in a block that works on *tenant* into `ProvisioningError`."""
    try:
        yield
    except SchemaRenameError as error:
        raise ProvisioningError(tenant.key, step, error.reason) from error
    except DBAPIError as error:
        away = unreachable(tenant.placement.database, error)
        why = away or lack_of_rights(error, directory.databases.engine(tenant.placement.database).url) or reason(error)
        if is_lock_conflict(error) and sqlstate(error) != OUT_OF_MEMORY:
            why += "; an open, or a prepared, transaction has locked rows of the tenant"
        raise ProvisioningError(tenant.key, step, why) from error
