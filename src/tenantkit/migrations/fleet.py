"""Migrating a fleet: the shared tables first, then every tenant."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import TYPE_CHECKING, TypedDict

from typing_extensions import Unpack

from tenantkit.exceptions import ConfigurationError, MigrationError
from tenantkit.migrations.connections import require_connections
from tenantkit.migrations.planning import plan_fleet, select
from tenantkit.migrations.report import MigrationReport, NoProgress, Outcome, Progress, join
from tenantkit.migrations.revisions import read_revisions
from tenantkit.migrations.runner import EngineName, Runner, Settings
from tenantkit.migrations.shared import upgrade_shared
from tenantkit.migrations.sites import line_of, tenant_site
from tenantkit.migrations.tasks import Command, Task
from tenantkit.provisioning.locks import LOCK_TIMEOUT
from tenantkit.registry import ledger, store
from tenantkit.tenant import MIGRATED, Tenant

if TYPE_CHECKING:
    from tenantkit.migrations.lines import Line
    from tenantkit.tenancy import Tenancy


class Options(TypedDict, total=False):
    """What `migrate`, `downgrade` and `stamp` take besides their target."""

    tenants: Collection[str] | None
    """Only the tenants with these keys."""
    jobs: int | None
    """How many connections replay, by default two for each core, eight at most; and how many worker processes run
    Alembic, by default one for each core. 0 runs Alembic in this process, which a debugger can follow."""
    engine: EngineName
    """``auto``, by default: what Alembic sent to the first tenants is replayed for the others where that is safe, else
    Alembic runs for each. ``replay`` refuses what cannot be replayed, ``alembic`` replays nothing."""
    lock_timeout: str
    """How long a statement waits for a lock before the tenant is tried again later, as PostgreSQL takes it: ``2s``."""
    statement_timeout: str | None
    """How long a statement may take; the server's own setting by default."""
    progress: Progress | None
    """Is told of every outcome as it comes."""


def migrate(tenancy: Tenancy, target: str = "head", **options: Unpack[Options]) -> MigrationReport:
    """Bring the registry and the shared tables to their newest version, then every tenant to *target*.

    Each tenant has a transaction of its own. A tenant that fails keeps the revision it had,
    and the others go on; running the same again takes up those that are not done. Runs at the same time share the
    work.

    :param target: a revision as Alembic takes it: ``head``, ``heads``, an id or its beginning, ``+1``.
    :param options: see `Options`.
    :raises MigrationError: with the report, if a tenant failed. Nothing else was stopped by it.
    :raises ConfigurationError: if the environment, the target or an option is wrong; nothing was changed then.
    """
    line = usable_line(tenancy, target)
    tenancy.install()
    if (keys := options.get("tenants")) is not None:  # a mistyped key is refused before anything is migrated
        select(tenancy.list(status=MIGRATED), keys)
    shared = upgrade_shared(tenancy)
    return _run(tenancy, line, "upgrade", target, options, shared=shared)


def downgrade(tenancy: Tenancy, target: str, **options: Unpack[Options]) -> MigrationReport:
    """Take every tenant back to *target* (an id, ``-1``, ``base``); the shared tables stay. Otherwise as `migrate`."""
    return _run(tenancy, line_of(tenancy, "tenant"), "downgrade", target, options)


def stamp(tenancy: Tenancy, target: str, **options: Unpack[Options]) -> MigrationReport:
    """Write down that every tenant is at *target*, without running a revision. Otherwise as `migrate`."""
    return _run(tenancy, line_of(tenancy, "tenant"), "stamp", target, options)


def usable_line(tenancy: Tenancy, target: str) -> Line:
    """Return the tenants' line if *target* can be reached from the beginning."""
    line = line_of(tenancy, "tenant")
    if line.is_empty:
        raise ConfigurationError(
            f"There are no revisions in {line.folder}. Write the first with "
            "'tenantkit revision --autogenerate -m initial'."
        )
    line.upgrade_steps(target, ())
    return line


def _run(
    tenancy: Tenancy,
    line: Line,
    command: Command,
    target: str,
    options: Options,
    *,
    shared: Outcome | None = None,
) -> MigrationReport:
    progress = options.get("progress") or NoProgress()
    settings = Settings(
        jobs=options.get("jobs"),
        engine=options.get("engine", "auto"),
        lock_timeout=options.get("lock_timeout", LOCK_TIMEOUT),
        statement_timeout=options.get("statement_timeout"),
    )
    runner = Runner(tenancy, line, settings)
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        fleet = select(store.find(connection, status=MIGRATED), options.get("tenants"))
        current = read_revisions(connection, [tenant.schema for tenant in fleet])
    with tenancy.engine.begin() as connection:
        groups, targets, refused = plan_fleet(line, command, target, fleet, current)
        if groups:
            require_connections(connection, settings.jobs)
        failed = {outcome.key for outcome in refused}
        planned = [tenant for tenants in groups.values() for tenant in tenants]
        planned += [tenant for tenant in fleet if tenant.key in failed]
        run_id = ledger.start_run(
            connection,
            command=command,
            target=target,
            options={"engine": settings.engine, "jobs": settings.jobs},
            planned=[(tenant.id, join(current.get(tenant.schema, ()))) for tenant in planned],
        )

    def task(tenant: Tenant) -> Task:
        site = tenant_site(tenancy, tenant.schema)
        to = targets[current[tenant.schema]]
        return Task(key=tenant.key, site=site, command=command, target=to, run_id=run_id, tenant_id=tenant.id)

    ids = {tenant.key: tenant.id for tenant in planned}
    outcomes: list[Outcome] = []
    progress.started(len(planned))
    work = [(heads, [task(tenant) for tenant in tenants]) for heads, tenants in groups.items()]
    for outcome in chain(refused, runner.run(work)):
        if not (outcome.ok and outcome.has_moved):  # which is written down in the tenant's own transaction
            _record(tenancy, run_id, ids[outcome.key], outcome)
        outcomes.append(outcome)
        progress.finished(outcome)
    with tenancy.engine.begin() as connection:
        ledger.finish_run(connection, run_id)
    done = tuple(outcome for outcome in outcomes if not outcome.ok or outcome.has_moved)
    report = MigrationReport(
        run_id=run_id,
        command=command,
        target=target,
        shared=shared,
        outcomes=done,
        unchanged=len(fleet) - len(done),
        not_replayed=dict(runner.reasons),
    )
    if report.failures:
        raise MigrationError(report)
    return report


def _record(tenancy: Tenancy, run_id: int, tenant_id: int, outcome: Outcome) -> None:
    with tenancy.engine.begin() as connection:
        ledger.record(
            connection,
            run_id,
            tenant_id,
            status="unchanged" if outcome.ok else "failed",
            engine=outcome.engine,
            from_revision=outcome.from_revision,
            to_revision=outcome.to_revision,
            attempts=outcome.attempts,
            duration_ms=outcome.duration_ms,
            sqlstate=outcome.sqlstate,
            error=outcome.error,
        )
