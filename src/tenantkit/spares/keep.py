"""Spares are made, checked and removed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.arguments import require, whole
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.drift.catalog.reader import hash_of
from tenantkit.drift.reference import Form, build_references
from tenantkit.exceptions import ConfigurationError, ProvisioningError, TenantNotFoundError
from tenantkit.lifecycle.builders import CheckedBuilder
from tenantkit.lifecycle.create import FirstRows, create
from tenantkit.lifecycle.doctor import remove_abandoned
from tenantkit.lifecycle.drop import drop
from tenantkit.lifecycle.operation import UNFINISHED
from tenantkit.lifecycle.order import Order
from tenantkit.migrations.planning.version_tables import read_heads
from tenantkit.migrations.replay.creation import ScriptBuilder
from tenantkit.naming import is_spare, new_spare_key
from tenantkit.postgres.advisory_locks import SPARES
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.retry import after_conflicts
from tenantkit.registry import spares, store
from tenantkit.status import Status
from tenantkit.tenant import MAIN_DATABASE, Isolation, Tenant

_log = logging.getLogger("tenantkit.spares")

_NAMED = (
    "a schema's name is text in what the revisions create, such as the body of a function, so a spare cannot be "
    "renamed. Write SQL functions with BEGIN ATOMIC, others with SET search_path FROM CURRENT, and names without a "
    "schema"
)
_OTHER = "it differs from what the revisions build; run 'tenantkit check'"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareReport:
    """The spares after a call of `keep_spares`."""

    ready: int
    """Number of spares that new tenants can claim now."""
    waiting: int
    """Number of spares that a migration is at work on, or that are at another revision until the next one."""
    made: int
    removed: Sequence[str]
    """The schemas of spares that were changed by hand, were made with other privileges, or were too many."""
    busy: bool = False
    """Whether another process keeps spares now, so that nothing was done."""


def keep_spares(tenancy: Deployment, keep: int) -> SpareReport:
    """Check all spares in the main database, and make or remove some, so that there are *keep*.

    A spare is compared with what the revisions build in an empty schema; one that was changed by hand is removed.

    :raises ConfigurationError: if the tenants have no revisions, or these do not always build the same.
    :raises ProvisioningError: if a spare cannot be made.
    """
    require(tenancy=(tenancy, TENANCY), keep=(keep, whole(0)))
    return Spares(tenancy).keep(keep)


class Spares:
    """The spares of a tenancy; it reads the revisions once."""

    def __init__(self, tenancy: Deployment) -> None:
        if tenancy.migrations is None:
            raise ConfigurationError("Spares need revisions: pass Tenancy(..., migrations='migrations').")
        self._tenancy = tenancy
        self._build = CheckedBuilder(tenancy, ScriptBuilder(tenancy))
        self._heads = tuple(sorted(self._build.heads))

    def keep(self, number: int, *, trusted_for: float = 0, until: Callable[[], bool] = lambda: False) -> SpareReport:
        """Do as `keep_spares`.

        :param trusted_for: the seconds for which a check holds.
        :param until: returns whether to stop before all are made.
        """
        with self._tenancy.engine.connect() as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            with _alone(connection) as is_alone:
                if not is_alone:
                    return SpareReport(ready=0, waiting=0, made=0, removed=(), busy=True)
                return self._keep(connection, number, trusted_for, until)

    def _keep(self, connection: Connection, number: int, trusted_for: float, until: Callable[[], bool]) -> SpareReport:
        wanted = self._contents
        self._remove_unfinished(connection)
        with connection.begin():
            there = store.find(connection, status=Status.SPARE)
            known = spares.read(connection, trusted_for)
            planned = spares.read_planned(connection)
        ready, waiting, removed = list[Tenant](), list[Tenant](), list[str]()
        for spare in there:
            with connection.begin():
                heads = read_heads(connection, spare.schema)
            contents, is_checked = known.get(spare.id, ("", False))
            why = None
            if spare.id in planned:
                waiting.append(spare)
            elif not contents.endswith(f" {self._build.privileges}"):
                why = "was made with other grant_to= or guard="
            elif tuple(sorted(heads)) != self._heads:
                waiting.append(spare)
            elif (is_checked and contents == wanted) or self._is_unchanged(connection, spare):
                ready.append(spare)
            else:
                why = "was changed by hand"
            if why is not None and self._drop(connection, spare):
                _log.warning("The spare %s %s, and is removed.", spare.schema, why)
                removed.append(spare.schema)
        while len(ready) + len(waiting) > number:
            spare = (waiting or ready).pop()
            if self._drop(connection, spare):
                removed.append(spare.schema)
        made = 0
        while len(ready) + len(waiting) + made < number and not until():
            self._make(connection)
            made += 1
        return SpareReport(ready=len(ready) + made, waiting=len(waiting), made=made, removed=tuple(removed))

    def _make(self, connection: Connection) -> None:
        order = Order(
            key=new_spare_key(),
            name="spare",
            application=self._tenancy.application,
            domains=(),
            attributes={},
            wanted=MAIN_DATABASE,
            isolation=Isolation.SCHEMA,
            row_value=None,
            policy=None,
            becomes=Status.SPARE,
        )
        try:
            create(self._tenancy, connection, order, build=self._build, rows=FirstRows(self._register))
        except ProvisioningError:
            self._remove_unfinished(connection)
            raise

    def _register(self, connection: Connection, spare: Tenant) -> None:
        """Compare a new spare with what the revisions build, before and after it is renamed, and let it be claimed.

        :raises ConfigurationError: if it differs.
        """
        if hash_of(connection, spare.schema) != self._expected:
            raise ConfigurationError(_OTHER)
        with connection.begin_nested() as savepoint:
            new = new_spare_key()
            spares.rename(connection, spare.schema, new)
            is_renamable = hash_of(connection, new) == self._expected
            savepoint.rollback()
        if not is_renamable:
            raise ConfigurationError(_NAMED)
        spares.put(connection, spare.id, self._contents)

    def _is_unchanged(self, connection: Connection, spare: Tenant) -> bool:
        """Return whether a spare at the newest revision is what the revisions build; record it if so."""

        def compare() -> bool:
            with connection.begin():
                limit_lock_waits(connection)
                if hash_of(connection, spare.schema) != self._expected:
                    return False
            with connection.begin(), suppress(TenantNotFoundError):  # claimed meanwhile
                if store.lock(connection, self._tenancy.isolations, spare.key).status is Status.SPARE:
                    spares.put(connection, spare.id, self._contents)
            return True

        unchanged: bool = after_conflicts()(compare)
        return unchanged

    def _drop(self, connection: Connection, spare: Tenant) -> bool:
        """Remove a spare; return False if it was claimed meanwhile."""
        try:
            drop(self._tenancy, connection, spare.key)
        except TenantNotFoundError:
            return False
        return True

    def _remove_unfinished(self, connection: Connection) -> None:
        with connection.begin():
            unfinished = [each.key for each in store.find(connection, status=[*UNFINISHED]) if is_spare(each.key)]
        for key in unfinished:
            with suppress(ProvisioningError, TenantNotFoundError):  # the doctor tells
                remove_abandoned(self._tenancy, connection, key)

    @cached_property
    def _expected(self) -> int:
        """The hash of the catalog that the revisions build in an empty schema by Alembic."""
        form = Form(self._heads, None)
        return build_references(self._tenancy, [form], models=False).at[form].hash

    @property
    def _contents(self) -> str:
        if (contents := self._build.spare_contents) is None:
            raise ConfigurationError(
                "Spares need revisions that always build the same. The log of tenantkit.migrations has the reason why "
                "these may not: an import that cannot be followed, the clock, chance or the environment of the process."
            )
        return contents


@contextmanager
def _alone(connection: Connection) -> Generator[bool]:
    """Hold the lock of those who keep spares during a block; yield whether it was free."""
    with connection.begin():
        locked: bool = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({SPARES})").scalar_one()
    try:
        yield locked
    finally:
        if locked:
            # If the connection is lost, so is the lock.
            with suppress(SQLAlchemyError):
                connection.rollback()
                with connection.begin():
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({SPARES})")
