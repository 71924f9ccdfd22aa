"""The command that records the fleet's revision."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantkit import migrations
from tenantkit.cli.application import application
from tenantkit.cli.asking import ask_before_stamp
from tenantkit.cli.display.progress import FleetProgress
from tenantkit.cli.options.common import Events, Jobs, Json, Shared, Tenants, Yes, parse_keys, refuse_others
from tenantkit.cli.running import print_shared, run
from tenantkit.migrations import MigrationReport
from tenantkit.migrations.dry_run import forecast as ahead
from tenantkit.migrations.runs.requests import stamping


def stamp(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A revision: an id or its beginning, base, -1.", show_default=False)
    ],
    *,
    tenants: Tenants = None,
    jobs: Jobs = None,
    shared: Shared = False,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            metavar="",
            help="Delete the rows of alembic_version first: for a revision whose file was removed, or rows that "
            "contradict each other.",
        ),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
    as_events: Events = False,
) -> None:
    """Record that tenants, or the shared tables, are at a revision, without running it. Asks first.

    For schemas that were created by other means.

    **Examples**

    - `tenantkit stamp head --tenants acme`
    - `tenantkit stamp 8d3f --purge --yes`
    """
    keys = parse_keys(tenants)
    if shared:
        refuse_others(context, "--shared", allowed=("target", "purge"))
    with application(context) as tenancy:
        if not yes:
            found = (
                ahead.forecast_shared(tenancy, "stamp", target, purge=purge)
                if shared
                else ahead.forecast(tenancy, stamping(tenancy, target, {"tenants": keys}, purge=purge))
            )
            ask_before_stamp(found, purge=purge)
        if shared:
            stamped = migrations.stamp_shared(tenancy, target, purge=purge)
            print_shared(stamped, as_json=as_json, as_events=as_events)
            return

        def work(progress: FleetProgress) -> MigrationReport:
            return migrations.stamp(tenancy, target, purge=purge, tenants=keys, jobs=jobs, progress=progress)

        run(
            work,
            "Stamping",
            "Stamped",
            target=target,
            as_json=as_json,
            as_events=as_events,
            verbose=context.obj.verbose,
        )
