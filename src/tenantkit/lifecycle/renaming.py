"""A new key for a tenant, and a new name for its schema.

The key is the registry's alone. A schema is renamed only where that is asked for: functions, prepared statements and
jobs may have its name. Where it is in another database than the registry, its transaction commits first. Until the
registry's does, sessions of the tenant fail, as no schema has the name that they know. If the process dies in between,
the same call again goes on, and ``doctor`` restores the former name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count

from sqlalchemy import Connection

from tenantkit.arguments import FLAG, require
from tenantkit.databases.base import joined
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import (
    ConfigurationError,
    InvalidTenantKeyError,
    ProvisioningError,
    TenantExistsError,
    TenantkitError,
    TenantNotFoundError,
)
from tenantkit.isolation.base import Isolation
from tenantkit.isolation.mentions import find_mentions
from tenantkit.isolation.relabel import obstacle_in
from tenantkit.lifecycle.operation import Operation, explained, operating
from tenantkit.naming import validate_key
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.registry import former, store
from tenantkit.registry.directory import Directory
from tenantkit.status import COMPLETE
from tenantkit.tenant import KEY, MAIN_DATABASE, NewTenant, Tenant

_STEP = "renaming"


@dataclass(frozen=True, slots=True)
class Renaming:
    """The result of a rename, or its plan."""

    tenant: Tenant
    """The tenant with its new key; in a plan, as it is."""
    key: str
    """Its new key."""
    schema: str
    """The name of its schema afterwards."""
    steps: tuple[str, ...]
    """Descriptions of what was, or would be, done; empty if it was done before."""
    obstacles: tuple[str, ...] = ()
    """In a plan, the errors that it would raise."""
    outdated: tuple[str, ...] = ()
    """Comments, and settings of roles, with the former name of the schema, which stay as they are."""


def rename(tenancy: Deployment, key: str, new: str, *, schema: bool = False, dry_run: bool = False) -> Renaming:
    """Give a tenant another key, while it is served; return what was done.

    The id, the domains, logins and sessions of the tenant stay. The former key finds no tenant; a new tenant with it
    gets a schema of another name. A rename that was interrupted is finished by the same call.

    :param schema: rename the schema, too. Transactions of the tenant that go on with the former name fail.
    :param dry_run: change nothing, and return the steps and the obstacles.
    :raises InvalidTenantKeyError: if the new key breaks the rules, or is the present one.
    :raises TenantNotFoundError: if there is no such tenant.
    :raises TenantExistsError: if another tenant has the new key.
    :raises TenantUnavailableError: if this version of tenantkit does not know its isolation or its database.
    :raises ConfigurationError: if *schema* is asked for, and the schema is not the tenant's alone.
    :raises ProvisioningError: if the tenant is unfinished, texts name its schema, or a migration is at work on it.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY), schema=(schema, FLAG), dry_run=(dry_run, FLAG))
    new = validate_key(new, reserved=tenancy.reserved_keys, prefix=tenancy.application.schema_prefix)
    with ExitStack() as stack:
        for each in {key, new}:
            stack.enter_context(tenancy.lookups.forgetting(each))
        connection = stack.enter_context(operating(tenancy))
        with connection.begin():
            if not store.has_key(connection, key) and (done := _find_done(connection, key, new)) is not None:
                return Renaming(done, new, done.schema, ())
            tenant = store.get(connection, key)
            tenancy.isolations.of(tenant)
        work = _Rename(tenancy, connection, key, new, follows=schema)
        # Only a schema that is renamed needs the tenant's database.
        database = tenant.placement.database if schema else MAIN_DATABASE
        with explained(tenancy, tenant, _STEP):
            return work.plan(database) if dry_run else work.run(database)


def restore_name(directory: Directory, connection: Connection, key: str) -> None:
    """Give the schema of a tenant the name that the registry has for it, which an interrupted rename has changed.

    :raises ProvisioningError: if that is not possible.
    """
    with connection.begin():
        if not store.has_key(connection, key):
            return
        tenant = store.get(connection, key)

    def work(there: Connection) -> None:
        now = store.lock(connection, directory.isolations, key)
        if now.id == tenant.id and now.status in COMPLETE:
            directory.isolations.of(now).rename(there, now, now.schema)

    with explained(directory, tenant, _STEP), suppress(TenantNotFoundError):  # renamed, or dropped, meanwhile
        Operation(directory.databases, connection, _STEP).run(tenant.placement.database, work)


def _find_done(connection: Connection, key: str, new: str) -> Tenant | None:
    """Return the tenant with the key *new* if *key* is a former one of its keys."""
    if not store.has_key(connection, new):
        return None
    tenant = store.get(connection, new)
    return tenant if former.former_schemas(connection, tenant.id, key) else None


@dataclass(frozen=True, slots=True)
class _Rename:
    directory: Directory
    connection: Connection
    key: str
    new: str
    follows: bool
    """Whether the schema is renamed, too."""

    def plan(self, database: str) -> Renaming:
        with self.connection.begin() as transaction:
            limit_lock_waits(self.connection)
            with joined(self.directory.databases, database, self.connection) as there:
                tenant = store.get(self.connection, self.key)
                schema, obstacles = self._prepare(there, tenant)
                mentions = find_mentions(there, tenant.schema) if schema != tenant.schema else []
            transaction.rollback()
        outdated = tuple(each.what for each in mentions if not each.obstructs)
        if (named := obstacle_in(tenant.schema, mentions)) is not None:
            obstacles.append(ProvisioningError(self.key, _STEP, named))
        return Renaming(tenant, self.new, schema, self._steps(tenant, schema), tuple(map(str, obstacles)), outdated)

    def run(self, database: str) -> Renaming:
        return Operation(self.directory.databases, self.connection, _STEP).run(database, self._run)

    def _run(self, there: Connection) -> Renaming:
        tenant = store.lock(self.connection, self.directory.isolations, self.key)
        count = former.count_former(self.connection, self.new)
        schema, obstacles = self._prepare(there, tenant)
        for obstacle in obstacles:
            raise obstacle
        renamed = store.rename(self.connection, tenant, self.new, schema)
        # The key is reserved only now: a tenant that had it may have been dropped since the count.
        if self.new != tenant.key and former.count_former(self.connection, self.new) != count:
            raise TenantExistsError(self.new)
        outdated = self._isolation(tenant).rename(there, tenant, schema) if schema != tenant.schema else ()
        return Renaming(renamed, self.new, schema, self._steps(tenant, schema), outdated=outdated)

    def _prepare(self, there: Connection, tenant: Tenant) -> tuple[str, list[TenantkitError]]:
        """Return the name of the schema afterwards, and the errors to raise."""
        schema = self._schema_under_new_key(tenant) if self.follows else tenant.schema
        obstacles = list(self._find_obstacles(there, tenant, schema))
        return tenant.schema if schema is None else schema, obstacles

    def _find_obstacles(self, there: Connection, tenant: Tenant, schema: str | None) -> Iterator[TenantkitError]:
        if tenant.status not in COMPLETE:
            yield ProvisioningError(
                self.key, _STEP, f"the tenant is {tenant.status}: finish its creation or its removal first"
            )
        if self.new == tenant.key and schema == tenant.schema:
            yield InvalidTenantKeyError(self.new, "the tenant has this key already")
        elif self.new != tenant.key and store.has_key(self.connection, self.new):
            yield TenantExistsError(self.new)
        if schema is None:
            yield ConfigurationError(
                f"The schema of tenant {self.key!r} keeps its name, because of its isolation "
                f"{str(tenant.isolation)!r}: leave out schema=True or --schema."
            )
        elif schema != tenant.schema:
            obstacle = self._isolation(tenant).obstacle_to_rename(there, tenant, schema)
            if obstacle is not None:
                yield ProvisioningError(self.key, _STEP, obstacle)

    def _schema_under_new_key(self, tenant: Tenant) -> str | None:
        """Return a name that no tenant has had, or one that this tenant had with the key."""
        own = {*former.former_schemas(self.connection, tenant.id, self.new)}
        if self.new == tenant.key:
            own.add(tenant.schema)
        last = 1 + former.count_former(self.connection, self.new)
        name: str | None = None
        for number in count(1):
            new = NewTenant(
                key=self.new,
                number=number,
                attributes=tenant.attributes,
                database=tenant.placement.database,
                isolation=tenant.isolation,
            )
            name = self._isolation(tenant).schema_under(tenant, new)
            if name is None or name in own or (number >= last and not former.is_former(self.connection, name)):
                break
        return name

    def _steps(self, tenant: Tenant, schema: str) -> tuple[str, ...]:
        steps: list[str] = []
        if self.new != tenant.key:
            steps.append(f"set the key {self.new!r} in the registry, in place of {tenant.key!r}")
        if schema != tenant.schema:
            steps.append(
                f"rename the schema {tenant.schema!r} to {schema!r} in the database {tenant.placement.database!r}, "
                "and replace its name in the paths of functions"
            )
        return tuple(steps)

    def _isolation(self, tenant: Tenant) -> Isolation:
        return self.directory.isolations.of(tenant)
