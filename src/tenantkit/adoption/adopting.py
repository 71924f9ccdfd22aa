"""The registration of existing schemas as tenants, in one transaction for a database. It moves nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from tenantkit.adoption.candidates import find_obstacles, find_schemas, read_keys
from tenantkit.adoption.comparison import compare_schemas, find_foreign_tables
from tenantkit.adoption.report import AdoptedSchema, Adoption
from tenantkit.arguments import FLAG, NAME, Kind, optional, require
from tenantkit.databases.base import connected
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import AdoptionError
from tenantkit.lifecycle.choose import require_known
from tenantkit.lifecycle.operation import Operation, operating
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.planning.version_tables import read_revisions
from tenantkit.migrations.results.heads import format_heads
from tenantkit.naming import first_lines
from tenantkit.registry import applications, other_databases, statuses, store
from tenantkit.registry.identity import read_identity
from tenantkit.registry.versions import installed_version
from tenantkit.status import Status
from tenantkit.tenant import MAIN_DATABASE, Isolation, NewTenant, Placement, Tenant

if TYPE_CHECKING:
    from tenantkit.drift.compare import Difference
    from tenantkit.isolation.base import Isolation as TenantIsolation
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph


def _is_regex(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True


_SHOWN = 3
"""Maximum number of differences that an obstacle names."""
_REGEX = Kind("a regular expression", NAME.has_type, lambda each: NAME.has_value(each) and _is_regex(each))
_VERSIONED = text(
    """
    SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY(:schemas) AND relname = 'alembic_version'
    """
)
_MISSING = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NULL")


def adopt(
    tenancy: Deployment,
    schemas: str,
    *,
    key_from: str | None = None,
    database: str = MAIN_DATABASE,
    revision: str | None = None,
    allow_differences: bool = False,
    dry_run: bool = False,
) -> Adoption:
    """Register the schemas of an existing application as tenants, and return what was registered.

    Each schema is compared with the models, or with what the revisions up to its own build. Its version table is kept;
    where there is none, one is made. A comment on the schema marks it as the tenant's. All else stays as it is, and
    `release` takes these back; but the roles of ``grant_to=`` keep the privileges for later tables, which they get.
    Schemas that tenants have already are left out, so the call may be repeated.

    :param schemas: a pattern of their names, in which only ``%`` has a meaning: any text.
    :param key_from: a regular expression that finds the key in a name: by its group ``key``, its first group, or its
        match. By default, the key is what ``%`` stands for.
    :param database: the name of the database that they are in.
    :param revision: the revision that schemas without a version table are at; by default the newest one.
    :param allow_differences: adopt also schemas with differences in a table; `tenantkit.drift.check` shows them later.
        Schemas with tables that are not declared, or without declared ones, are refused at any rate.
    :param dry_run: change nothing, and return the plan with the obstacles.
    :raises AdoptionError: if there is an obstacle; nothing is changed then.
    :raises ConfigurationError: if an argument cannot be used, or models or revisions cannot be built.
    """
    require(
        tenancy=(tenancy, TENANCY),
        schemas=(schemas, NAME),
        key_from=(key_from, optional(_REGEX)),
        revision=(revision, optional(NAME)),
        allow_differences=(allow_differences, FLAG),
        dry_run=(dry_run, FLAG),
    )
    require_known(tenancy.databases.keys, database, "database=")
    work = _Adoption(tenancy, schemas, key_from, database, revision, allow_differences=allow_differences)
    plan = work.plan()
    if dry_run:
        return plan
    if plan.obstacles:
        raise AdoptionError(plan)
    tenancy.install()
    with operating(tenancy) as connection:
        Operation(tenancy.databases, connection, "adopting").run(
            database, lambda there: work.execute(connection, there, plan)
        )
    tenancy.cache.clear()
    return plan


@dataclass(frozen=True, slots=True)
class _Adoption:
    tenancy: Deployment
    pattern: str
    key_from: str | None
    database: str
    revision: str | None
    allow_differences: bool

    def plan(self) -> Adoption:
        """Return what is to be done, read without locks."""
        tenancy = self.tenancy
        with tenancy.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            tenants = store.find(connection, status=[*Status]) if installed_version(connection) else []
            known = {tenant.placement for tenant in tenants}
            tables = tenancy.tables
            shared = {table.fullname: table for table in tables.shared}
            quoted = {connection.dialect.identifier_preparer.format_table(each): name for name, each in shared.items()}
            missing = connection.execute(_MISSING, {"names": list(quoted)}).scalars().all()
            others = {*tenancy.main_schemas, *tenancy.extra_schemas}
            with connected(tenancy.databases, self.database, connection, isolation_level="AUTOCOMMIT") as there:
                found = find_schemas(there, self.pattern, others)
                names = [name for name in found if Placement(self.database, name) not in known]
                ids = {tenant.id for tenant in tenants}
                problems = {name: self._isolation().obstacle_to_adopt(there, name, ids) for name in names}
                versioned = set(there.execute(_VERSIONED, {"schemas": names}).scalars())
                heads = read_revisions(there, [name for name in names if problems[name] is None])
        keys = read_keys(names, self.pattern, self.key_from)
        obstacles = find_obstacles(
            keys, {tenant.key for tenant in tenants}, tenancy.reserved_keys, tenancy.application.schema_prefix
        )
        for name, problem in problems.items():
            if problem is not None:
                obstacles[name].append(problem)
        graph = None if tenancy.migrations is None else graph_of(tenancy, "tenant")
        heads = self._heads(graph, heads, versioned, obstacles)
        newest = () if graph is None else graph.heads()
        compared = compare_schemas(tenancy, self.database, heads, newest) if not missing else None
        return Adoption(
            database=self.database,
            schemas=tuple(
                self._candidate(
                    name,
                    keys[name],
                    heads.get(name),
                    obstacles[name],
                    () if compared is None else compared.differences.get(name, ()),
                    is_stamped=graph is not None and name not in versioned,
                )
                for name in names
            ),
            before=tuple(name for name in found if Placement(self.database, name) in known),
            alike=() if compared is None else compared.alike,
            shared_tables=tuple(shared),
            tenant_tables=tuple(table.name for table in tables.tenant),
            missing=tuple(quoted[name] for name in missing),
        )

    def execute(self, connection: Connection, there: Connection, plan: Adoption) -> None:
        """Register the schemas of *plan*, mark them, and record their revisions.

        :raises AdoptionError: if one has changed since the plan.
        """
        applications.claim(connection, self.tenancy.application)
        isolation = self._isolation()
        if there is not connection:
            other_databases.install(there, self.database, read_identity(connection))
        known = {tenant.id for tenant in store.find(connection, status=[*Status])}
        found = ((each, isolation.obstacle_to_adopt(there, each.schema, known)) for each in plan.schemas)
        if changed := tuple(replace(each, obstacles=(problem,)) for each, problem in found if problem is not None):
            raise AdoptionError(replace(plan, schemas=changed))
        for each in plan.schemas:
            assert each.key is not None  # noqa: S101 - else there is an obstacle
            tenant = store.add(
                connection,
                key=each.key,
                name=each.key,
                isolation=isolation.name,
                placement=Placement(self.database, each.schema),
                claim=None,
                attributes={},
            )
            isolation.adopt(there, tenant)
            if each.is_stamped:
                self._stamp(there, tenant, each.revision or "heads")
            stamped = each.revision if each.is_stamped else None
            statuses.transition(connection, self.tenancy.isolations, each.key, Status.ACTIVE, stamped=stamped)

    def _isolation(self) -> TenantIsolation:
        return self.tenancy.isolations.for_new(NewTenant(key="", isolation=Isolation.SCHEMA))

    def _heads(
        self,
        graph: RevisionGraph | None,
        heads: Mapping[str, Heads],
        versioned: Collection[str],
        obstacles: Mapping[str, list[str]],
    ) -> dict[str, Heads]:
        """Return the heads of the schemas that can be compared; note the obstacle of each other one."""
        if graph is None:
            return dict.fromkeys(heads, ())
        stamped = graph.resolve(self.revision or "heads")
        found: dict[str, Heads] = {}
        for name, recorded in heads.items():
            unknown = [each for each in recorded if not graph.knows(each)]
            if unknown:
                obstacles[name].append(
                    f"its alembic_version has the revision {first_lines(unknown)}, which no file in {graph.folder} has"
                )
            else:
                found[name] = recorded if name in versioned else stamped
        return found

    def _candidate(
        self,
        schema: str,
        key: str | None,
        heads: Heads | None,
        obstacles: Collection[str],
        differences: tuple[Difference, ...],
        *,
        is_stamped: bool,
    ) -> AdoptedSchema:
        problems = [*obstacles, *find_foreign_tables(differences)]
        if differences and len(problems) == len(obstacles):
            shown = "; ".join(map(str, differences[:_SHOWN])) + ("; ..." if len(differences) > _SHOWN else "")
            if is_stamped and self.revision is None:
                problems.append(f"it has no version table, and is not at the newest revision ({shown}): give revision=")
            elif not self.allow_differences:
                problems.append(f"it differs ({shown}): correct it, or give allow_differences=True")
        return AdoptedSchema(
            schema=schema,
            key=key,
            revision=(format_heads(heads) or None) if heads is not None else None,
            is_stamped=is_stamped,
            differences=differences,
            obstacles=tuple(problems),
        )

    def _stamp(self, there: Connection, tenant: Tenant, revision: str) -> None:
        graph = graph_of(self.tenancy, "tenant")
        [target] = self._isolation().targets([tenant])
        run(
            there,
            graph,
            replace(target, in_transaction=True),
            lambda current, _: graph.stamp_steps(revision, current),
        )
