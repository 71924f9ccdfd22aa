"""The command that takes the fleet back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from tenantkit import migrations
from tenantkit.cli.application import application
from tenantkit.cli.asking import ask_before_downgrade
from tenantkit.cli.display import previewing
from tenantkit.cli.display.errors import UsageError
from tenantkit.cli.display.progress import FleetProgress
from tenantkit.cli.options.common import DryRun, Events, Json, Shared, Sql, Tenants, Yes, parse_keys, refuse_others
from tenantkit.cli.options.fleet import takes_options
from tenantkit.cli.running import print_shared, run
from tenantkit.migrations import MigrationReport, Options
from tenantkit.migrations.dry_run import forecast as ahead
from tenantkit.migrations.runs.requests import downgrading, taking_back


@takes_options
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
            help="Undo this run of migrate, and nothing else, instead of going to a TARGET.",
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
    """Take every tenant, or the shared tables, back to a revision. Data that later revisions added is lost.

    Asks first, and lists the tables and columns that are dropped. If rows are lost, the answer is the number of
    tenants, or the key of the only one.

    **Examples**

    - `tenantkit downgrade -1 --tenants acme`
    - `tenantkit downgrade base --shared --yes`
    - `tenantkit downgrade --run 12`
    - `tenantkit downgrade --run 12 --canary 1 --check ./smoke-test.sh`
    """
    options["tenants"] = parse_keys(tenants)
    if shared and not (dry_run or sql):
        refuse_others(context, "--shared")
    if (shared or run_id is not None) and (dry_run or sql):
        raise UsageError("--dry-run and --sql need tenants and a target. Leave out --shared and --run.")
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
                        else ahead.forecast(tenancy, downgrading(tenancy, goal, options)),
                    )
                if shared:
                    print_shared(migrations.downgrade_shared(tenancy, goal), as_json=as_json, as_events=as_events)
                    return
                take_back: Callable[..., MigrationReport] = partial(migrations.downgrade, tenancy, goal)
            case None, int() as number if not shared:
                if not yes:
                    ask_before_downgrade(tenancy, ahead.forecast(tenancy, taking_back(tenancy, number, options)))
                take_back = partial(migrations.downgrade_run, tenancy, number)
            case _:
                raise UsageError("Give a TARGET, such as -1, or --run with the number of the run to undo.")

        def work(progress: FleetProgress) -> MigrationReport:
            options["progress"] = progress
            return take_back(**options)

        run(
            work,
            "Downgrading",
            "Downgraded",
            target=target,
            as_json=as_json,
            as_events=as_events,
            verbose=context.obj.verbose,
        )
