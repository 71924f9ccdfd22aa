"""Tenant creation.

A short transaction claims the key, and other processes see the claim at once.
A second transaction does the rest (schema, tables, seed, activation), so a
process that dies leaves only a claim. That transaction locks the registry row;
a claim whose row is not locked is abandoned, and the next ``create`` of the key
takes it over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tenantkit.databases.base import connected, outside_transactions
from tenantkit.databases.reach import unreachable
from tenantkit.exceptions import ProvisioningError, TenantExistsError
from tenantkit.isolation.base import TenantDatabases, administered_from
from tenantkit.lifecycle.builders import Attempt, CheckedBuilder
from tenantkit.lifecycle.claim import SpareRefusedError, claim_spare
from tenantkit.lifecycle.key import CLAIMING, claim_key, lock_row
from tenantkit.lifecycle.operation import Operation
from tenantkit.lifecycle.order import Order
from tenantkit.lifecycle.tenant_lock import tenant_lock
from tenantkit.postgres.errors import is_lock_conflict, reason, sqlstate
from tenantkit.postgres.rights import lack_of_rights
from tenantkit.registry import history, other_databases, spares, statuses, store
from tenantkit.registry.directory import Directory
from tenantkit.registry.history import Event
from tenantkit.registry.tables import tenants
from tenantkit.status import Status
from tenantkit.tenant import Tenant
from tenantkit.user_code import with_place

_log = logging.getLogger("tenantkit.lifecycle")

_BUILDING = "creating the tables"
_NEW_ENUM_VALUE = "55P04"
"""The SQLSTATE unsafe_new_enum_value_usage: before PostgreSQL 17, a value that ALTER TYPE adds cannot be used until it
is committed."""


@dataclass(frozen=True, slots=True)
class FirstRows:
    """The first rows of a new tenant."""

    write: Callable[[Connection, Tenant], None]
    """Writes them in the transaction that creates the tables and activates the tenant."""
    write_in_steps: Callable[[Connection, Tenant], None] | None = None
    """Called in place of `write`, outside of a transaction, where one transaction is not possible."""
    takes_steps: bool = False
    """Whether the tenant is created in several transactions at any rate."""
    around: Callable[[Connection, Tenant], AbstractContextManager[object]] | None = None
    """Entered before the transaction of `write`, whose rows it prepares in others. No other process creates the tenant
    meanwhile."""
    step: str = "seeding"
    """The name of the step, for errors."""
    at_end: Callable[[Tenant], object] | None = None
    """Called with the complete tenant in the transaction of the registry that makes it so."""


def create(
    directory: Directory,
    connection: Connection,
    order: Order,
    *,
    build: CheckedBuilder,
    rows: FirstRows | None = None,
) -> Tenant:
    """Create a tenant, or finish one whose creation failed or died; return it.

    A spare becomes the tenant if there is one; any reason against that is left to the creation from nothing.

    Needs a connection to the main database without a transaction: it commits twice, or once with a spare.

    :raises TenantExistsError: if the key is taken, or being provisioned by another process.
    :raises DomainExistsError: if a domain is taken.
    :raises ProvisioningError: if a step failed. The tenant is then `Status.FAILED`, and the next call starts afresh.
    """
    claim = uuid4().hex
    begun = partial(claim_key, directory, connection, order, claim)
    try:
        tenant, is_spare = begun(
            lambda: claim_spare(directory, connection, order, build, claim=None if rows is None else claim)
        )
    except SpareRefusedError:
        tenant, is_spare = begun(lambda: None)
    if is_spare and rows is None:
        with connection.begin():
            spares.notify(connection, order.key)
        return tenant
    return _Creation(directory, connection, tenant, claim, build, rows, order).run(is_built=is_spare)


class _Creation:
    """The creation after the claim: usually one step, in one transaction."""

    def __init__(
        self,
        directory: Directory,
        connection: Connection,
        tenant: Tenant,
        claim: str,
        build: CheckedBuilder,
        rows: FirstRows | None,
        order: Order,
    ) -> None:
        self._directory = directory
        self._connection = connection
        self._tenant = tenant
        self._claim = claim
        self._build = build
        self._rows = rows
        self._order = order
        self._isolation = directory.isolations.of(tenant)
        [self._target] = self._isolation.targets([tenant])
        self._operation = Operation(directory.databases, connection, CLAIMING)
        self._attempt: Attempt | None = None

    def run(self, *, is_built: bool = False) -> Tenant:
        """Return the tenant, active; if it *is_built* already, only its first rows are missing.

        :raises ProvisioningError: if a step failed.
        """
        database = self._tenant.placement.database
        try:
            if is_built:
                return self._operation.run(database, self._finish)
            if (maker := self._isolation.databases) is None:
                return self._fill(database)
            with tenant_lock(self._connection, self._tenant.id):
                self._make_database(maker)
                return self._fill(database)
        except (Exception, KeyboardInterrupt) as error:
            step = self._operation.step
            if step == CLAIMING and isinstance(error, TenantExistsError):
                raise
            _mark_failed(self._connection, self._tenant, self._claim, f"{step}: {type(error).__name__}")
            if isinstance(error, KeyboardInterrupt):
                raise
            raise ProvisioningError(self._tenant.key, step, self._explain(database, error)) from error

    def _make_database(self, maker: TenantDatabases) -> None:
        """Make the tenant's database, with what each database but the main one has of tenantkit's."""
        databases, tenant = self._directory.databases, self._tenant
        with self._connection.begin():
            self._require_claim()
        self._operation.step = "creating the database"
        name = administered_from(self._isolation, tenant.placement)
        databases.engine(tenant.placement.database).dispose()  # of an earlier try, and dropped with it
        with outside_transactions(databases, name, self._connection) as there:
            maker.create(there, tenant, self._build.contents, partial(self._fill_template, maker))
        self._operation.run(tenant.placement.database, self._install)

    def _fill_template(self, maker: TenantDatabases, model: Tenant) -> bool:
        """Make the contents of a template; return whether it can be used."""
        engine = self._directory.databases.engine(model.placement.database)
        [target] = self._isolation.targets([model])
        try:
            with engine.begin() as there:
                other_databases.install(there, model.placement.database, model.registry)
                other_databases.remove_mark(there)
                self._isolation.create(there, model)
                self._build(there, target)
                return maker.is_template(there)
        finally:
            engine.dispose()

    def _install(self, there: Connection) -> None:
        self._require_claim()
        other_databases.install(there, self._tenant.placement.database, self._tenant.registry)

    def _fill(self, database: str) -> Tenant:
        """Make the tenant's placement in its database, in one transaction where PostgreSQL permits that."""
        if self._rows is not None and self._rows.takes_steps:
            return self._create_in_steps(database)
        if self._rows is not None and self._rows.around is not None:
            return self._create_within(database, self._rows)
        try:
            tenant = self._operation.run(database, partial(self._create, attempts=True))
        except Exception as error:
            was_attempt = self._attempt is not None and self._operation.step == _BUILDING
            if sqlstate(error) != _NEW_ENUM_VALUE and (not was_attempt or is_lock_conflict(error)):
                raise
            failure = error
        else:
            self._keep(None)
            return tenant
        self._connection.rollback()  # of what follows a commit() by a revision
        if self._attempt is None:
            return self._create_in_steps(database)
        _log.warning("A tenant's tables were not built by a script: %s", reason(failure))
        tenant = self._fill_without_attempt(database)
        self._keep(failure)
        return tenant

    def _create_within(self, database: str, rows: FirstRows) -> Tenant:
        assert rows.around is not None  # noqa: S101 - the caller has asked
        with tenant_lock(self._connection, self._tenant.id):
            with self._connection.begin():
                self._require_claim()
            self._operation.step = rows.step
            with (
                connected(self._directory.databases, database, self._connection) as there,
                rows.around(there, self._tenant),
            ):
                return self._fill_without_attempt(database)

    def _fill_without_attempt(self, database: str) -> Tenant:
        try:
            return self._operation.run(database, self._create)
        except DBAPIError as error:
            if sqlstate(error) != _NEW_ENUM_VALUE:
                raise
            return self._create_in_steps(database)

    def _keep(self, error: Exception | None) -> None:
        """Let the attempt record what it has found; the tenant is complete without."""
        if self._attempt is not None:
            with suppress(SQLAlchemyError), self._connection.begin():
                self._attempt.keep(self._connection, error)

    def _create(self, there: Connection, *, attempts: bool = False) -> Tenant:
        self._attempt = None
        if self._make_placement(there):
            if attempts:
                self._attempt = self._build.attempt(self._connection, there, self._target)
            (self._attempt or self._build)(there, self._target)
        else:
            self._build.require_current(there, self._target)
        return self._complete(there)

    def _create_in_steps(self, database: str) -> Tenant:
        """Create the tenant in several transactions, where PostgreSQL does not permit a single one.

        If the process is killed in between, the next creation or a repair removes the placement, by the tenant's mark.
        """
        with tenant_lock(self._connection, self._tenant.id):
            is_empty = self._operation.run(database, self._make_placement)
            with connected(self._directory.databases, database, self._connection) as there:
                if is_empty:
                    self._build.in_steps(there, self._target)
                if (rows := self._rows) is not None and rows.write_in_steps is not None:
                    self._operation.step = rows.step
                    rows.write_in_steps(there, self._tenant)
            return self._operation.run(database, self._finish)

    def _make_placement(self, there: Connection) -> bool:
        self._require_claim()
        self._operation.step = "creating the schema"
        is_empty = self._isolation.create(there, self._tenant)
        self._operation.step = _BUILDING
        return is_empty

    def _finish(self, there: Connection) -> Tenant:
        self._require_claim()
        has_rows = self._rows is not None and self._rows.write_in_steps is not None
        return self._activate() if has_rows else self._complete(there)

    def _complete(self, there: Connection) -> Tenant:
        self._isolation.fill(there, self._tenant)
        if self._rows is not None:
            self._operation.step = self._rows.step
            self._rows.write(there, self._tenant)
        return self._activate()

    def _activate(self) -> Tenant:
        self._operation.step = "activating"
        tenant = statuses.complete(self._connection, self._tenant, self._order.becomes)
        if self._rows is not None and self._rows.at_end is not None:
            self._rows.at_end(tenant)
        if self._order.origin is not None:
            self._record_origin(tenant, *self._order.origin)
        return tenant

    def _record_origin(self, tenant: Tenant, event: Event, details: Mapping[str, Any]) -> None:
        """Write the origin of the rows into the history, where the login may: a creation needs no privilege there."""
        try:
            with self._connection.begin_nested():
                history.record(self._connection, tenant, event, details)
        except DBAPIError as error:
            if lack_of_rights(error, self._connection.engine.url) is None:
                raise
            _log.warning("The origin of tenant %r is not in its history: %s", tenant.key, reason(error))

    def _require_claim(self) -> None:
        if lock_row(self._connection, self._tenant.key, claim=self._claim) != Status.PROVISIONING:
            raise TenantExistsError(self._tenant.key)
        self._tenant = store.get(self._connection, self._tenant.key)  # it may have been updated after the claim

    def _explain(self, database: str, error: Exception) -> str:
        databases = self._directory.databases
        with suppress(SQLAlchemyError), connected(databases, database, self._connection) as there, there.begin():
            why = lack_of_rights(error, there.engine.url) or self._build.explain(there, error) or reason(error)
            return with_place(why, error)
        return unreachable(database, error) or with_place(reason(error), error)


def _mark_failed(connection: Connection, tenant: Tenant, claim: str, error: str) -> None:
    # If this fails too, the claim stays. It counts as abandoned, because nothing locks its row.
    with suppress(SQLAlchemyError), connection.begin():
        connection.execute(
            tenants.update()
            .where(tenants.c.id == tenant.id, tenants.c.claim == claim)
            .values(status=Status.FAILED, error=error)
        )
