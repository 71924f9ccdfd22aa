"""Migrating a fleet: the shared tables first, then every tenant, by worker processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pickle import PicklingError, dumps
from typing import TYPE_CHECKING

from sqlalchemy.schema import CreateSchema

from tenantkit.exceptions import ConfigurationError, MigrationError, TenantNotFoundError
from tenantkit.migrations.apply import Command, Task, apply, plan
from tenantkit.migrations.report import MigrationReport, NoProgress, Outcome, Progress, join
from tenantkit.migrations.revisions import read_revisions
from tenantkit.migrations.sites import line_of, shared_site, tenant_site
from tenantkit.migrations.worker import Setup
from tenantkit.migrations.workers import apply_in_workers
from tenantkit.registry import ledger, store
from tenantkit.tenant import MIGRATED, Tenant

if TYPE_CHECKING:
    from tenantkit.migrations.lines import Heads, Line
    from tenantkit.tenancy import Tenancy

SHARED = "(shared)"
"""What the shared tables are called where outcomes have a tenant's key; no valid key looks like it."""

PLACEMENTS_PER_CONNECTION = 100
"""After so many, a worker takes a new connection. A backend keeps what it learns of every table
that it has seen: 84 MB after 100 tenants of 40 tables, measured."""


def migrate(
    tenancy: Tenancy,
    target: str = "head",
    *,
    tenants: Collection[str] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> MigrationReport:
    """Bring the registry and the shared tables to their newest version, then every tenant to *target*.

    Each tenant has a transaction of its own. A tenant that fails keeps the revision it had,
    and the others go on; running the same again takes up those that are not done.

    :param target: a revision as Alembic takes it: ``head``, ``heads``, an id or its beginning, ``+1``.
    :param tenants: only the tenants with these keys.
    :param jobs: how many worker processes; by default one for each core. 0 works in this process, which a
        debugger can follow.
    :param progress: is told of every outcome as it comes.
    :raises MigrationError: with the report, if a tenant failed. Nothing else was stopped by it.
    :raises ConfigurationError: if the environment or the target is wrong; nothing was changed then.
    """
    line = _usable_line(tenancy, target)
    tenancy.install()
    if tenants is not None:  # a mistyped key is refused before anything is migrated
        _select(tenancy.list(status=MIGRATED), tenants)
    shared = upgrade_shared(tenancy)
    return _run_fleet(tenancy, line, "upgrade", target, shared=shared, keys=tenants, jobs=jobs, progress=progress)


def downgrade(
    tenancy: Tenancy,
    target: str,
    *,
    tenants: Collection[str] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> MigrationReport:
    """Take every tenant back to *target* (an id, ``-1``, ``base``); the shared tables stay. Otherwise as `migrate`."""
    line = line_of(tenancy, "tenant")
    return _run_fleet(tenancy, line, "downgrade", target, shared=None, keys=tenants, jobs=jobs, progress=progress)


def stamp(
    tenancy: Tenancy,
    target: str,
    *,
    tenants: Collection[str] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> MigrationReport:
    """Write down that every tenant is at *target*, without running a revision. Otherwise as `migrate`."""
    line = line_of(tenancy, "tenant")
    return _run_fleet(tenancy, line, "stamp", target, shared=None, keys=tenants, jobs=jobs, progress=progress)


def upgrade_shared(tenancy: Tenancy, target: str = "head") -> Outcome | None:
    """Bring the shared tables to *target*, and return what came of it; ``None`` if they were there.

    :raises MigrationError: if it failed.
    """
    return _run_shared(tenancy, "upgrade", target)


def downgrade_shared(tenancy: Tenancy, target: str) -> Outcome | None:
    """Take the shared tables back to *target*; otherwise as `upgrade_shared`."""
    return _run_shared(tenancy, "downgrade", target)


def stamp_shared(tenancy: Tenancy, target: str) -> Outcome | None:
    """Write down that the shared tables are at *target*; otherwise as `upgrade_shared`."""
    return _run_shared(tenancy, "stamp", target)


def _usable_line(tenancy: Tenancy, target: str) -> Line:
    """Return the tenants' line if *target* can be reached from the beginning."""
    line = line_of(tenancy, "tenant")
    if line.is_empty:
        raise ConfigurationError(
            f"There are no revisions in {line.folder}. Write the first with "
            "'tenantkit revision --autogenerate -m initial'."
        )
    line.upgrade_steps(target, ())
    return line


def _run_shared(tenancy: Tenancy, command: Command, target: str) -> Outcome | None:
    line = line_of(tenancy, "shared")
    if line.is_empty:
        return None
    site = shared_site(tenancy)
    with tenancy.engine.begin() as connection:
        for schema in tenancy.shared_schemas:
            connection.execute(CreateSchema(schema, if_not_exists=True))
        current = read_revisions(connection, [site.schema])[site.schema]
    if not plan(line, command, target, current):
        return None
    outcome = apply(tenancy.engine, line, Task(key=SHARED, site=site, command=command, target=target))
    if not outcome.ok:
        raise MigrationError(
            MigrationReport(run_id=0, command=command, target=target, shared=outcome, outcomes=(outcome,), unchanged=0)
        )
    return outcome


def _run_fleet(
    tenancy: Tenancy,
    line: Line,
    command: Command,
    target: str,
    *,
    shared: Outcome | None,
    keys: Collection[str] | None,
    jobs: int | None,
    progress: Progress | None,
) -> MigrationReport:
    progress = progress or NoProgress()
    with tenancy.engine.begin() as connection:
        fleet = _select(store.find(connection, status=MIGRATED), keys)
        current = read_revisions(connection, [tenant.schema for tenant in fleet])
        run_id = ledger.start_run(connection, command=command, target=target)
    tasks, refused = _plan(tenancy, line, command, target, fleet, current)
    progress.started(len(tasks) + len(refused))
    outcomes: list[Outcome] = []
    for outcome in chain(refused, _apply(tenancy, line, tasks, jobs)):
        _record(tenancy, run_id, outcome)
        outcomes.append(outcome)
        progress.finished(outcome)
    with tenancy.engine.begin() as connection:
        ledger.finish_run(connection, run_id)
    report = MigrationReport(
        run_id=run_id,
        command=command,
        target=target,
        shared=shared,
        outcomes=tuple(outcomes),
        unchanged=len(fleet) - len(outcomes),
    )
    if report.failures:
        raise MigrationError(report)
    return report


def _select(fleet: Sequence[Tenant], keys: Collection[str] | None) -> list[Tenant]:
    """Return the tenants with these keys, or all.

    :raises TenantNotFoundError: if one is not among those that can be migrated.
    """
    if keys is None:
        return list(fleet)
    for key in set(keys) - {tenant.key for tenant in fleet}:
        raise TenantNotFoundError(key=key)
    return [tenant for tenant in fleet if tenant.key in keys]


def _plan(
    tenancy: Tenancy, line: Line, command: Command, target: str, fleet: Sequence[Tenant], current: dict[str, Heads]
) -> tuple[list[Task], list[Outcome]]:
    """Return what is to be done, and the failures of tenants for which nothing can be.

    What a revision needs is worked out once for all the tenants that are at it.
    """
    needs_work: dict[Heads, bool | ConfigurationError] = {}
    tasks: list[Task] = []
    refused: list[Outcome] = []
    for tenant in fleet:
        heads = current.get(tenant.schema)
        if heads is None:
            refused.append(_refuse(tenant, (), f"the schema {tenant.schema!r} does not exist; see 'tenantkit doctor'"))
            continue
        if heads not in needs_work:
            try:
                needs_work[heads] = bool(plan(line, command, target, heads))
            except ConfigurationError as error:
                needs_work[heads] = error
        match needs_work[heads]:
            case ConfigurationError() as reason:
                refused.append(_refuse(tenant, heads, str(reason)))
            case True:
                site = tenant_site(tenancy, tenant.schema)
                tasks.append(Task(key=tenant.key, site=site, command=command, target=target))
            case _:
                pass
    return tasks, refused


def _refuse(tenant: Tenant, heads: Heads, error: str) -> Outcome:
    revision = join(heads) or None
    return Outcome(key=tenant.key, schema=tenant.schema, from_revision=revision, to_revision=revision, error=error)


def _apply(tenancy: Tenancy, line: Line, tasks: Sequence[Task], jobs: int | None) -> Iterator[Outcome]:
    if jobs == 0:
        return (apply(tenancy.engine, line, task) for task in tasks)
    setup = Setup(
        environment=line.environment,
        line=line.name,
        url=tenancy.engine.url,
        engine_options=dict(tenancy.engine_options),
        path=sys.path,
        placements_per_connection=PLACEMENTS_PER_CONNECTION,
    )
    try:
        dumps(setup)
    except (PicklingError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"engine_options cannot be sent to worker processes ({error}). Use jobs=0 to migrate in this process."
        ) from error
    return apply_in_workers(setup, tasks, jobs=jobs or os.cpu_count() or 1)


def _record(tenancy: Tenancy, run_id: int, outcome: Outcome) -> None:
    with tenancy.engine.begin() as connection:
        ledger.record(
            connection,
            run_id,
            outcome.key,
            status="done" if outcome.ok else "failed",
            from_revision=outcome.from_revision,
            to_revision=outcome.to_revision,
            duration_ms=outcome.duration_ms,
            sqlstate=outcome.sqlstate,
            error=outcome.error,
        )
