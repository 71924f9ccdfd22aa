"""The replacement of revisions by one that builds the same, or what a living tenant or the models have."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from tenantkit.arguments import FLAG, NAME, optional, require
from tenantkit.baseline.contents import Contents, read_contents
from tenantkit.baseline.creation import write_shared_keys, write_statements
from tenantkit.baseline.files import replace_files, require_replaceable, write_file
from tenantkit.baseline.losses import find_losses
from tenantkit.baseline.report import Baseline
from tenantkit.baseline.tenants import choose_tenant, require_reached
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.reader import detail_of
from tenantkit.drift.catalog.shape import restore_words
from tenantkit.drift.compare import compare, outermost
from tenantkit.exceptions import ConfigurationError, as_clause
from tenantkit.lifecycle.builders import MetadataBuilder
from tenantkit.migrations.environment.builder import AlembicBuilder
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.environment.targets import graph_of, scratch_target
from tenantkit.migrations.planning.status import require_shared_is_current
from tenantkit.naming import first_lines
from tenantkit.postgres.errors import reason
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.revision_files import included, several
from tenantkit.user_code import with_place

if TYPE_CHECKING:
    from alembic.script import Script

    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.migrations.graph.revision_graph import RevisionGraph
    from tenantkit.tenant import Tenant

_SCRATCH = "tenantkit_baseline"


def squash(
    tenancy: Deployment,
    to: str = "head",
    *,
    from_models: bool = False,
    from_tenant: str | None = None,
    like: str | None = None,
    allow_losses: bool = False,
    dry_run: bool = False,
) -> Baseline:
    """Replace the tenants' revisions up to *to* by one, a baseline, and return it.

    The baseline has the id of the revision *to*, so tenants that are at it or a later one stay as they are; later
    revisions follow it as before. It is written from the catalog of a schema that the revisions build, with the rows
    that they leave there, and used only if it then builds an equal one. Both are built in transactions that are rolled
    back: no tenant is touched.

    :param from_models: write what the models declare, for revisions that do not start from nothing. *to* must be the
        newest revision.
    :param from_tenant: the key of a tenant whose objects are written instead, without its rows. *to* must be its
        revision.
    :param like: the key of a tenant at *to* that must have the same objects as the baseline.
    :param allow_losses: leave out what no baseline has, such as privileges and aggregates; it is named in the file.
    :param dry_run: change no file.
    :raises ConfigurationError: if a tenant is not at *to* or above, there is nothing to replace, other revisions need
        what would be gone, something cannot be written, or the result is not equal. No file is changed then.
    """
    require(
        tenancy=(tenancy, TENANCY),
        to=(to, NAME),
        from_models=(from_models, FLAG),
        from_tenant=(from_tenant, optional(NAME)),
        like=(like, optional(NAME)),
        allow_losses=(allow_losses, FLAG),
        dry_run=(dry_run, FLAG),
    )
    if from_models and from_tenant is not None:
        raise ConfigurationError("from_models=True and from_tenant= are two sources: give one of them.")
    graph = graph_of(tenancy, "tenant")
    revision = _find(graph, to, from_models=from_models)
    order = graph.order()
    replaced = [each for each in reversed(order) if each in included(order, revision) - {revision}]
    if not replaced and not from_models and from_tenant is None:
        raise ConfigurationError(f"{revision} is the first revision: there are no others to replace by a baseline.")
    require_replaceable(revision, replaced, order)
    require_shared_is_current(tenancy)
    require_reached(tenancy, graph, revision, replaced)
    source = None if from_tenant is None else choose_tenant(tenancy, from_tenant, revision)
    other = None if like is None else choose_tenant(tenancy, like, revision)
    contents, operations, left_out = _read(tenancy, revision, source, from_models=from_models)
    if left_out and not allow_losses:
        raise ConfigurationError(
            f"A baseline would not have {first_lines(left_out)}. Leave these out with allow_losses=True "
            "(--allow-losses), and add them to its file by hand, or in a later revision."
        )
    if other is not None:
        _require_equal(contents.detail, _living(tenancy, other), f"the tenant {other.key!r}")
    statements = write_statements(contents)
    operations = [each.replace("{placeholder!r}", repr(tenancy.placeholder)) for each in operations]
    scripts = {each: _script(graph, each) for each in (*replaced, revision)}
    labels, before = (
        [value for each in scripts.values() for value in several(getattr(each.module, name, None))]
        for name in ("branch_labels", "replaces")
    )
    text = write_file(revision, [*before, *replaced], labels, statements, operations, left_out)
    _prove(tenancy, graph, text, contents)
    path = Path(scripts[revision].path)
    if not dry_run:
        replace_files(path, text, [Path(scripts[each].path) for each in reversed(replaced)])
    rows = sum(map(len, contents.rows.values()))
    return Baseline(revision=revision, path=path, text=text, replaced=tuple(replaced), rows=rows, left_out=left_out)


def _find(graph: RevisionGraph, to: str, *, from_models: bool) -> str:
    """Return the revision that *to* names.

    :raises ConfigurationError: unless it is one, and with *from_models* the newest.
    """
    if graph.is_empty:
        raise ConfigurationError(
            f"There are no revisions in {graph.folder}. Write the first with 'tenantkit revision --autogenerate -m "
            "initial'."
        )
    found = graph.resolve(to)
    if len(found) != 1:
        raise ConfigurationError(f"{to!r} is {len(found)} revisions, and a baseline is in place of one: name it.")
    if from_models and found != graph.heads():
        raise ConfigurationError(
            f"The models declare what the newest revision builds, and {found[0]} is not that. Leave out the revision."
        )
    return found[0]


def _script(graph: RevisionGraph, revision: str) -> Script:
    script = graph.scripts.get_revision(revision)
    assert script is not None  # noqa: S101 - it is in the graph
    return script


@contextmanager
def _scratch(tenancy: Deployment) -> Generator[tuple[Connection, MigrationTarget]]:
    """Yield a connection and an empty schema, in a transaction that is rolled back."""
    engine = tenancy.engine.execution_options(isolation_level="READ COMMITTED")
    with engine.connect() as connection, connection.begin() as transaction:
        limit_lock_waits(connection)
        connection.execute(CreateSchema(_SCRATCH))
        yield connection, scratch_target(tenancy, _SCRATCH)
        transaction.rollback()


def _read(
    tenancy: Deployment, revision: str, source: Tenant | None, *, from_models: bool
) -> tuple[Contents, list[str], tuple[str, ...]]:
    """Return what the baseline has to create, the operations for its keys to shared tables, and what it leaves out."""
    with _scratch(tenancy) as (connection, target):
        schema = target.schema if source is None else source.schema
        if from_models:
            MetadataBuilder(tenancy)(connection, target)
        elif source is None:
            _run_revisions(tenancy, connection, target, revision)
        contents = read_contents(connection, schema, with_rows=source is None)
        left_out = find_losses(connection, schema, contents.detail, privileges=source is None)
        return contents, [*write_shared_keys(connection, schema, contents)], left_out


def _run_revisions(tenancy: Deployment, connection: Connection, target: MigrationTarget, revision: str) -> None:
    try:
        AlembicBuilder(tenancy)(connection, target, (revision,))
    except DBAPIError as error:
        raise ConfigurationError(
            "A baseline cannot be written, as the revisions fail in an empty schema, in one transaction: "
            f"{as_clause(with_place(reason(error), error))}. Correct them, or write what a tenant has: from_tenant= "
            "(--from-tenant)."
        ) from error


def _living(tenancy: Deployment, tenant: Tenant) -> Detail:
    with tenancy.engine.connect() as connection, connection.begin() as transaction:
        detail = detail_of(connection, tenant.schema)
        transaction.rollback()
    return detail


def _prove(tenancy: Deployment, graph: RevisionGraph, text: str, expected: Contents) -> None:
    """Raise unless the file *text* builds what is *expected*.

    :raises ConfigurationError: if it fails, or builds something else.
    """
    with TemporaryDirectory() as folder, _scratch(tenancy) as (connection, target):
        (Path(folder) / "baseline.py").write_text(text, encoding="utf-8")
        trial = replace(graph, only=Path(folder))
        try:
            run(
                connection,
                trial,
                replace(target, in_transaction=True),
                lambda current, _: trial.upgrade_steps("heads", current),
            )
        except DBAPIError as error:
            raise ConfigurationError(
                f"A baseline cannot be written, as its statements fail: {as_clause(reason(error))}."
            ) from error
        found = read_contents(connection, target.schema)
    _require_equal(expected.detail, found.detail, "the schema that the baseline builds")
    if expected.extras != found.extras:
        others = {*expected.extras} ^ {*found.extras}
        raise ConfigurationError(f"A baseline cannot be written: it would differ by {first_lines(others)}.")
    if (expected.rows, expected.positions) != (found.rows, found.positions):
        tables = {name for name, rows in expected.rows.items() if rows != found.rows.get(name)}
        names = tables | (found.rows.keys() - expected.rows) or {"the positions of sequences"}
        raise ConfigurationError(
            f"A baseline cannot be written: the rows that it inserts differ in {first_lines(names)}."
        )


def _require_equal(expected: Detail, found: Detail, name: str) -> None:
    """Raise unless two schemas have the same objects.

    :raises ConfigurationError: if they do not.
    """
    wanted, there = restore_words(expected.shape, found.shape), restore_words(found.shape, expected.shape)
    if differences := outermost(compare(wanted, there)):
        raise ConfigurationError(f"A baseline cannot be written: {name} differs: {first_lines(map(str, differences))}.")
