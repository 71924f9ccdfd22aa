"""Execution of a command over the fleet, with its progress and its report."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import typer

from tenantkit.cli.display.errors import describe, print_error
from tenantkit.cli.display.events import Events
from tenantkit.cli.display.output import err, print_done, print_json
from tenantkit.cli.display.progress import FleetProgress
from tenantkit.cli.display.reporting import outcome_as_json, report_as_json
from tenantkit.cli.display.summary import count, print_summary
from tenantkit.exceptions import MigrationError
from tenantkit.migrations import MigrationReport, Outcome
from tenantkit.migrations.results.heads import is_relative


def run(
    work: Callable[[FleetProgress], MigrationReport],
    doing: str,
    done: str,
    *,
    target: str | None = None,
    as_json: bool = False,
    as_events: bool = False,
    verbose: bool = False,
) -> None:
    """Run *work*, show its progress, and print its report, also after failures; the last event is the report as JSON.

    If *verbose*, the report has the traceback of each reason for failures. An interrupted run with a relative *target*
    is not advised to be repeated.
    """
    started = monotonic()
    events = Events() if as_events else None
    with FleetProgress(doing, events) as progress:
        report = _run(work, progress, events, target)
    if events is not None:
        events.ended(report_as_json(report))
    elif as_json:
        print_json(report_as_json(report))
    else:
        if report.shared is not None:
            print_shared(report.shared, as_json=False)
        print_summary(report, progress.tally, done, seconds=monotonic() - started, verbose=verbose)
    if report.failures or report.stopped is not None:
        raise typer.Exit(1)


def _run(
    work: Callable[[FleetProgress], MigrationReport],
    progress: FleetProgress,
    events: Events | None,
    target: str | None,
) -> MigrationReport:
    """Return the report of *work*; write an error without a report as an event, and raise it."""
    try:
        return work(progress)
    except KeyboardInterrupt:
        tally = progress.tally
        if events is not None:
            events.interrupted(tally.done, tally.total)
        if tally.total:
            err.print(f"{tally.done} of {count(tally.total)} were done, {tally.failed} of them failed.")
        again = "run the same command again for the others"
        if target is not None and is_relative(target):
            again = (
                "for the others, run the command with a revision's id and --tenants, "
                f"because {target} would take those that are done further"
            )
        print_error(f"Interrupted. 'tenantkit status' shows which tenants are done; {again}.")
        raise
    except Exception as error:
        if isinstance(error, MigrationError) and (error.report.shared is None or error.report.shared.ok):
            report: MigrationReport = error.report
            return report
        if events is not None:
            events.failed(describe(error))
        raise


def print_shared(outcome: Outcome | None, *, as_json: bool, as_events: bool = False) -> None:
    """Print the outcome of the shared tables."""
    found = None if outcome is None else outcome_as_json(outcome)
    if as_events:
        Events().shared(found)
    elif as_json:
        print_json(found)
    elif outcome is None:
        print_done("Unchanged:", "the shared tables were at the target already.")
    else:
        print_done("Shared tables:", f"{outcome.from_revision or 'base'} -> {outcome.to_revision or 'base'}")
