"""Running a command over the whole fleet, and saying how it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any

import typer

from tenantkit.cli.errors import print_error
from tenantkit.cli.output import err, print_done, print_json
from tenantkit.cli.progress import FleetProgress
from tenantkit.exceptions import MigrationError

if TYPE_CHECKING:
    from tenantkit.migrations import MigrationReport, Outcome


def run(work: Callable[[FleetProgress], MigrationReport], doing: str, done: str, *, as_json: bool) -> None:
    """Run *work* with a progress bar and print its report, of failures too."""
    started = monotonic()
    try:
        with FleetProgress(doing) as progress:
            report = work(progress)
    except MigrationError as error:
        report = error.report
        if report.shared is not None and not report.shared.ok:
            raise
    except KeyboardInterrupt:
        print_error("Interrupted. 'tenantkit status' tells who is done; run the same again to go on with the others.")
        raise
    if as_json:
        print_json(_as_json(report))
    else:
        if report.shared is not None:
            print_shared(report.shared, as_json=False)
        _print_counts(report, done, seconds=monotonic() - started)
    if report.failures or report.stopped is not None:
        raise typer.Exit(1)


def print_shared(outcome: Outcome | None, *, as_json: bool) -> None:
    """Say what happened to the shared tables."""
    if as_json:
        print_json(None if outcome is None else asdict(outcome))
    elif outcome is None:
        print_done("Unchanged:", "the shared tables were there already.")
    else:
        print_done("Shared tables:", f"{outcome.from_revision or 'base'} -> {outcome.to_revision or 'base'}")


def _print_counts(report: MigrationReport, done: str, *, seconds: float) -> None:
    if report.migrated:
        print_done(done, f"{_tenants(len(report.migrated))} to {report.target} in {seconds:.1f} s.")
    for reason, count in report.not_replayed.items():
        err.print(f"Not replayed for {_tenants(count)}: {reason}.", style="dim", soft_wrap=True)
    if report.unchanged or not report.outcomes:
        print_done("Unchanged:", f"{_tenants(report.unchanged)} at {report.target} already.")
    if report.failures:
        print_error(
            f"{_tenants(len(report.failures))} failed. Mend the cause and run the same again: "
            "tenants that are done are not touched."
        )
    if report.stop is not None:
        print_error(f"{report.stop[:1].upper()}{report.stop[1:]}")


def _tenants(count: int) -> str:
    return f"{count} tenant{'' if count == 1 else 's'}"


def _as_json(report: MigrationReport) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "command": report.command,
        "target": report.target,
        "migrated": len(report.migrated),
        "unchanged": report.unchanged,
        "failed": len(report.failures),
        "stopped": report.stopped,
        "left": report.left,
        "not_replayed": dict(report.not_replayed),
        "shared": None if report.shared is None else asdict(report.shared),
        "outcomes": [{**asdict(outcome), "ok": outcome.ok} for outcome in report.outcomes],
    }
