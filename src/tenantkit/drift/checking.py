"""Detection of tenants whose tables differ from those of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tenantkit.arguments import FLAG, TEXTS, optional, require
from tenantkit.databases.base import Databases, by_database, shares_transaction
from tenantkit.databases.reach import AT_ONCE, in_each
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.reader import read_details, read_hashes, read_names_in_text
from tenantkit.drift.catalog.shape import restore_words
from tenantkit.drift.catalog.unused_indexes import unused_indexes
from tenantkit.drift.compare import Difference, compare, outermost, without_keys_to
from tenantkit.drift.reference import Form, Reference, References, build_references
from tenantkit.drift.repair.script import write_repair
from tenantkit.drift.report import DriftReport, Group, Odd
from tenantkit.exceptions import TenantNotFoundError
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.postgres.operators import require_operators
from tenantkit.registry import store
from tenantkit.status import MIGRATED
from tenantkit.tenant import MAIN_DATABASE, Placement, Tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.migrations.graph.revision_graph import Heads


class _Cohort(NamedTuple):
    """Placements of the same shape."""

    hash: int
    has_shared_tables: bool
    """Whether they are in the database of the shared tables. Others have no foreign keys to these."""


def check(
    tenancy: Deployment, *, tenants: Collection[str] | None = None, models: bool = False, scripts: bool = True
) -> DriftReport:
    """Return the tenants whose tables differ from the standard, and the SQL that repairs them. Nothing is changed.

    Tenants at the same revision should have equal shapes: the most frequent shape is the standard. Of two shapes that
    are equally frequent, the newest tenant's is. A tenant that is alone at its revision is compared with nothing.
    Common tables of row isolation are compared with what the revisions build, or the models without migrations.

    :param tenants: report on these tenants only; the standard is still that of all tenants.
    :param models: compare tenants with the shape that the revisions up to theirs build, not with one another, and the
        newest revision with the models. Everything is built in transactions that are rolled back.
    :param scripts: write the SQL for each tenant that differs. Without it, only one tenant of each shape is read in
        full.
    :raises TenantNotFoundError: if one of *tenants* does not exist, or has no complete schema.
    :raises ConfigurationError: if revisions or models cannot be built, or if the operators of a column's type are in a
        schema where tenants' statements do not look.
    """
    require(
        tenancy=(tenancy, TENANCY), tenants=(tenants, optional(TEXTS)), models=(models, FLAG), scripts=(scripts, FLAG)
    )
    databases = tenancy.databases
    engine = databases.main.execution_options(isolation_level="AUTOCOMMIT")  # reading revisions must not keep locks
    with engine.connect() as connection:
        everyone = store.find(connection, status=MIGRATED)
        targets = tenancy.isolations.targets(everyone)
        fleet = [tenant for tenant in everyone if tenant.placement in targets]
        before = read_placements(databases, connection, targets)
    keys = {tenant.key for tenant in everyone}
    for key in set(tenants or ()) - keys:
        raise TenantNotFoundError(key=key)
    chosen = keys if tenants is None else set(tenants)
    with engine.connect() as connection:
        _require_operators(tenancy, connection, [each.placement for each in fleet if each.key in chosen])
        roles = tenancy.tenant_roles
        guard_obstacle = None if roles is None else roles.obstacle(connection)
    hashes = _read_hashes(databases, before)
    with engine.connect() as connection:
        after = read_placements(databases, connection, before)
    shared: defaultdict[Placement, list[Tenant]] = defaultdict(list)
    for tenant in fleet:
        shared[tenant.placement].append(tenant)
    cohorts: defaultdict[Form, defaultdict[_Cohort, list[list[Tenant]]]]
    cohorts = defaultdict(lambda: defaultdict(list))
    for placement, sharing in shared.items():
        heads = before.get(placement)
        if heads is not None and heads == after.get(placement):
            is_here = shares_transaction(databases, placement.database)
            form = Form(heads, targets[placement].column)
            cohorts[form][_Cohort(hashes[placement], is_here)].append(sharing)
    # Common tables have no others to be compared with.
    wanted = {form for form, cohort in cohorts.items() if models or (form.column and _has_any(cohort, chosen))}
    references = build_references(tenancy, wanted, models=models) if models or wanted else References(at={})
    groups = [
        _compare(tenancy, form.heads, cohort, references.at.get(form), chosen, scripts=scripts)
        for form, cohort in cohorts.items()
    ]
    is_complete = all(shares_transaction(databases, tenant.placement.database) for tenant in fleet)
    return DriftReport(
        groups=tuple(sorted(groups, key=lambda group: -group.tenants)),
        models=references.models,
        missing=tuple(
            each.key
            for each in everyone
            if each.key in chosen and each.placement not in before and before.problem(each.placement) is None
        ),
        left_out=() if is_complete else tuple(_keys_to_shared_tables(tenancy)),
        unreachable={
            each.key: problem
            for each in everyone
            if each.key in chosen and (problem := before.problem(each.placement)) is not None
        },
        unused_indexes=tuple(
            _find_unused_indexes(databases, [targets[each.placement] for each in fleet if each.key in chosen])
        ),
        names_in_text=tuple(dict.fromkeys(_find_names_in_text(tenancy, cohorts, chosen))),
        guard_obstacle=guard_obstacle,
        moving=tuple(
            each.key for each in fleet if each.key in chosen and before.get(each.placement) != after.get(each.placement)
        ),
    )


def _require_operators(tenancy: Deployment, connection: Connection, placements: Collection[Placement]) -> None:
    main: dict[str, list[Placement]] = {MAIN_DATABASE: []}  # for the shared tables, at any rate
    there = main | by_database(tenancy.databases, placements)

    def check_operators(database: str, other: Connection) -> None:
        shared = tenancy.tables.shared if other is connection else ()
        schemas = [placement.schema for placement in there[database]]
        require_operators(other, schemas, extra_schemas=tenancy.extra_schemas, shared=shared)

    in_each(tenancy.databases, connection, there, check_operators, isolation_level="AUTOCOMMIT")


def _read_hashes(databases: Databases, placements: Collection[Placement]) -> dict[Placement, int]:
    there = by_database(databases, placements)

    def read(database: str) -> dict[Placement, int]:
        found = read_hashes(databases.engine(database), [each.schema for each in there[database]])
        return {Placement(database, schema): number for schema, number in found.items()}

    with ThreadPoolExecutor(min(len(there), AT_ONCE) or 1) as pool:
        return {placement: number for found in pool.map(read, there) for placement, number in found.items()}


def _read_details(databases: Databases, placements: Collection[Placement]) -> Iterator[tuple[Placement, Detail]]:
    for database, there in by_database(databases, placements).items():
        for schema, detail in read_details(databases.engine(database), [each.schema for each in there]):
            yield Placement(database, schema), detail


def _compare(
    tenancy: Deployment,
    heads: Heads,
    cohort: Mapping[_Cohort, list[list[Tenant]]],
    reference: Reference | None,
    chosen: set[str],
    *,
    scripts: bool,
) -> Group:
    """Compare the placements at one revision, each with the tenants that share it, by the hashes of their shapes."""
    databases = tenancy.databases
    units = [sharing for alike in cohort.values() for sharing in alike]
    everyone = list(chain.from_iterable(units))
    if reference is None and len(units) == 1:
        return Group(
            revision=format_heads(heads) or None,
            standard="nothing",
            tenants=len(everyone),
            alike=0,
            odd=(),
            alone=tuple(tenant.key for tenant in everyone if tenant.key in chosen),
        )
    chosen_one = _Cohort(reference.hash, has_shared_tables=True) if reference else _most_frequent(cohort)
    standards = cohort.get(chosen_one, [])
    alike, others = sum(map(len, standards)), [(each, units) for each, units in cohort.items() if each != chosen_one]
    odd: list[Odd] = []
    if others:
        examples = [units[0][0].placement for units in (standards, *(units for _, units in others)) if units]
        details = dict(_read_details(databases, examples))
        standard = reference.detail if reference else details[examples[0]]

        def distinguish(each: _Cohort, found: Detail) -> tuple[Detail, Detail, tuple[Difference, ...]]:
            expected = standard
            if each.has_shared_tables != chosen_one.has_shared_tables:
                expected, found = (without_keys_to(detail, tenancy.main_schemas) for detail in (expected, found))
            return _distinguish(expected, found)

        for each, units in others:
            _, _, differences = distinguish(each, details[units[0][0].placement])
            tenants = list(chain.from_iterable(units))
            if not differences:  # the numbers differ by a word that is a schema's name, or by partitions
                alike += len(tenants)
            elif asked := [tenant for tenant in tenants if tenant.key in chosen]:
                places = {tenant.placement for tenant in asked}
                written = {
                    placement: write_repair(*distinguish(each, there))
                    for placement, there in (_read_details(databases, places) if scripts else ())
                }
                repairs = {one.key: written[one.placement] for one in asked if one.placement in written}
                schemas = {one.key: one.schema for one in asked}
                odd.append(Odd(schemas=schemas, differences=outermost(differences), scripts=repairs))
    return Group(
        revision=format_heads(heads) or None,
        standard=reference.source if reference else "majority",
        tenants=len(everyone),
        alike=alike,
        odd=tuple(sorted(odd, key=lambda each: (-len(each.schemas), *each.schemas))),
    )


def _find_unused_indexes(databases: Databases, targets: Collection[MigrationTarget]) -> Iterator[str]:
    for target in dict.fromkeys(targets):
        if target.column is not None:
            with databases.engine(target.placement.database).connect() as connection:
                yield from unused_indexes(connection, target.schema, target.column.name)


def _find_names_in_text(
    tenancy: Deployment, cohorts: Mapping[Form, Mapping[_Cohort, list[list[Tenant]]]], chosen: set[str]
) -> Iterator[str]:
    """Yield what names the schema of a tenant in text, for one tenant of each shape."""
    for cohort in cohorts.values():
        for units in cohort.values():
            alike = (each for each in chain.from_iterable(units) if each.key in chosen)
            if (tenant := next(alike, None)) is None:
                continue
            isolation = tenancy.isolations.of(tenant)
            if isolation.shares_tables or isolation.databases is not None:
                continue  # their schemas are not renamed
            yield from read_names_in_text(tenancy.databases.engine(tenant.placement.database), tenant.schema)


def _has_any(cohort: Mapping[_Cohort, list[list[Tenant]]], chosen: set[str]) -> bool:
    return any(tenant.key in chosen for units in cohort.values() for tenant in chain.from_iterable(units))


def _distinguish(expected: Detail, found: Detail) -> tuple[Detail, Detail, tuple[Difference, ...]]:
    """Return both with restored words that are not a schema's name, and their differences."""
    expected, found = (
        each._replace(shape=restore_words(each.shape, other.shape))
        for each, other in ((expected, found), (found, expected))
    )
    return expected, found, compare(expected.shape, found.shape)


def _most_frequent(cohort: Mapping[_Cohort, list[list[Tenant]]]) -> _Cohort:
    """Return the most frequent shape; of several, the newest tenant's, which was built at once."""
    return max(cohort, key=lambda each: (len(cohort[each]), max(tenant.id for tenant in chain(*cohort[each]))))


def _keys_to_shared_tables(tenancy: Deployment) -> Iterator[str]:
    """Yield the foreign keys of the models from tenants' tables to shared tables."""
    for table in tenancy.tables.tenant:
        for key in table.foreign_keys:
            if key.column.table.schema in tenancy.main_schemas:
                yield f"{table.name}.{key.parent.name} -> {key.column.table.fullname}.{key.column.name}"
