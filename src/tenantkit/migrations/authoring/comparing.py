"""Autogenerate: comparison of the models with the schema that the revisions build or have built."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from sqlalchemy import inspect
from sqlalchemy.schema import CreateSchema

from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.authoring.enums import label_notes
from tenantkit.migrations.authoring.generated_objects import Missing, named_by_others
from tenantkit.migrations.authoring.rendering import render_for_revisions, render_item
from tenantkit.migrations.authoring.scope import Scope
from tenantkit.migrations.environment.builder import explaining_start
from tenantkit.migrations.environment.other_packages import SCRATCH
from tenantkit.migrations.environment.run import Request, run
from tenantkit.migrations.environment.targets import scratch_target, shared_target
from tenantkit.migrations.planning.status import require_shared_is_current
from tenantkit.schema_objects import Sides

if TYPE_CHECKING:
    from collections.abc import Generator

    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection, MetaData
    from sqlalchemy.dialects.postgresql.base import PGInspector

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.authoring.drafting import Drafts
    from tenantkit.migrations.graph.revision_graph import RevisionGraph


class Written(NamedTuple):
    """New revisions: one or none, or several made by hooks of ``env.py``."""

    paths: Sequence[Path]
    notes: Sequence[str] = ()
    """Differences that autogenerate cannot write, each as a sentence."""


def compare_tenant(tenancy: Deployment, connection: Connection, graph: RevisionGraph, drafts: Drafts) -> Written:
    """Write the differences between the models and a schema built by the revisions.

    That schema has the placeholder's name, so the catalog has the names that models
    and revisions use, and nothing needs to be translated back.
    """
    target = replace(scratch_target(tenancy, tenancy.placeholder or SCRATCH), in_transaction=True)
    metadata = tenancy.metadata.tenant
    connection.execute(CreateSchema(target.schema))
    if not drafts.autogenerate:
        return _consult(connection, target, metadata, drafts)
    require_shared_is_current(tenancy)
    with explaining_start(graph, target.schema):
        run(
            connection,
            graph,
            target,
            lambda current, _: graph.upgrade_steps("heads", current),
            target_metadata=metadata,
        )
    target = replace(target, is_visible=tenancy.placeholder is None)
    scope = Scope(connection, target, {tenancy.placeholder}, tenancy.tables.tenant, is_first=graph.is_empty)
    return _compare(connection, scope, metadata, _sides(tenancy), drafts)


def compare_shared(tenancy: Deployment, connection: Connection, graph: RevisionGraph, drafts: Drafts) -> Written:
    """Write the differences between the models and the shared tables."""
    for schema in tenancy.shared_schemas:
        connection.execute(CreateSchema(schema, if_not_exists=True))
    target = replace(shared_target(tenancy), in_transaction=True, is_visible=False)
    metadata = tenancy.metadata.shared or tenancy.metadata.tenant
    if not drafts.autogenerate:
        return _consult(connection, target, metadata, drafts)
    # Tables without revisions were created from the models: the first revision has to create them too.
    scope = Scope(connection, target, {*tenancy.shared_schemas}, tenancy.tables.shared, is_first=graph.is_empty)
    return _compare(connection, scope, metadata, _sides(tenancy), drafts)


def _consult(connection: Connection, target: MigrationTarget, metadata: MetaData, drafts: Drafts) -> Written:
    """Run ``env.py`` without a comparison, as ``revision_environment`` of ``alembic.ini`` requests."""
    drafts.run_environment(Request(connection, target, {"target_metadata": metadata}))
    return Written(drafts.write())


def _sides(tenancy: Deployment) -> Sides:
    tables = tenancy.tables
    metadata = tenancy.metadata
    return Sides(tenancy.placeholder, tables.shared, tables.tenant, metadata.tenant, metadata.shared)


def _compare(connection: Connection, scope: Scope, metadata: MetaData, sides: Sides, drafts: Drafts) -> Written:
    target = scope.target
    missing = Missing(connection, target, is_first=scope.is_first)
    found: list[MigrationScript] = []

    def prepare(context: MigrationContext, _revision: object, directives: list[MigrationScript]) -> None:
        for each in directives:
            missing.create_objects(each, sides)
        render_for_revisions(context, target.placeholder if target.translates else None)

    def finish(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
        directives[:] = [each for each in directives if any(not ops.is_empty() for ops in each.upgrade_ops_list)]
        missing.drop_types(directives)
        found.extend(directives)

    options = {
        "target_metadata": metadata,
        "include_schemas": scope.schemas != {None},
        "include_name": scope.include_name,
        "include_object": scope.include_object,
        "process_revision_directives": finish,
        "render_item": render_item,
    }
    labels = _labels(connection, scope)
    default = target.schema if target.is_visible else "pg_temp"
    # Neither side of the comparison needs translation.
    request = Request(connection, replace(target, translates=False), options)
    with _default_schema(connection, default):
        drafts.run_environment(request, prepare)
        paths = drafts.write()
    return Written(
        paths, label_notes(scope.tables, labels, is_shared=not target.translates, leave_out=named_by_others(found))
    )


def _labels(connection: Connection, scope: Scope) -> dict[tuple[str | None, str], list[str]]:
    """Return the labels of the existing ENUM types, by schema and name."""
    inspector = cast("PGInspector", inspect(connection))
    return {
        (schema, enum["name"]): enum["labels"]
        for schema in (() if scope.is_first else scope.schemas)
        for enum in inspector.get_enums(schema or scope.target.schema)
    }


@contextmanager
def _default_schema(connection: Connection, schema: str) -> Generator[None]:
    """Make *schema* the default schema of reflection: its tables are found without a schema, all others with theirs.

    The dialect is the engine's, so this must not run beside other work in the process.
    """
    dialect = connection.dialect
    before = dialect.default_schema_name
    dialect.default_schema_name = schema
    try:
        yield
    finally:
        dialect.default_schema_name = before
