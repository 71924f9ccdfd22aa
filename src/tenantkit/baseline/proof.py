"""The contents that a baseline is to build, and the proof that it does: in schemas that are rolled back."""

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

from tenantkit.baseline.contents import Contents, read_contents
from tenantkit.baseline.creation import write_shared_keys
from tenantkit.baseline.losses import find_losses
from tenantkit.deployment import Deployment
from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.reader import detail_of
from tenantkit.drift.catalog.shape import restore_words
from tenantkit.drift.compare import compare, outermost
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.lifecycle.builders import MetadataBuilder
from tenantkit.migrations.environment.builder import AlembicBuilder
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.environment.targets import scratch_target
from tenantkit.naming import first_lines
from tenantkit.postgres.errors import reason
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.user_code import with_place

if TYPE_CHECKING:
    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.migrations.graph.revision_graph import RevisionGraph
    from tenantkit.tenant import Tenant

_SCRATCH = "tenantkit_baseline"


@contextmanager
def _scratch(tenancy: Deployment) -> Generator[tuple[Connection, MigrationTarget]]:
    """Yield a connection and an empty schema, in a transaction that is rolled back."""
    engine = tenancy.engine.execution_options(isolation_level="READ COMMITTED")
    with engine.connect() as connection, connection.begin() as transaction:
        limit_lock_waits(connection)
        connection.execute(CreateSchema(_SCRATCH))
        yield connection, scratch_target(tenancy, _SCRATCH)
        transaction.rollback()


def read_source(
    tenancy: Deployment, revision: str, source: Tenant | None, *, from_models: bool
) -> tuple[Contents, list[str], tuple[str, ...]]:
    """Return what the baseline has to create, the operations for its keys to shared tables, and what it leaves out.

    :raises ConfigurationError: if that is not the same for every tenant, or the revisions fail.
    """
    found = _read(tenancy, revision, source, from_models=from_models)
    contents, schema = found[0], _SCRATCH if source is None else source.schema
    if contents.rows and contents.rows != _read(tenancy, revision, source, from_models=from_models)[0].rows:
        raise ConfigurationError(
            "A baseline cannot be written: the revisions insert rows that differ each time, by the clock or by chance, "
            "and new tenants would all get the same. Write a baseline without rows, from_tenant= (--from-tenant), and "
            "a revision after it that inserts them."
        )
    texts = [*contents.extras, *(row for rows in contents.rows.values() for row in rows)]
    if any(schema in each for each in texts):
        raise ConfigurationError(
            "A baseline cannot be written: a row or a comment has the name of its schema, and every tenant has another."
        )
    return found


def _read(
    tenancy: Deployment, revision: str, source: Tenant | None, *, from_models: bool
) -> tuple[Contents, list[str], tuple[str, ...]]:
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


def read_living(tenancy: Deployment, tenant: Tenant) -> Detail:
    """Return the objects of a tenant in the main database."""
    with tenancy.engine.connect() as connection, connection.begin() as transaction:
        detail = detail_of(connection, tenant.schema)
        transaction.rollback()
    return detail


def prove(tenancy: Deployment, graph: RevisionGraph, text: str, expected: Contents) -> None:
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
    require_equal(expected.detail, found.detail, "the schema that the baseline builds")
    if expected.extras != found.extras:
        others = {*expected.extras} ^ {*found.extras}
        raise ConfigurationError(f"A baseline cannot be written: it would differ by {first_lines(others)}.")
    if (expected.rows, expected.positions) != (found.rows, found.positions):
        tables = {name for name, rows in expected.rows.items() if rows != found.rows.get(name)}
        names = tables | (found.rows.keys() - expected.rows) or {"the positions of sequences"}
        raise ConfigurationError(
            f"A baseline cannot be written: the rows that it inserts differ in {first_lines(names)}."
        )


def require_equal(expected: Detail, found: Detail, name: str) -> None:
    """Raise unless two schemas have the same objects.

    :raises ConfigurationError: if they do not.
    """
    wanted, there = restore_words(expected.shape, found.shape), restore_words(found.shape, expected.shape)
    if differences := outermost(compare(wanted, there)):
        raise ConfigurationError(f"A baseline cannot be written: {name} differs: {first_lines(map(str, differences))}.")
