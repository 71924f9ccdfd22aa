"""The move of a schema's objects to a new tenant, in the transaction of a connection."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from tenantkit.adoption.comparison import build_standard, find_differences, find_foreign_tables
from tenantkit.adoption.locking import execute, lock_tables, obstacle_of_foreign
from tenantkit.adoption.objects import VERSION_TABLE, Division, divide, read_objects
from tenantkit.adoption.report import TableAdoption
from tenantkit.deployment import Deployment
from tenantkit.drift.catalog.reader import detail_of
from tenantkit.isolation import schemas
from tenantkit.isolation.mentions import find_mentions
from tenantkit.isolation.relabel import replace_in_paths
from tenantkit.lifecycle.key import place
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.planning.version_tables import read_heads
from tenantkit.migrations.results.heads import format_heads
from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.registry import applications, former, statuses, store
from tenantkit.status import Status
from tenantkit.tenant import Isolation, NewTenant, Tenant

if TYPE_CHECKING:
    from tenantkit.drift.compare import Difference
    from tenantkit.isolation.base import Isolation as TenantIsolation
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

_SHOWN = 3
"""Maximum number of differences that an obstacle names."""


@dataclass(frozen=True, slots=True)
class Move:
    """A move that was asked for."""

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
        """Do it in the transaction of *connection*; if the result has obstacles, that is to be rolled back."""
        tenancy = self.tenancy
        applications.claim(connection, tenancy.application)
        new = NewTenant(key=self.key, isolation=Isolation.SCHEMA, number=1 + former.count_former(connection, self.key))
        isolation = tenancy.isolations.for_new(new)
        placement = place(connection, isolation, new)
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
        newest = () if self.graph is None else self.graph.heads()
        standard = partial(build_standard, tenancy, connection, None if heads == newest else heads)
        declared = None if away else standard()  # before the tables are locked, if it can be built there
        lock_tables(connection, (*division.moving, *away), self.end)
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
        quoted = quote_identifier(placement.schema)
        for schema in sorted({str(shared[each.name]) for each in away}):
            execute(connection, [f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(schema)}"])
        statements = [each.move_to(quote_identifier(str(shared[each.name]))) for each in away]
        statements += [each.move_to(quoted) for each in division.moving]
        if self.graph is not None and not is_stamped:
            statements.append(f"ALTER TABLE {quote_identifier(self.source)}.{VERSION_TABLE} SET SCHEMA {quoted}")
        execute(connection, statements)
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
            schemas.let_use(connection, _granted(division, quoted), role)
        if is_stamped:
            self._stamp(connection, isolation, tenant, heads)
        found = detail_of(connection, placement.schema)
        differences = find_differences(declared or standard(), found, of_models=heads == newest)
        statuses.transition(
            connection, tenancy.isolations, self.key, Status.ACTIVE, stamped=plan.revision if is_stamped else None
        )
        problems = [*self._judge(differences, is_stamped=is_stamped)]
        if (obstacle := isolation.obstacle_to_drop(connection, tenant)) is not None:
            problems.append(obstacle)  # a table elsewhere with a key to the tenant's
        return replace(plan, differences=differences, obstacles=tuple(problems))

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
        if (obstacle := obstacle_of_foreign(connection, self.source)) is not None:
            yield obstacle
            return
        if store.has_key(connection, self.key):
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
