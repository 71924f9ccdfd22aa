"""The command that migrates the fleet."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantkit import migrations
from tenantkit.cli.application import application
from tenantkit.cli.commands import installing
from tenantkit.cli.display import previewing
from tenantkit.cli.display.errors import UsageError
from tenantkit.cli.display.progress import FleetProgress
from tenantkit.cli.options.common import (
    DryRun,
    Events,
    Json,
    MigratePhase,
    Sql,
    Tenants,
    any_was_given,
    parse_keys,
    refuse_others,
    was_given,
)
from tenantkit.cli.options.fleet import takes_options
from tenantkit.cli.running import print_shared, run
from tenantkit.migrations import MigrationReport, Options
from tenantkit.migrations.options import MigrateOptions


@takes_options
def migrate(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A revision: head, heads, an id or its beginning, +1.")
    ] = "head",
    *,
    tenants: Tenants = None,
    options: Options,
    phase: MigratePhase = None,
    resume: Annotated[
        int | None,
        typer.Option(
            "--resume", metavar="RUN", help="Finish an earlier run: its target, its tenants.", show_default=False
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", metavar="", help="Only the tenants whose last migration failed.")
    ] = False,
    shared_only: Annotated[
        bool, typer.Option("--shared-only", metavar="", help="Stop after the shared tables.")
    ] = False,
    dry_run: DryRun = False,
    sql: Sql = False,
    as_json: Json = False,
    as_events: Events = False,
) -> None:
    """Migrate the registry, the shared tables, then every tenant.

    Without migrations, it creates the registry, and the missing shared tables from the models.

    Alembic migrates the first two tenants; the statements are replayed for the others where that is safe. Each tenant
    has its own transaction. A tenant that fails keeps its revision and does not stop the others; the exit code is then
    1, and the same command again migrates those that are not done.

    **Examples**

    - `tenantkit migrate`
    - `tenantkit migrate --tenants acme,initech --jobs 4`
    - `tenantkit migrate +1`
    - `tenantkit migrate --phase expand`
    - `tenantkit migrate --canary 2 --wave 10%,100% --check ./smoke-test.sh --max-failures 1%`
    - `tenantkit migrate --resume 12`
    """
    keys = parse_keys(tenants)
    _require_sense(context)

    def work(progress: FleetProgress) -> MigrationReport:
        chosen: Options = {**options, "tenants": keys, "phase": phase, "progress": progress}
        return migrations.migrate(tenancy, target, **chosen)

    with application(context) as tenancy:
        if tenancy.migrations is None and not any_was_given(context, besides=("as_json", "shared_only")):
            installing.install(tenancy, as_json=as_json)
            return
        if resume is not None:
            target, keys, phase = migrations.unfinished(tenancy, resume)
        elif retry_failed:
            keys = migrations.failed(tenancy)
        if dry_run or sql:
            chosen: Options = {**options, "tenants": keys, "phase": phase}
            found = migrations.preview(tenancy, target, scripts=sql, **chosen)
            previewing.show(found, sql=sql, as_json=as_json)
        elif shared_only:
            limits = MigrateOptions.of("migrate", options).settings.limits
            with tenancy.engine.connect() as connection:
                limits.require_sense(connection)
            tenancy.install()
            upgraded = migrations.upgrade_shared(tenancy, target, phase=phase, limits=limits)
            print_shared(upgraded, as_json=as_json, as_events=as_events)
        else:
            run(
                work,
                "Migrating",
                "Migrated",
                target=target,
                as_json=as_json,
                as_events=as_events,
                verbose=context.obj.verbose,
            )


def _require_sense(context: typer.Context) -> None:
    """Raise if options of `migrate` exclude each other.

    :raises UsageError: if so.
    """
    if sum(was_given(context, name) for name in ("tenants", "resume", "retry_failed")) > 1:
        raise UsageError("--tenants, --resume and --retry-failed each choose the tenants. Give one of them.")
    if was_given(context, "shared_only"):
        refuse_others(
            context,
            "--shared-only",
            allowed=("target", "phase", "lock_timeout", "statement_timeout"),
        )
    if was_given(context, "resume") and was_given(context, "target"):
        raise UsageError("--resume has the target of the earlier run. Leave out TARGET.")
    if was_given(context, "resume") and was_given(context, "phase"):
        raise UsageError("--resume has the phase of the earlier run. Leave out --phase.")
