"""The shapes that the code's revisions and models build."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from tenantkit.drift.catalog import reader
from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.shape import ASPECTS, ROUTINES, VIEWS, Item, Kind, Shape, owner_of
from tenantkit.drift.compare import Change, Difference, compare, outermost
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.row.policies import security_functions
from tenantkit.lifecycle.builders import MetadataBuilder
from tenantkit.migrations.environment.builder import AlembicBuilder
from tenantkit.migrations.environment.targets import graph_of, scratch_target
from tenantkit.migrations.planning.status import require_shared_is_current
from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.operators import explain
from tenantkit.postgres.retry import after_conflicts

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.isolation.tenant_column import TenantColumn
    from tenantkit.migrations.graph.revision_graph import Heads

_SCRATCH = "tenantkit_check"
_NEW_ENUM_VALUE = "55P04"

_NOT_DECLARED = frozenset({*ROUTINES, *VIEWS, Kind.TRIGGER, Kind.POLICY})
"""Kinds of items that revisions may add to those that models declare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The expected shape and dependencies of a tenant at one revision."""

    source: Literal["revisions", "models"]
    detail: Detail
    hash: int


class Form(NamedTuple):
    """What decides the shape of a placement."""

    heads: Heads
    column: TenantColumn | None
    """The column that divides its tables among tenants; ``None`` if the schema is one tenant's alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The references that the code builds."""

    at: Mapping[Form, Reference]
    """The references by their forms, without revisions that the code does not have."""
    models: tuple[Difference, ...] = ()
    """The differences of the newest revisions from the models."""


def build_references(tenancy: Deployment, wanted: Collection[Form], *, models: bool) -> References:
    """Build the references of the forms *wanted*; with *models*, compare the newest revisions with the models, too.

    Each is built in a transaction that is rolled back.

    :raises ConfigurationError: if a reference cannot be built, or the shared tables are not migrated yet.
    """
    if tenancy.migrations is not None:
        require_shared_is_current(tenancy)
    columns = dict.fromkeys(column for _, column in wanted) or {None: None}
    try:
        if tenancy.migrations is None:
            return References(at={Form((), column): build_models(tenancy, column) for column in columns})
        graph = graph_of(tenancy, "tenant")
        newest = tuple(sorted(graph.heads()))
        at = {
            form: after_conflicts()(_build, tenancy, "revisions", form.column, partial(_run_revisions, tenancy, form))
            for form in {*wanted, *(Form(newest, column) for column in columns if models)}
            if all(map(graph.knows, form.heads))
        }
        # Common tables differ from the models as schemas do: each difference counts once.
        differences = {
            str(each): each
            for column in columns
            if models
            for each in compare_with_models(
                build_models(tenancy, column).detail.shape, at[Form(newest, column)].detail.shape
            )
        }
    except DBAPIError as error:
        with tenancy.engine.connect() as connection:
            reason = explain(connection, error, tenancy.extra_schemas)
        if reason is None:
            raise
        raise ConfigurationError(reason) from error
    return References(at=at, models=tuple(differences.values()))


def build_models(tenancy: Deployment, column: TenantColumn | None = None) -> Reference:
    """Build the reference that the models declare, in a transaction that is rolled back."""
    return after_conflicts()(_build, tenancy, "models", column, MetadataBuilder(tenancy))


def _build(
    tenancy: Deployment,
    source: Literal["revisions", "models"],
    column: TenantColumn | None,
    build: Callable[..., None],
) -> Reference:
    engine = tenancy.engine.execution_options(isolation_level="READ COMMITTED")
    with engine.connect() as connection, connection.begin() as transaction:
        limit_lock_waits(connection)
        connection.execute(CreateSchema(_SCRATCH))
        if column is not None:
            for each in security_functions(_SCRATCH):
                connection.exec_driver_sql(each)
        build(connection, scratch_target(tenancy, _SCRATCH, column))
        detail, number = reader.detail_of(connection, _SCRATCH), reader.hash_of(connection, _SCRATCH)
        transaction.rollback()
    return Reference(source=source, detail=detail, hash=number)


def _run_revisions(tenancy: Deployment, form: Form, connection: Connection, target: MigrationTarget) -> None:
    try:
        AlembicBuilder(tenancy)(connection, target, form.heads)
    except DBAPIError as error:
        if sqlstate(error) != _NEW_ENUM_VALUE:
            raise
        raise ConfigurationError(
            "The revisions cannot be run in one transaction, as a comparison with what they build needs: one uses a "
            "value that it, or one before it, adds to an ENUM. PostgreSQL 17 and later can do that; without --models, "
            "tenants with schemas of their own are compared with one another: name them if there are common tables."
        ) from error


def compare_with_models(models: Shape, built: Shape) -> tuple[Difference, ...]:
    """Return the differences of the revisions' shape from the models'.

    Objects that models cannot declare do not count, nor do names to which nothing refers: those of constraints,
    and those of the sequences behind columns, which keep the name that their table had when it was created.
    """
    built = _with_names_of_sequences(models, {key: _without_row_security(item) for key, item in built.items()})
    models = {key: _without_row_security(item) for key, item in models.items()}
    return tuple(
        each
        for each in outermost(compare(models, built))
        if each.change is not Change.RENAMED and not (each.change is Change.EXTRA and each.key.kind in _NOT_DECLARED)
    )


def _without_row_security(item: Item) -> Item:
    if item.key.kind is not Kind.TABLE:
        return item
    aspects = zip(ASPECTS[Kind.TABLE], item.values, strict=True)
    return replace(item, values=tuple("off" if "security" in aspect else value for aspect, value in aspects))


def _with_names_of_sequences(models: Shape, built: Shape) -> Shape:
    """Return *built* with the names in *models* of the sequences of the same columns."""
    declared = {owner_of(item): key.name for key, item in models.items() if key.kind is Kind.SEQUENCE}
    names = {
        owner_of(item): (key.name, declared.get(owner_of(item), key.name))
        for key, item in built.items()
        if key.kind is Kind.SEQUENCE and item["owning table"]
    }

    def named_as_declared(item: Item) -> Item:
        key = item.key
        if key.kind is Kind.SEQUENCE and owner_of(item) in names:
            return replace(item, key=key._replace(name=names[owner_of(item)][1]))
        if key.kind is Kind.COLUMN and (key.table, key.name) in names:
            values = tuple(value and value.replace(*names[key.table, key.name]) for value in item.values)
            return replace(item, values=values)
        return item

    return {item.key: item for item in map(named_as_declared, built.values())}
