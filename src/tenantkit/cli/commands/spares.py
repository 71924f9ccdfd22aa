"""The command that holds spares."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from tenantkit.cli.application import application
from tenantkit.cli.display.output import print_done, print_json
from tenantkit.cli.options.common import Json
from tenantkit.spares import keep_spares


def spares(
    context: typer.Context,
    *,
    keep: Annotated[int, typer.Option("--keep", metavar="NUMBER", min=0, help="How many there are to be.")],
    as_json: Json = False,
) -> None:
    """Hold ready-made schemas for new tenants, so that a sign-up takes milliseconds.

    Each spare is compared with what the revisions build; one that was changed by hand is removed. Then spares are made,
    or removed, until there are `NUMBER`. Spares at another revision wait for `tenantkit migrate`.

    **Examples**

    - `tenantkit spares --keep 20`
    - `tenantkit spares --keep 0`
    """
    with application(context) as tenancy:
        report = keep_spares(tenancy, keep)
    if as_json:
        print_json(asdict(report))
        return
    if report.busy:
        print_done("Nothing done:", "another process keeps spares now.")
        return
    for schema in report.removed:
        print_done("Removed:", schema)
    if report.waiting:
        print_done("Waiting:", f"{report.waiting} at another revision, for 'tenantkit migrate'.")
    print_done("Spares:", f"{report.ready} ready, {report.made} of them new.")
