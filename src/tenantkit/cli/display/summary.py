"""Summary of a run."""

from __future__ import annotations

from rich.text import Text

from tenantkit.cli.display.errors import in_one_line, print_error, without_passwords
from tenantkit.cli.display.output import err, print_done
from tenantkit.cli.display.tally import Tally
from tenantkit.exceptions.base import as_clause
from tenantkit.migrations import FailureGroup, MigrationReport
from tenantkit.naming import first_lines

_GROUPS = 5
"""Maximum number of reasons for failures."""
_PLACES = 3
"""Maximum number of places shown for a reason."""
_MIN_FOR_SPEED = 3
"""Minimum number of tenants for which the rate and the slowest tenants are shown."""


def print_summary(report: MigrationReport, tally: Tally, done: str, *, seconds: float, verbose: bool = False) -> None:
    """Print the result of a run: the migrated tenants on stdout, the rest on stderr; if *verbose*, tracebacks."""
    if report.migrated:
        print_done(done, f"{count(len(report.migrated))} to {report.target} in {seconds:.1f} s.")
    if len(report.migrated) > _MIN_FOR_SPEED:
        err.print(_describe_speed(report, tally), style="dim", soft_wrap=True)
    for reason, tenants in report.not_replayed.items():
        err.print(f"Not replayed for {count(tenants)}: {as_clause(reason)}.", style="dim", soft_wrap=True)
    if report.unchanged or not report.outcomes:
        print_done("Unchanged:", unchanged(report.unchanged, report.target))
    if report.failures:
        _print_failures(report, verbose=verbose)
    if report.stop is not None:
        print_error(f"{report.stop[:1].upper()}{report.stop[1:]}")


def count(tenants: int) -> str:
    """Return a number of tenants, in words."""
    return f"{tenants} tenant{'' if tenants == 1 else 's'}"


def unchanged(tenants: int, target: str) -> str:
    """Return a sentence about a number of tenants that are at *target*."""
    return f"{count(tenants)} at {target} already." if tenants else "there are no tenants to change."


def _describe_speed(report: MigrationReport, tally: Tally) -> str:
    engines = ", ".join(f"{number} by {engine}" for engine, number in sorted(report.engines.items()))
    slowest = ", ".join(f"{key} {took} ms" for key, took in tally.slowest)
    pace = f"{tally.done / max(tally.seconds, 0.001):.0f} tenants/s"
    return "; ".join(part for part in (engines, pace, f"slowest: {slowest}" if slowest else "") if part)


def _print_failures(report: MigrationReport, *, verbose: bool) -> None:
    groups = report.failure_groups
    for group in groups[:_GROUPS]:
        if verbose and group.traceback:
            err.print(Text(without_passwords(group.traceback)), soft_wrap=True)
        _print_group(group)
    if len(groups) > _GROUPS:
        err.print(f"and {len(groups) - _GROUPS} other reasons.", style="dim")
    print_error(
        f"{count(len(report.failures))} failed. Fix the cause, then run {report.again}: tenants that are done "
        f"are not touched. 'tenantkit runs show {report.run_id}' has each."
    )


def _print_group(group: FailureGroup) -> None:
    state = f" ({group.sqlstate})" if group.sqlstate else ""
    err.print(
        Text.assemble((count(len(group.keys)), "bold red"), ": ", in_one_line(group.error + state)), soft_wrap=True
    )
    if len(group.keys) > 1:
        err.print(f"  {first_lines(group.keys)}", soft_wrap=True)
    for place in group.places[:_PLACES]:
        err.print(f"  in {in_one_line(place)}", soft_wrap=True)
    if len(group.places) > _PLACES:
        err.print(f"  and {len(group.places) - _PLACES} other places", style="dim")
    if group.hint:
        err.print(f"  {group.hint}", style="dim", soft_wrap=True)
