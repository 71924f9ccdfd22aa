"""Commands over the whole fleet: thin skins over `tenantkit.migrations`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tenantkit.cli.application import application
from tenantkit.cli.asking import ask_before_downgrade, ask_before_stamp
from tenantkit.cli.commands import installing
from tenantkit.cli.display import previewing
from tenantkit.cli.display.errors import UsageError
from tenantkit.cli.options.common import (
    DryRun,
    Events,
    Jobs,
    Json,
    MigratePhase,
    Sql,
    Tenants,
    Yes,
    any_was_given,
    parse_keys,
    refuse_others,
    was_given,
)
from tenantkit.cli.options.policy import takes_policy
from tenantkit.cli.running import print_shared, run

if TYPE_CHECKING:
    from tenantkit.cli.display.progress import FleetProgress
    from tenantkit.migrations import MigrationReport, Options

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A revision: an id or its beginning, base, -1.", show_default=False)
]
Shared = Annotated[bool, typer.Option("--shared", metavar="", help="The shared tables, and no tenant.")]


@takes_policy
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

    Without migrations, that is the registry, and the shared tables that are missing, from the models.

    Alembic migrates the first two tenants; what it sent is replayed for the others where that is safe. Each has a
    transaction of its own. One that fails keeps the revision it had and stops no other; the exit
    code is then 1, and the same command again takes up those that are not done.

    **Examples**

    - `tenantkit migrate`
    - `tenantkit migrate --tenants acme,initech --jobs 4`
    - `tenantkit migrate +1`
    - `tenantkit migrate --phase expand`
    - `tenantkit migrate --canary 2 --wave 10%,100% --check ./smoke-test.sh --max-failures 1%`
    - `tenantkit migrate --resume 12`
    """
    from tenantkit import migrations  # noqa: PLC0415 - Alembic, which few commands need, is slow to import
    from tenantkit.migrations.runs.commands import settings_of  # noqa: PLC0415 - Alembic is slow to import

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
            limits = settings_of(options).limits
            with tenancy.engine.connect() as connection:
                limits.require_sense(connection)
            tenancy.install()
            upgraded = migrations.upgrade_shared(tenancy, target, phase=phase, limits=limits)
            print_shared(upgraded, as_json=as_json, as_events=as_events)
        else:
            run(work, "Migrating", "Migrated", as_json=as_json, as_events=as_events, verbose=context.obj.verbose)


def _require_sense(context: typer.Context) -> None:
    """Raise if options of `migrate` were given that exclude each other.

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
        raise UsageError("--resume goes on to the target that the run had. Leave TARGET out.")
    if was_given(context, "resume") and was_given(context, "phase"):
        raise UsageError("--resume goes on with the phase that the run was for. Leave --phase out.")


@takes_policy
def downgrade(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="A revision: an id or its beginning, base, -1.", show_default=False),
    ] = None,
    *,
    run_id: Annotated[
        int | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Take back what this run of migrate did, and nothing else, instead of going to a TARGET.",
            show_default=False,
        ),
    ] = None,
    tenants: Tenants = None,
    options: Options,
    shared: Shared = False,
    dry_run: DryRun = False,
    sql: Sql = False,
    yes: Yes = False,
    as_json: Json = False,
    as_events: Events = False,
) -> None:
    """Take every tenant, or the shared tables, back to a revision. What later revisions added is lost.

    Asks first, with the tables and columns that are dropped. Where rows are lost, the number of tenants, or the
    key of the only one, has to be typed.

    **Examples**

    - `tenantkit downgrade -1 --tenants acme`
    - `tenantkit downgrade base --shared --yes`
    - `tenantkit downgrade --run 12`
    - `tenantkit downgrade --run 12 --canary 1 --check ./smoke-test.sh`
    """
    from tenantkit import migrations  # noqa: PLC0415 - Alembic, which few commands need, is slow to import
    from tenantkit.migrations.dry_run import forecast as ahead  # noqa: PLC0415 - Alembic is slow to import

    options["tenants"] = parse_keys(tenants)
    if shared and not (dry_run or sql):
        refuse_others(context, "--shared")
    if (shared or run_id is not None) and (dry_run or sql):
        raise UsageError("--dry-run and --sql tell of tenants and a target. Leave out --shared and --run.")
    with application(context) as tenancy:
        match target, run_id:
            case str() as goal, None if dry_run or sql:
                found = migrations.preview(tenancy, goal, command="downgrade", scripts=sql, **options)
                previewing.show(found, sql=sql, as_json=as_json)
                return
            case str() as goal, None:
                if not yes:
                    ask_before_downgrade(
                        tenancy,
                        ahead.forecast_shared(tenancy, "downgrade", goal)
                        if shared
                        else ahead.forecast(tenancy, "downgrade", goal, options),
                    )
                if shared:
                    print_shared(migrations.downgrade_shared(tenancy, goal), as_json=as_json, as_events=as_events)
                    return
                take_back: Callable[..., MigrationReport] = partial(migrations.downgrade, tenancy, goal)
            case None, int() as number if not shared:
                if not yes:
                    ask_before_downgrade(tenancy, ahead.forecast_run(tenancy, number, options))
                take_back = partial(migrations.downgrade_run, tenancy, number)
            case _:
                raise UsageError(
                    "Say where to go, for example -1, or give --run with the number of a run that is to be undone."
                )

        def work(progress: FleetProgress) -> MigrationReport:
            options["progress"] = progress
            return take_back(**options)

        run(work, "Downgrading", "Downgraded", as_json=as_json, as_events=as_events, verbose=context.obj.verbose)


def stamp(
    context: typer.Context,
    target: Target,
    *,
    tenants: Tenants = None,
    jobs: Jobs = None,
    shared: Shared = False,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            metavar="",
            help="Whatever alembic_version has: for a revision whose file was removed, or rows that contradict each "
            "other.",
        ),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
    as_events: Events = False,
) -> None:
    """Write down that tenants, or the shared tables, are at a revision, without running anything. Asks first.

    For schemas that were made by other means.

    **Examples**

    - `tenantkit stamp head --tenants acme`
    - `tenantkit stamp 8d3f --purge --yes`
    """
    from tenantkit import migrations  # noqa: PLC0415 - Alembic, which few commands need, is slow to import
    from tenantkit.migrations.dry_run import forecast as ahead  # noqa: PLC0415 - Alembic is slow to import

    keys = parse_keys(tenants)
    if shared:
        refuse_others(context, "--shared", allowed=("target", "purge"))
    with application(context) as tenancy:
        if not yes:
            found = (
                ahead.forecast_shared(tenancy, "stamp", target, purge=purge)
                if shared
                else ahead.forecast(tenancy, "stamp", target, {"tenants": keys}, purge=purge)
            )
            ask_before_stamp(found, purge=purge)
        if shared:
            stamped = migrations.stamp_shared(tenancy, target, purge=purge)
            print_shared(stamped, as_json=as_json, as_events=as_events)
            return

        def work(progress: FleetProgress) -> MigrationReport:
            return migrations.stamp(tenancy, target, purge=purge, tenants=keys, jobs=jobs, progress=progress)

        run(work, "Stamping", "Stamped", as_json=as_json, as_events=as_events, verbose=context.obj.verbose)
