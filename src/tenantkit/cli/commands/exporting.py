"""The command that exports a tenant, by `tenantkit.transfer.export`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from tenantkit import transfer
from tenantkit.cli.application import application
from tenantkit.cli.display.copying import table_progress
from tenantkit.cli.display.output import print_done, print_field, print_json
from tenantkit.cli.options.common import Json, Key


def export(
    context: typer.Context,
    key: Key,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The new folder, by default KEY-export.", show_default=False
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["csv", "parquet"], typer.Option("--format", help="The format of the files.")
    ] = "csv",
    as_json: Json = False,
) -> None:
    """Write a folder with the rows of a tenant in one snapshot, a file for each table, for other programs.

    Requests go on meanwhile; migrations of the tenant wait. The folder is complete, or it does not exist. To restore a
    tenant, use `tenantkit backup`.

    **Examples**

    - `tenantkit export acme`
    - `tenantkit export acme --format parquet -o /exports/acme`
    """
    folder = (output or Path(f"{key}-export")).absolute()  # the application may be in another folder
    with application(context) as tenancy, table_progress("Exporting") as progress:
        made = transfer.export(tenancy, key, folder, format=format, progress=progress)
    if as_json:
        print_json({**asdict(made), "rows": made.rows})
        return
    print_done("Exported", f"{made.key} (tables: {len(made.tables):,}, rows: {made.rows:,}), in {made.path}")
    print_field("revision", made.revision or "none")
    print_field("size", f"{made.size:,} bytes, {made.format}")
