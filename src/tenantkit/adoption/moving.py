"""The tables of an application with a single tenant move to a schema of that tenant, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tenantkit.adoption.comparison import build_standard, find_differences, find_foreign_tables
from tenantkit.adoption.objects import VERSION_TABLE, Division, divide, read_objects
from tenantkit.adoption.report import TableAdoption
from tenantkit.arguments import FLAG, NAME, number, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.drift.catalog.reader import detail_of
from tenantkit.exceptions import AdoptionError, ProvisioningError
from tenantkit.isolation import schemas
from tenantkit.isolation.mentions import find_mentions
from tenantkit.isolation.relabel import replace_in_paths
from tenantkit.lifecycle.operation import operating
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.planning.version_tables import read_heads
from tenantkit.migrations.results.heads import format_heads
from tenantkit.naming import first_lines, validate_key
from tenantkit.postgres.errors import is_lock_conflict, reason
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.postgres.rights import lack_of_rights
from tenantkit.registry import applications, former, statuses, store
from tenantkit.registry.tables import SCHEMA as REGISTRY
from tenantkit.status import Status
from tenantkit.tenant import Isolation, NewTenant, Tenant

if TYPE_CHECKING:
    from tenantkit.drift.compare import Difference
    from tenantkit.isolation.base import Isolation as TenantIsolation
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

_PAUSE = 0.01
"""Seconds between attempts to lock the tables; while none waits for a lock, no statement waits for this one."""
_STEP = "moving the tables"
_SHOWN = 3
_USERS = text(
    """
    SELECT DISTINCT coalesce('the process ' || pid || ' (' || coalesce(nullif(application_name, ''), usename) || ')',
        'a prepared transaction')
    FROM pg_locks LEFT JOIN pg_stat_activity USING (pid)
    WHERE pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace(:schema))
        AND pid IS DISTINCT FROM pg_backend_pid() ORDER BY 1
    """
)


def adopt_tables(
    tenancy: Deployment,
    schema: str,
    key: str,
    *,
    revision: str | None = None,
    leave_others: bool = False,
    allow_differences: bool = False,
    patience: float = 10,
    dry_run: bool = False,
) -> TableAdoption:
    """Make the tables of an application with a single tenant those of a new tenant, and return what was moved.

    The tenant's tables, which the models declare, move from *schema* to a schema of the tenant, with everything else
    there; shared tables, and what these need, stay, or move to the schema that the models say. All of it is one
    transaction. It begins when no other transaction uses the tables, and makes none wait before that.

    :param schema: the name of a schema in the main database, for example ``public``.
    :param key: the key of the new tenant.
    :param revision: the revision that the tables are at, without a version table; by default the newest one.
    :param leave_others: leave tables that the models do not have where they are, with all that the tenant's tables do
        not need. Without it, such tables are refused.
    :param allow_differences: adopt also tables with differences in details; `tenantkit.drift.check` shows them later.
    :param patience: seconds to try to lock the tables for.
    :param dry_run: roll the transaction back, and return the plan with the obstacles.
    :raises AdoptionError: if there is an obstacle; nothing is changed then.
    :raises ProvisioningError: if other transactions used the tables for all of *patience*, or a statement failed.
    :raises InvalidTenantKeyError: if no tenant can have the key.
    :raises ConfigurationError: if an argument cannot be used, or models or revisions cannot be built.
    """
    require(
        tenancy=(tenancy, TENANCY),
        schema=(schema, NAME),
        revision=(revision, optional(NAME)),
        leave_others=(leave_others, FLAG),
        allow_differences=(allow_differences, FLAG),
        patience=(patience, number(least=0)),
        dry_run=(dry_run, FLAG),
    )
    validate_key(key, reserved=tenancy.reserved_keys, prefix=tenancy.application.schema_prefix)
    graph = None if tenancy.migrations is None else graph_of(tenancy, "tenant")
    work = _Move(tenancy, graph, schema, key, revision, leave_others, allow_differences, time.monotonic() + patience)
    tenancy.install()
    with tenancy.lookups.forgetting(key), operating(tenancy) as connection:
        plan = _repeat(connection, work, dry_run=dry_run)
    if plan.obstacles and not dry_run:
        raise AdoptionError(plan)
    tenancy.cache.clear()
    return plan


def _repeat(connection: Connection, work: _Move, *, dry_run: bool) -> TableAdoption:
    """Do the work in one transaction; repeat it after a lock conflict."""
    while True:
        try:
            with connection.begin() as transaction:
                limit_lock_waits(connection)
                plan = work.run(connection)
                if dry_run or plan.obstacles:
                    transaction.rollback()
                return plan
        except DBAPIError as error:
            if not is_lock_conflict(error):
                why = lack_of_rights(error, connection.engine.url) or reason(error)
                raise ProvisioningError(work.key, _STEP, why) from error
            if time.monotonic() > work.end:
                with connection.begin():
                    users = connection.execute(_USERS, {"schema": quote_identifier(work.source)}).scalars().all()
                who = first_lines(users) or "other transactions"
                raise ProvisioningError(
                    work.key, _STEP, f"{who} used the tables all the time; end these, or give more patience="
                ) from error
            time.sleep(_PAUSE)


def _lock(connection: Connection, tables: Collection[str], end: float) -> None:
    """Lock *tables* as soon as nobody uses them, without waiting for a lock: others would wait behind it."""
    while True:
        savepoint = connection.begin_nested()
        try:
            _execute(connection, [f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE NOWAIT"])
        except DBAPIError as error:
            savepoint.rollback()
            if not is_lock_conflict(error) or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
        else:
            savepoint.commit()
            return


@dataclass(frozen=True, slots=True)
class _Move:
    tenancy: Deployment
    graph: RevisionGraph | None
    source: str
    key: str
    revision: str | None
    leave_others: bool
    allow_differences: bool
    end: float
    """The time at which it gives up, as `time.monotonic` has it."""

    def run(self, connection: Connection) -> TableAdoption:
        """Move the tables in the transaction of *connection*; the result has obstacles if it is to be rolled back."""
        tenancy = self.tenancy
        applications.claim(connection, tenancy.application)
        isolation = tenancy.isolations.for_new(NewTenant(key=self.key, isolation=Isolation.SCHEMA))
        new = NewTenant(key=self.key, number=1 + former.count_former(connection, self.key))
        placement = isolation.place(new)
        objects, detail = read_objects(connection, self.source)
        shared = {table.name: table.schema for table in tenancy.tables.shared}
        division = divide(
            objects,
            detail,
            {table.name for table in tenancy.tables.tenant},
            {name for name in shared if name not in {table.name for table in tenancy.tables.tenant}},
            leave_others=self.leave_others,
        )
        away = [each for each in division.staying if each.is_table and shared.get(each.name) not in {None, self.source}]
        heads, is_stamped, problems = self._heads(connection)
        plan = TableAdoption(
            key=self.key,
            source=self.source,
            schema=placement.schema,
            revision=format_heads(heads) or None,
            is_stamped=is_stamped,
            moved=tuple(f"{each.type} {each.name}" for each in division.moving),
            to_shared=tuple(f"{shared[each.name]}.{each.name}" for each in away),
            staying=tuple(f"{each.type} {each.name}" for each in division.staying if each not in away),
            differences=(),
            obstacles=(*problems, *self._find_obstacles(connection, division)),
        )
        if (obstacle := isolation.obstacle_to_create(connection, placement)) is not None:
            plan = replace(plan, obstacles=(*plan.obstacles, obstacle))
        if plan.obstacles:
            return plan
        tables = [each.identity for each in division.moving if each.is_table]
        tables += [each.identity for each in away]
        newest = () if self.graph is None else self.graph.heads()
        standard = partial(build_standard, tenancy, connection, None if heads == newest else heads)
        declared = None if away else standard()  # before the tables are locked, if it can be built there
        _lock(connection, tables, self.end)
        tenant = store.add(
            connection,
            key=self.key,
            name=self.key,
            isolation=isolation.name,
            placement=placement,
            claim=None,
            attributes={},
        )
        isolation.create(connection, tenant)
        place = quote_identifier(placement.schema)
        for schema in sorted({str(shared[each.name]) for each in away}):
            _execute(connection, [f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(schema)}"])
        statements = [each.move_to(quote_identifier(str(shared[each.name]))) for each in away]
        statements += [each.move_to(place) for each in division.moving]
        if self.graph is not None and not is_stamped:
            statements.append(f"ALTER TABLE {quote_identifier(self.source)}.{VERSION_TABLE} SET SCHEMA {place}")
        _execute(connection, statements)
        kept = [self.source] if self.source in tenancy.extra_schemas else []
        replace_in_paths(
            connection,
            self.source,
            lambda path: [
                name for each in path for name in ([placement.schema, *kept] if each == self.source else [each])
            ],
            within=placement.schema,
        )
        isolation.adopt(connection, tenant)
        for role in tenancy.grant_to if tenancy.tenant_roles is None else ():
            schemas.let_use(connection, _granted(division, place), role)
        if is_stamped:
            self._stamp(connection, isolation, tenant, heads)
        found = detail_of(connection, placement.schema)
        differences = find_differences(declared or standard(), found, of_models=heads == newest)
        statuses.transition(
            connection, tenancy.isolations, self.key, Status.ACTIVE, stamped=plan.revision if is_stamped else None
        )
        return replace(plan, differences=differences, obstacles=(*self._judge(differences, is_stamped=is_stamped),))

    def _heads(self, connection: Connection) -> tuple[Heads, bool, list[str]]:
        """Return the heads of the tables, whether they have to be recorded, and what is wrong with them."""
        if self.graph is None:
            return (), False, []
        recorded = read_heads(connection, self.source)
        unknown = [each for each in recorded if not self.graph.knows(each)]
        if recorded and not unknown:
            return recorded, False, []
        if unknown and self.revision is None:
            problem = (
                f"its {VERSION_TABLE} has the revision {first_lines(unknown)}, which no file in {self.graph.folder} "
                "has: give revision=, that of the tenants' revisions that the tables are at"
            )
            return (), True, [problem]
        return self.graph.resolve(self.revision or "heads"), True, []

    def _find_obstacles(self, connection: Connection, division: Division) -> Iterator[str]:
        mark = schemas.read_mark(connection, self.source)
        if mark is None or schemas.marked_id(mark) is not None or self.source == REGISTRY:
            yield f"the schema {self.source!r} " + (
                "does not exist" if mark is None else "is tenantkit's or a tenant's"
            )
            return
        if any(tenant.key == self.key for tenant in store.find(connection, status=[*Status])):
            yield f"the key {self.key!r} is another tenant's"
        names = {each.name for each in division.moving if each.is_table}
        if missing := {table.name for table in self.tenancy.tables.tenant} - names:
            yield f"it lacks tables: {first_lines(missing)}"
        if division.unknown and not self.leave_others:
            yield (
                f"it has tables that are not declared: {first_lines(division.unknown)}; declare them, or give "
                "leave_others=True (--leave-others) if they are another application's"
            )
        for each in division.needed:
            yield f"{each}: drop that key or dependency, or declare the table as the tenants'"
        if not names:
            return
        moved = {each.name for each in division.moving}
        if named := [each.what for each in find_mentions(connection, self.source, moved) if each.obstructs]:
            yield (
                f"{first_lines(named)} names what would move with {self.source!r} before it, as a text: write the name "
                "without a schema"
            )

    def _stamp(self, connection: Connection, isolation: TenantIsolation, tenant: Tenant, heads: Heads) -> None:
        graph = self.graph
        assert graph is not None  # noqa: S101 - there are heads
        [target] = isolation.targets([tenant])
        target = replace(target, in_transaction=True)
        run(connection, graph, target, lambda current, _: graph.stamp_steps(format_heads(heads), current))

    def _judge(self, differences: Collection[Difference], *, is_stamped: bool) -> Iterator[str]:
        whole = [*find_foreign_tables(differences)]
        yield from whole
        if differences and not whole:
            shown = "; ".join(map(str, [*differences][:_SHOWN])) + ("; ..." if len(differences) > _SHOWN else "")
            if is_stamped and self.revision is None:
                yield f"it has no version table, and is not at the newest revision ({shown}): give revision="
            elif not self.allow_differences:
                yield f"it differs ({shown}): correct it, or give allow_differences=True"


def _granted(division: Division, place: str) -> list[str]:
    words = {"sequence": "SEQUENCE"}
    kinds = {"table", "view", "materialized view", "sequence"}
    return [
        f"{words.get(each.type, 'TABLE')} {place}.{quote_identifier(each.name)}"
        for each in division.moving
        if each.type in kinds
    ]


def _execute(connection: Connection, statements: Collection[str]) -> None:
    if statements:
        connection.exec_driver_sql("; ".join(statements).replace("%", "%%"))
