"""Operations on one tenant that survive a crash: named steps that may be done again, each in one transaction.

The tenant's status says which operation is unfinished. Each step locks the tenant's row in the registry for as long as
it is at work in the placement's database. That transaction commits first, or is the same one: the registry never says
that something is there, or gone, before it is. A process that dies leaves the row unlocked and the status as it was;
the next operation on the tenant, or ``doctor``, does the step again, which takes what it finds for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from tenantkit.databases.base import Databases, joined
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.retry import after_conflicts
from tenantkit.status import Status

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An operation that a process did not finish, as ``doctor`` tells it."""

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
"""What a tenant's status says about it while no process is at work on the tenant. The repair of each is a removal."""


@dataclass(slots=True)
class Operation:
    """An operation on one tenant, by *connection* to the main database, which is in no transaction between steps."""

    databases: Databases
    connection: Connection
    step: str
    """The name of the step that the operation is at, for errors."""

    def run(self, database: str, work: Callable[[Connection], T]) -> T:
        """Return what *work* does in one step, which is done again after a lock conflict.

        *work* is given a connection to *database*, and begins by locking the tenant's row by `connection`.
        """
        result: T = after_conflicts()(self._run, database, work)
        return result

    def _run(self, database: str, work: Callable[[Connection], T]) -> T:
        with self.connection.begin():
            limit_lock_waits(self.connection)
            with joined(self.databases, database, self.connection) as there:
                return work(there)
