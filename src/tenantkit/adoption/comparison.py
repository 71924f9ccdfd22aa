"""Comparison of schemas with what the code declares, and with one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantkit.databases.base import shares_transaction
from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.reader import read_details, read_hashes
from tenantkit.drift.catalog.shape import Kind, restore_words
from tenantkit.drift.compare import Change, Difference, compare, outermost, without_keys_to
from tenantkit.drift.reference import Form, build_models, build_references, compare_with_models

if TYPE_CHECKING:
    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads


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
    standards = _build_standards(tenancy, set(heads.values()), newest)
    has_shared_tables = shares_transaction(tenancy.databases, database)

    def differences(schema: str, at: Heads) -> tuple[Difference, ...]:
        hidden = () if has_shared_tables else tenancy.main_schemas
        declared, there = (without_keys_to(each, hidden).shape for each in (standards[at], found[schema]))
        declared, there = restore_words(declared, there), restore_words(there, declared)
        return compare_with_models(declared, there) if at == newest else outermost(compare(declared, there))

    groups = defaultdict[tuple[int, "Heads"], list[str]](list)
    for schema, number in hashes.items():
        groups[number, heads[schema]].append(schema)
    return Comparison(
        {schema: differences(schema, at) for schema, at in heads.items()},
        tuple(sorted(map(tuple, groups.values()), key=lambda alike: (-len(alike), alike))),
    )


def _build_standards(tenancy: Deployment, wanted: Collection[Heads], newest: Heads) -> dict[Heads, Detail]:
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
