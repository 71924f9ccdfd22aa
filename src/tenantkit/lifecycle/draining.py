"""The second phase of a suspension: transactions in flight finish, or are cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep

from sqlalchemy import Connection

from tenantkit.arguments import number, require
from tenantkit.databases.base import connected
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError, DrainError
from tenantkit.isolation.binding import Binding
from tenantkit.lifecycle import in_flight
from tenantkit.lifecycle.in_flight import InFlight
from tenantkit.registry import store
from tenantkit.status import COMPLETE, Status
from tenantkit.tenant import KEY, Tenant

_INTERVAL = 0.1
"""Seconds between two looks at the transactions."""
_NOTIFIED = 0.5
"""Seconds within which other processes are notified of a tenant's status."""
_PATIENCE = 5.0
"""Seconds to wait for the end of transactions that were cut off."""


@dataclass(frozen=True, slots=True)
class Drained:
    """The result of `drain`: none of the tenant's transactions is in flight any more."""

    tenant: Tenant
    waited_for: int
    """The number of transactions that were in flight."""
    ended: tuple[int, ...]
    """The process ids of those that were cut off, by closing their connections."""


def drain(tenancy: Deployment, key: str, seconds: float) -> Drained:
    """Wait until no transaction of a tenant is in flight, and after *seconds* cut off those that are.

    The tenant is suspended, read-only or in maintenance already. If it is read-only, these are the transactions that
    may still write. Migrations and backups of the tenant go on, and so does everything that works on tables of other
    tenants, too. Tables that are common to several tenants do not show whose a transaction is: then all of them are
    waited for that have begun before, and none is cut off.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises ConfigurationError: if it is active, or is being created or removed.
    :raises DrainError: if transactions are still in flight that could not be cut off. The tenant keeps its status.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY), seconds=(seconds, number(0)))
    # Without a listener, a process asks again when what it knows is too old.
    hears_within = _NOTIFIED if tenancy.lookups.listener is not None else tenancy.cache.ttl
    with tenancy.engine.connect() as main:
        main.execution_options(isolation_level="AUTOCOMMIT")
        tenant = store.get(main, key)
        isolation = tenancy.isolations.of(tenant)
        if tenant.status is Status.ACTIVE or tenant.status not in COMPLETE:
            raise ConfigurationError(
                f"Tenant {key!r} is {tenant.status}, so transactions may begin, or there are none. Suspend it first."
            )
        database = tenant.placement.database
        with connected(tenancy.databases, database, main, isolation_level="AUTOCOMMIT") as connection:
            work = _Drain(main, connection, isolation.bind(tenant), seconds, min(hears_within, seconds))
            work.run()
    return Drained(tenant, len(work.known), tuple(work.ended))


@dataclass(slots=True)
class _Drain:
    main: Connection
    connection: Connection
    """The connection to the tenant's database."""
    binding: Binding
    seconds: float
    hears_within: float
    """The seconds after which every process knows the tenant's status."""
    known: set[InFlight] = field(default_factory=set[InFlight])
    ended: list[int] = field(default_factory=list[int])
    begun: float = field(default_factory=monotonic)
    has_looked: bool = False

    def run(self) -> None:
        while self._pending() or not self._has_passed(self.hears_within):
            if self._has_passed(self.seconds):
                break
            sleep(_INTERVAL)
        if pending := self._pending():
            self._cut_off(pending)

    def _has_passed(self, seconds: float) -> bool:
        return monotonic() - self.begun >= seconds

    def _pending(self) -> Sequence[InFlight]:
        """Return the transactions to wait for; they are known then."""
        found = in_flight.find(self.connection, self.binding)
        # By their names, as a transaction may write, and touch other schemas, later.
        names = {each.name for each in self.known}
        if self.has_looked and self._has_passed(self.hears_within):
            found = [each for each in found if each.name in names or self._is_unheard(each)]
        self.has_looked = True
        self.known.update(each for each in found if each.name not in names)
        return found

    def _is_unheard(self, transaction: InFlight) -> bool:
        """Return whether a transaction that was not known begins in a process that does not know the status yet."""
        if self.binding.column is not None:
            return False  # it may be another tenant's
        return transaction.writes or self.binding.tenant.status is not Status.READ_ONLY

    def _cut_off(self, pending: Sequence[InFlight]) -> None:
        """Close the connections of transactions until there are none.

        :raises DrainError: if some stay.
        """
        until = monotonic() + _PATIENCE
        while pending:
            refused = self._end(pending)
            if all(each.name in refused for each in pending) or monotonic() >= until:
                raise self._error(pending, refused)
            sleep(_INTERVAL)
            pending = self._pending()

    def _end(self, pending: Sequence[InFlight]) -> dict[str, str]:
        """Close the connections of transactions, and return the reasons why not those of others, by their names."""
        refused: dict[str, str] = {}
        others = {schema for each in pending for schema in each.others}
        of_others = in_flight.schemas_of_others(self.main, self.binding.tenant, others)
        for each in pending:
            reason = self._reason_to_spare(each, of_others)
            if reason is None and each.pid is not None and not in_flight.end(self.connection, each):
                reason = f"process {each.pid}, which this login may not end: GRANT pg_signal_backend TO it"
            if reason is not None:
                refused[each.name] = reason
            elif each.pid is not None and each.pid not in self.ended:
                self.ended.append(each.pid)
        return refused

    def _reason_to_spare(self, transaction: InFlight, of_others: frozenset[str]) -> str | None:
        """Return why a transaction may not be cut off, as it is not the tenant's alone; ``None`` if it may."""
        if transaction.pid is None:
            return "a prepared one waits for COMMIT PREPARED or ROLLBACK PREPARED: pg_prepared_xacts names it"
        if self.binding.column is not None:
            return f"process {transaction.pid}, which may work for another tenant in the common tables"
        if transaction.others & of_others:
            return f"process {transaction.pid}, which works on tables of other tenants, too"
        return None

    def _error(self, pending: Sequence[InFlight], refused: Mapping[str, str]) -> DrainError:
        tenant = self.binding.tenant
        running = sorted(each.pid for each in pending if each.pid is not None)
        reasons = sorted({refused.get(each.name, "others were cut off, and have not ended yet") for each in pending})
        ended = [pid for pid in self.ended if pid not in running]
        return DrainError(tenant.key, tenant.status, running, reasons, ended)
