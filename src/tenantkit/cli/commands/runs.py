"""Commands that show earlier runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from tenantkit import migrations
from tenantkit.cli.application import application
from tenantkit.cli.display.errors import in_one_line, without_passwords
from tenantkit.cli.display.output import err, out, print_json, print_table
from tenantkit.cli.display.reporting import outcome_as_json
from tenantkit.cli.options.common import Json
from tenantkit.migrations import Outcome, Run


def list_(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """List the last runs of migrate, downgrade and stamp, with the number of tenants by outcome.

    **Examples**

    - `tenantkit runs list`
    - `tenantkit runs list --limit 5`
    """
    with application(context) as tenancy:
        runs = migrations.list_runs(tenancy, limit=limit)
    if as_json:
        print_json([asdict(run) for run in runs])
    elif runs:
        print_table(
            ("Run", "Command", "Target", "Started", "Seconds", "Done", "Unchanged", "Failed", "Not reached"),
            map(_row, runs),
        )
    else:
        err.print("There are no runs yet.")


def show(
    context: typer.Context,
    run: Annotated[int, typer.Argument(metavar="RUN", help="The run's number.", show_default=False)],
    *,
    as_json: Json = False,
) -> None:
    """Show the outcome of each tenant in a run; for failures, revision, file and line; with `-v`, tracebacks.

    **Examples**

    - `tenantkit runs show 12`
    - `tenantkit runs show 12 --json | jq -r '.outcomes[] | select(.error) | .key'`
    """
    with application(context) as tenancy:
        found, outcomes = migrations.get_run(tenancy, run)
    if as_json:
        print_json({**asdict(found), "outcomes": [outcome_as_json(outcome) for outcome in outcomes]})
        return
    print_table(
        ("Run", "Command", "Target", "Started", "Seconds", "Done", "Unchanged", "Failed", "Not reached"), [_row(found)]
    )
    out.print()
    print_table(("Tenant", "From", "To", "Engine", "ms", "Attempts", "Failure"), map(_outcome, outcomes))
    if context.obj.verbose:
        for traceback in dict.fromkeys(outcome.traceback for outcome in outcomes if outcome.traceback):
            out.print()
            out.print(Text(without_passwords(traceback)), soft_wrap=True)


def _row(run: Run) -> tuple[str | Text, ...]:
    seconds = "-" if run.finished_at is None else f"{(run.finished_at - run.started_at).total_seconds():.1f}"
    failed = Text(str(run.failed), style="red" if run.failed else "")
    return (
        str(run.id),
        run.command,
        run.target,
        f"{run.started_at:%Y-%m-%d %H:%M:%S}",
        seconds,
        str(run.done),
        str(run.unchanged),
        failed,
        str(run.planned),
    )


def _outcome(outcome: Outcome) -> tuple[str | Text, ...]:
    return (
        outcome.key,
        outcome.from_revision or "none",
        outcome.to_revision or "none",
        outcome.engine or "-",
        str(outcome.duration_ms),
        str(outcome.attempts),
        Text(in_one_line(outcome.reason), style="red"),
    )
