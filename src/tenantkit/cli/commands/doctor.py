"""The command that finds and repairs tenants that interrupted processes left unfinished."""

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
    repair: Annotated[bool, typer.Option("--repair", metavar="", help="Repair the problems where possible.")] = False,
    as_json: Json = False,
) -> None:
    """Find tenants that interrupted processes left unfinished, and repair them with `--repair`.

    The repair removes tenants whose creation never finished, finishes removals, makes tenants active that a killed
    migration left in maintenance, and gives tenants the roles and privileges of `guard=` that they lack, with
    `guard="login"` also their passwords. Tenants on which a live process works are left alone. The exit code is 1 if
    problems remain.

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
