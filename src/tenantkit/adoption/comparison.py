"""Comparison of schemas with what the code declares, and with one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.schema import CreateSchema

from tenantkit.databases.base import shares_transaction
from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.reader import detail_of, read_details, read_hashes
from tenantkit.drift.catalog.shape import Kind, restore_words
from tenantkit.drift.compare import Change, Difference, compare, outermost, without_keys_to
from tenantkit.drift.reference import Form, build_models, build_references, compare_with_models
from tenantkit.lifecycle.builders import MetadataBuilder
from tenantkit.migrations.environment.builder import AlembicBuilder
from tenantkit.migrations.environment.targets import scratch_target

if TYPE_CHECKING:
    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads

_SCRATCH = "tenantkit_adoption"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of each schema, and the schemas of equal shape."""

    differences: Mapping[str, tuple[Difference, ...]]
    alike: tuple[tuple[str, ...], ...]


def compare_schemas(tenancy: Deployment, database: str, heads: Mapping[str, Heads], newest: Heads) -> Comparison:
    """Compare schemas with the models, or, at older revisions, with what the revisions build.

    :param heads: the heads of each schema.
    :raises ConfigurationError: if models or revisions cannot be built.
    """
    if not heads:
        return Comparison({}, ())
    engine = tenancy.databases.engine(database)
    hashes, found = read_hashes(engine, heads), dict(read_details(engine, heads))
    standards = build_standards(tenancy, set(heads.values()), newest)
    has_shared_tables = shares_transaction(tenancy.databases, database)
    hidden = () if has_shared_tables else tenancy.main_schemas

    def differences(schema: str, at: Heads) -> tuple[Difference, ...]:
        declared, there = (without_keys_to(each, hidden) for each in (standards[at], found[schema]))
        return find_differences(declared, there, of_models=at == newest)

    groups = defaultdict[tuple[int, "Heads"], list[str]](list)
    for schema, number in hashes.items():
        groups[number, heads[schema]].append(schema)
    return Comparison(
        {schema: differences(schema, at) for schema, at in heads.items()},
        tuple(sorted(map(tuple, groups.values()), key=lambda alike: (-len(alike), alike))),
    )


def find_differences(declared: Detail, found: Detail, *, of_models: bool) -> tuple[Difference, ...]:
    """Return the differences of a schema from what models declare, or from what revisions build."""
    wanted, there = restore_words(declared.shape, found.shape), restore_words(found.shape, declared.shape)
    return compare_with_models(wanted, there) if of_models else outermost(compare(wanted, there))


def build_standards(tenancy: Deployment, wanted: Collection[Heads], newest: Heads) -> dict[Heads, Detail]:
    """Return what the models declare, for the newest revision, and what the revisions build, for others."""
    forms = {Form(each, None) for each in wanted if each != newest}
    built = {form.heads: each.detail for form, each in build_references(tenancy, forms, models=False).at.items()}
    return {**built, newest: build_models(tenancy).detail} if newest in wanted else built


def find_foreign_tables(differences: Collection[Difference]) -> Iterator[str]:
    """Yield descriptions of whole tables that are missing or not declared, as in a schema of another application."""
    for change, what in ((Change.EXTRA, "has tables that are not declared"), (Change.MISSING, "lacks tables")):
        names = [each.key.name for each in differences if each.key.kind is Kind.TABLE and each.change is change]
        if names:
            yield f"it {what}: {', '.join(sorted(names))}"


def build_standard(tenancy: Deployment, connection: Connection, heads: Heads | None) -> Detail:
    """Return what the models declare, or what the revisions up to *heads* build, on a connection with changes.

    It is built in a savepoint that is rolled back.
    """
    savepoint = connection.begin_nested()
    connection.execute(CreateSchema(_SCRATCH))
    target = scratch_target(tenancy, _SCRATCH)
    if heads is None:
        MetadataBuilder(tenancy)(connection, target)
    else:
        AlembicBuilder(tenancy)(connection, target, heads)
    detail = detail_of(connection, _SCRATCH)
    savepoint.rollback()
    connection.execution_options(schema_translate_map={})
    return detail
