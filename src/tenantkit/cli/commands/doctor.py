"""The command that finds and repairs what interrupted processes left behind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from tenantkit.cli.application import application
from tenantkit.cli.display.output import print_done, print_json, print_table
from tenantkit.cli.options.common import Json


def doctor(
    context: typer.Context,
    *,
    repair: Annotated[bool, typer.Option("--repair", metavar="", help="Put right what can be.")] = False,
    as_json: Json = False,
) -> None:
    """Find what interrupted processes left behind, and put it right with `--repair`.

    Tenants whose creation never finished are removed, removals that never finished are finished, and tenants that a
    migration which was killed left in maintenance are active again. Tenants that a
    live process is at work on are left alone. The exit code is 1 if problems remain.

    **Examples**

    - `tenantkit doctor`
    - `tenantkit doctor --repair`
    """
    with application(context) as tenancy:
        findings = tenancy.repair() if repair else tenancy.diagnose()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    elif findings:
        header = "Repaired" if repair else "Repair"
        rows = [(each.subject, each.problem, each.repair or "none: decide by hand") for each in findings]
        print_table(("Subject", "Problem", header), rows)
    else:
        print_done("Healthy:", "every tenant is as it should be.")
    if any(finding.repair is None or not repair for finding in findings):
        raise typer.Exit(1)
